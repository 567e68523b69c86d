//! What goes round a fault while it lasts: to another router, or over TCP where UDP is blocked.
//!
//! Two measurements. How long an edge took, by its own account: until it was told of a batch on a journal that it reached by the other way.
//! And what had arrived, from files alone: the Parquet files that stand at the centre before the fault ends are linked into a folder, and what
//! senders were told OK during the first half of the fault is looked for there: what a busy machine has not written yet by the end is of the
//! second. Catching up after the fault does not count. Bounds: a link for each file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::TenantId;
use serde_json::Value;
use tokio::time::Instant;

use super::plant::Plant;
use super::scenario::{Fault, Scenario, What};
use super::site::Site;
use crate::load::tally::Tally;
use crate::stand::ledger;
use crate::verify::{self, Verdict, tier};

/// One sender, and what it was told.
#[derive(Debug)]
pub(super) struct Sender {
    /// The edge that it sends to.
    pub(super) site: Site,
    pub(super) tenant: TenantId,
    pub(super) ack_log: PathBuf,
    pub(super) tally: Arc<Tally>,
}

/// A fault that lasts, and what goes round it.
#[derive(Debug)]
pub(super) struct Detour {
    /// Which of the scenario's faults.
    pub(super) fault: usize,
    what: What,
    began: Instant,
    /// Edges that have not gone round it yet, with the rows that they had shipped when they were first seen on the other way.
    waiting: BTreeMap<Site, Option<u64>>,
    sites: Vec<Site>,
    slowest: Duration,
    /// Rows that each sender was told OK for before.
    before: Vec<u64>,
    /// When half of it is over, and what each was told OK for until then.
    half_at: Instant,
    half: Option<Vec<u64>>,
    during: Option<Vec<PathBuf>>,
}

/// What a detour came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detoured {
    /// Of the slowest edge; none: one never went round it.
    pub(super) took: Option<Duration>,
    /// Of what senders were told OK during the first half of the fault, in percent.
    pub(super) arrived_percent: f64,
}

impl Detour {
    /// The fault has just begun.
    pub(super) fn begin(nth: usize, fault: Fault, scenario: &Scenario, senders: &[Sender]) -> Self {
        let (what, began) = (fault.what, Instant::now());
        let edges = &scenario.topology.edges;
        let sites: Vec<Site> =
            edges.iter().copied().filter(|edge| what.site().is_some_and(|site| site.is_router() || site == *edge)).collect();
        Self {
            fault: nth,
            what,
            began,
            half_at: began + fault.lasts.unwrap_or_default() / 2,
            half: None,
            waiting: sites.iter().map(|site| (*site, None)).collect(),
            sites,
            slowest: Duration::ZERO,
            before: acknowledged(senders),
            during: None,
        }
    }

    /// Asks the edges that have not gone round it yet. An edge that does not answer is asked again.
    pub(super) async fn look(&mut self, plant: &Plant, senders: &[Sender]) {
        if self.during.is_some() {
            return;
        }
        if self.half.is_none() && Instant::now() >= self.half_at {
            self.half = Some(acknowledged(senders));
        }
        for site in self.waiting.keys().copied().collect::<Vec<_>>() {
            let Some(status) = plant.status(site).await else { continue };
            let Some(at) = self.waiting.get_mut(&site).filter(|_| is_round(&status, self.what)) else { continue };
            let shipped = ledger::sum(&status, "shipped");
            if shipped > *at.get_or_insert(shipped) {
                self.waiting.remove(&site);
                self.slowest = self.began.elapsed();
            }
        }
    }

    /// The fault is about to end: what stands at the centre now is kept under `folder`.
    pub(super) fn end(&mut self, tiers: &[PathBuf], folder: &Path) -> io::Result<()> {
        let links = tiers.iter().enumerate().map(|(nth, tier)| link_all(tier, &folder.join(nth.to_string())));
        self.during = Some(links.collect::<io::Result<_>>()?);
        Ok(())
    }

