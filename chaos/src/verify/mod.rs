//! The verdict: every id that a sender logged as acknowledged, looked for in the Parquet files of its tenant.
//!
//! Reads files and logs alone; trusts no counter of edge or router. Memory: 19 bytes a record that was logged, 16 one that was found besides, at most
//! [`MAX_RECORDS`] of each.

pub mod ack_log;
pub mod tier;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use federation_proto::identity::{Signal, TenantId};
use serde::{Deserialize, Serialize};

use crate::telemetry::RecordId;

/// Records that the logs of one verdict may have together, and that the tier may have besides: 4.3 GiB of memory each.
pub const MAX_RECORDS: usize = 256 << 20;

/// What became of the acknowledged records of one signal, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Records that the senders logged as acknowledged.
    pub acknowledged: u64,
    /// Of those, in the tier exactly once.
    pub found_once: u64,
    /// Of those, not in the tier of their tenant.
    pub lost: u64,
    /// In one router's tier more than once, acknowledged or not.
    pub doubled: u64,
    /// Of the acknowledged, in the tiers of several routers, in each once: two journals cannot know of each other.
    pub possibly_doubled: u64,
    /// In the tier, but acknowledged in none of these logs: their OK was lost and nobody asked again, or others sent them.
    pub unacknowledged: u64,
}

impl Verdict {
    /// Is every record there, once in any router's tier?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.found_once + self.possibly_doubled == self.acknowledged
    }

    /// The numbers of several signals together.
    #[must_use]
    pub fn sum<'a>(verdicts: impl IntoIterator<Item = &'a Self>) -> Self {
        verdicts.into_iter().fold(Self::default(), |sum, verdict| Self {
            acknowledged: sum.acknowledged + verdict.acknowledged,
            found_once: sum.found_once + verdict.found_once,
            lost: sum.lost + verdict.lost,
            doubled: sum.doubled + verdict.doubled,
            possibly_doubled: sum.possibly_doubled + verdict.possibly_doubled,
            unacknowledged: sum.unacknowledged + verdict.unacknowledged,
        })
    }
}

/// Ids that were acknowledged, in order, and how often each was found: in the tier that is read now, twice in one, in how many; and what
/// was found besides.
#[derive(Debug, Default)]
struct Expected {
    ids: Vec<RecordId>,
    found: Vec<Found>,
    others: Vec<RecordId>,
    doubled_others: u64,
    unacknowledged: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Found {
    here: u8,
    tiers: u8,
    doubled: bool,
}

impl Expected {
    fn seal(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.found = vec![Found::default(); self.ids.len()];
    }

    fn found(&mut self, id: RecordId) {
        match self.ids.binary_search(&id) {
            Ok(at) => self.found[at].here = self.found[at].here.saturating_add(1),
            Err(_) => self.others.push(id),
        }
    }

    /// What comes now is another router's.
    fn next_tier(&mut self) {
        for found in &mut self.found {
            found.tiers += u8::from(found.here > 0);
            found.doubled |= found.here > 1;
            found.here = 0;
        }
        self.others.sort_unstable();
        let others = || self.others.chunk_by(|a, b| a == b);
        self.doubled_others += others().filter(|same| same.len() > 1).count() as u64;
        self.unacknowledged += others().count() as u64;
        self.others.clear();
    }

    fn verdict(&self) -> Verdict {
        let count = |wanted: fn(&Found) -> bool| self.found.iter().filter(|found| wanted(found)).count() as u64;
        Verdict {
            acknowledged: self.ids.len() as u64,
            found_once: count(|found| found.tiers == 1 && !found.doubled),
            lost: count(|found| found.tiers == 0),
            doubled: count(|found| found.doubled) + self.doubled_others,
            possibly_doubled: count(|found| found.tiers > 1 && !found.doubled),
            unacknowledged: self.unacknowledged,
        }
    }
}

/// Compares the senders' logs with the tier, by signal.
///
/// # Errors
/// When a log or a Parquet file cannot be read, or there are more than [`MAX_RECORDS`] records.
pub fn verify(tier: &Path, logs: &[(TenantId, PathBuf)]) -> io::Result<BTreeMap<Signal, Verdict>> {
    verify_all(&[tier.to_owned()], logs)
}

/// The same with the tiers of several routers, each with a journal of its own.
///
/// # Errors
/// As [`verify`].
pub fn verify_all(tiers: &[PathBuf], logs: &[(TenantId, PathBuf)]) -> io::Result<BTreeMap<Signal, Verdict>> {
    let mut expected: BTreeMap<(TenantId, Signal), Expected> = BTreeMap::new();
    let mut records = 0;
    for (tenant, log) in logs {
        let mut of_tenant: BTreeMap<Signal, Vec<RecordId>> = BTreeMap::new();
        ack_log::read(log, |signal, id| {
            records += 1;
            if records <= MAX_RECORDS {
                of_tenant.entry(signal).or_default().push(id);
            }
        })?;
        for (signal, ids) in of_tenant {
            expected.entry((tenant.clone(), signal)).or_default().ids.extend(ids);
        }
    }
    if records > MAX_RECORDS {
        return Err(io::Error::other(format!("the logs have {records} records: at most {MAX_RECORDS} are looked for at once")));
    }
    expected.values_mut().for_each(Expected::seal);
    for tier in tiers {
        tier::for_each_file(tier, &mut |tenant, table, path| {
            let Some(expected) = expected.get_mut(&(tenant.clone(), tier::signal_of(table))) else { return Ok(()) };
            tier::for_each_id(table, path, |id| expected.found(id))?;
            if expected.others.len() > MAX_RECORDS {
                return Err(io::Error::other(format!("{}: more than {MAX_RECORDS} records that are in no log", tier.display())));
            }
            Ok(())
        })?;
        expected.values_mut().for_each(Expected::next_tier);
    }
    let mut verdicts: BTreeMap<Signal, Verdict> = BTreeMap::new();
    for ((_, signal), expected) in &expected {
        let verdict = verdicts.entry(*signal).or_default();
        *verdict = Verdict::sum([&*verdict, &expected.verdict()]);
    }
    Ok(verdicts)
}

/// The verdict over things that are counted, not named: by key, how many were acknowledged and how many are in the tier.
pub fn of_counts<K: Ord + Clone>(acknowledged: &BTreeMap<K, u64>, in_tier: impl IntoIterator<Item = (K, u64)>) -> Verdict {
    let (mut found, mut verdict): (BTreeMap<K, u64>, _) = (BTreeMap::new(), Verdict::default());
    for (key, count) in in_tier {
        *found.entry(key).or_default() += count;
    }
    for (key, &acknowledged) in acknowledged {
        let found = found.remove(key).unwrap_or_default();
        verdict.acknowledged += acknowledged;
        verdict.found_once += acknowledged.min(found);
        verdict.lost += acknowledged.saturating_sub(found);
        verdict.doubled += found.saturating_sub(acknowledged);
    }
    verdict.unacknowledged = found.values().sum();
    verdict
}

/// `tributary-chaos verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The local tier's folder.
    #[arg(long)]
    pub tier: PathBuf,
    /// What a sender logged as acknowledged (`load --ack-log`); may be given several times.
    #[arg(long = "ack-log", required = true)]
    pub ack_logs: Vec<PathBuf>,
    /// Whose records they are.
    #[arg(long)]
    pub tenant: TenantId,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `verify` prints. As JSON: one object; the totals stand at its top.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    total: Verdict,
    signals: BTreeMap<Signal, Verdict>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10}{:>14}{:>12}{:>8}{:>9}", "", "acknowledged", "found once", "lost", "doubled")?;
        let rows = self.signals.iter().map(|(signal, verdict)| (signal.as_str(), verdict));
        for (name, verdict) in rows.chain([("all", &self.total)]) {
            write!(f, "\n{name:<10}{:>14}{:>12}{:>8}{:>9}", verdict.acknowledged, verdict.found_once, verdict.lost, verdict.doubled)?;
        }
        Ok(())
    }
}

/// Prints the verdict; succeeds only when every acknowledged record is there once, and there is one.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let logs: Vec<_> = args.ack_logs.iter().map(|log| (args.tenant.clone(), log.clone())).collect();
    let signals = match verify(&args.tier, &logs) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("verify: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = Report { total: Verdict::sum(signals.values()), signals };
    let text = if args.json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { report.to_string() };
    println!("{text}");
    if report.total.is_clean() && report.total.acknowledged > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests;