    /// When all logs are written.
    pub(super) fn judge(&self, senders: &[Sender], folder: &Path) -> io::Result<Detoured> {
        let took = self.waiting.is_empty().then_some(self.slowest);
        let (Some(tiers), Some(half)) = (&self.during, &self.half) else { return Ok(Detoured { took, arrived_percent: 0.0 }) };
        let mut logs = Vec::new();
        for (nth, sender) in senders.iter().enumerate().filter(|(_, sender)| self.sites.contains(&sender.site)) {
            let log = folder.join(format!("{}-{nth}.log", self.fault));
            copy_lines(&sender.ack_log, &log, self.before[nth], half[nth])?;
            logs.push((sender.tenant.clone(), log));
        }
        let total = Verdict::sum(verify::verify_all(tiers, &logs)?.values());
        let arrived = total.acknowledged.saturating_sub(total.lost);
        Ok(Detoured { took, arrived_percent: arrived as f64 * 100.0 / total.acknowledged.max(1) as f64 })
    }
}

fn acknowledged(senders: &[Sender]) -> Vec<u64> {
    senders.iter().map(|sender| sender.tally.acknowledged_rows()).collect()
}

/// Does the edge use a way that the fault does not touch?
fn is_round(status: &Value, what: What) -> bool {
    is_connected(status)
        && match what {
            What::BlockUdp(_) => says(status, "/link/transport") == "tcp",
            _ => what.site().is_some_and(|site| says(status, "/link/router") != site.as_str()),
        }
}

/// Is the edge where it would be if nothing had ever happened: at the router that it prefers, over QUIC?
pub(super) fn is_home(status: &Value) -> bool {
    is_connected(status) && says(status, "/link/router") == Site::R1.as_str() && says(status, "/link/transport") == "quic"
}

fn is_connected(status: &Value) -> bool {
    status.pointer("/link/connected").and_then(Value::as_bool) == Some(true)
}

fn says<'a>(status: &'a Value, key: &str) -> &'a str {
    status.pointer(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whole files of a tier under another folder, which keeps them whatever becomes of the tier.
fn link_all(tier: &Path, folder: &Path) -> io::Result<PathBuf> {
    if tier.is_dir() {
        tier::for_each_file(tier, &mut |_, _, path| {
            let to = folder.join(path.strip_prefix(tier).map_err(io::Error::other)?);
            to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::hard_link(path, to)
        })?;
    }
    std::fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

fn copy_lines(from: &Path, to: &Path, first: u64, end: u64) -> io::Result<()> {
    to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    let mut out = BufWriter::new(File::create(to)?);
    let (skip, take) = (usize::try_from(first).map_err(io::Error::other)?, usize::try_from(end - first).map_err(io::Error::other)?);
    for line in BufReader::new(File::open(from)?).lines().skip(skip).take(take) {
        writeln!(out, "{}", line?)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Another router counts as the way round a router that is away, TCP as that round blocked UDP, and a lost connection as neither; home is the
    /// first router over QUIC.
    #[test]
    fn tells_the_way_round_from_the_way_home() {
        let status = |connected: bool, router: &str, transport: &str| json!({"link": {"connected": connected, "router": router, "transport": transport}});
        assert!(is_round(&status(true, "r2", "quic"), What::Kill(Site::R1)));
        assert!(!is_round(&status(true, "r1", "quic"), What::Kill(Site::R1)));
        assert!(!is_round(&status(false, "r2", "quic"), What::Kill(Site::R1)));
        assert!(is_round(&status(true, "r1", "tcp"), What::BlockUdp(Site::West)));
        assert!(!is_round(&status(true, "r1", "quic"), What::BlockUdp(Site::West)));
        assert!(is_home(&status(true, "r1", "quic")));
        assert!(![status(true, "r2", "quic"), status(true, "r1", "tcp"), status(false, "r1", "quic")].iter().any(is_home));
    }

    /// Lines of the fault's time alone are copied.
    #[test]
    fn copies_what_was_told_during_the_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("all"), dir.path().join("in").join("some"));
        std::fs::write(&from, "a\nb\nc\nd\n").unwrap();
        copy_lines(&from, &to, 1, 3).unwrap();
        assert_eq!(std::fs::read_to_string(to).unwrap(), "b\nc\n");
    }
}
