//! `tributary-router ledger`: where every row went, and whether the terms add up.

use std::process::ExitCode;

use clap::Args;
use federation_proto::identity::TenantId;
use serde_json::Value;
use service::EXIT_NOT_WELL;
use service::terminal::{self, Table, number, text};

use super::{Asked, CommandError};

/// Below the options in `--help`.
pub const HELP: &str = "A tier balances when journalled = delivered + queued + every way in which rows left otherwise; each is counted where it happens.\n\
Exit codes: 0 it balances; 1 the router does not answer; 2 wrong configuration; 3 it does not balance: a fault to report.\n\n\
Examples:\n  tributary-router ledger --config router.yaml --tenant acme\n  tributary-router ledger --admin 127.0.0.1:9464 --json | jq .tiers";

/// `ledger`.
#[derive(Debug, Args)]
pub struct Ledger {
    #[command(flatten)]
    asked: Asked,
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// What left a tier otherwise than by delivery: counts, and counts by reason.
const LOSSES: [&str; 6] = ["rejected", "dropped", "sampled_out", "not_routed", "dead_lettered", "skipped"];

impl Ledger {
    /// Asks and prints. The exit code says whether it balances.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let mut report = self.asked.client()?.json("/ledger").await?;
        if report["router"].is_null() {
            return Err(CommandError::Other(
                "no router's ledger: an edge listens there? --admin names the router's admin address".to_owned(),
            ));
        }
        if let Some(tenant) = &self.tenant {
            keep(&mut report, tenant.as_str());
        }
        let balanced = accounts(&report).all(|(_, account)| account["balanced"] == true);
        let text = if self.json { format!("{report:#}\n") } else { page(&report, balanced) };
        terminal::print(&text)?;
        Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
    }
}

/// Leaves one tenant's accounts.
fn keep(report: &mut Value, tenant: &str) {
    for tier in report["tiers"].as_array_mut().into_iter().flatten() {
        if let Some(accounts) = tier["tenants"].as_array_mut() {
            accounts.retain(|account| account["tenant"] == tenant);
        }
    }
}

fn accounts(report: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let tiers = report["tiers"].as_array().into_iter().flatten();
    tiers.flat_map(|tier| tier["tenants"].as_array().into_iter().flatten().map(move |account| (&tier["tier"], account)))
}

fn page(report: &Value, balanced: bool) -> String {
    let mut table = Table::new(&["tenant", "signal", "tier", "journalled", "delivered", "queued", "otherwise", "balanced"]);
    let mut lines: Vec<(&Value, &Value)> = accounts(report).collect();
    lines.sort_by_key(|(tier, account)| (text(&account["tenant"]), text(&account["signal"]), text(tier)));
    for (tier, account) in &lines {
        table.row([
            text(&account["tenant"]),
            text(&account["signal"]),
            text(tier),
            number(&account["journalled"]).to_string(),
            number(&account["delivered"]).to_string(),
            number(&account["queued"]).to_string(),
            otherwise(account),
            if account["balanced"] == true { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    let duplicates = number(&report["duplicates"]["rows"]);
    let said = match (lines.is_empty(), balanced) {
        (true, _) => "nothing was journalled yet",
        (_, true) => "it balances: every journalled row is delivered, queued, or counted with the reason why not",
        (_, false) => "IT DOES NOT BALANCE: rows are missing, or counted twice; this is a fault of the router, please report it",
    };
    let table = if lines.is_empty() { String::new() } else { format!("{table}\n") };
    format!("{table}{said}; {duplicates} rows came again and were not journalled twice\n")
}

/// `12 dropped (undecodable), 3 skipped`, or a dash.
fn otherwise(account: &Value) -> String {
    let mut parts = Vec::new();
    for loss in LOSSES {
        match &account[loss] {
            Value::Object(by_reason) => {
                let counted = by_reason.iter().filter(|(_, rows)| number(rows) > 0);
                parts.extend(counted.map(|(reason, rows)| format!("{} {loss} ({reason})", number(rows))));
            }
            rows if number(rows) > 0 => parts.push(format!("{} {loss}", number(rows))),
            _ => {}
        }
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        let account = |tenant: &str, balanced: bool| {
            json!({
                "tenant": tenant, "signal": "logs", "journalled": 30, "delivered": 10, "rejected": {}, "dropped": {"undecodable": 12},
                "sampled_out": 0, "not_routed": 0, "dead_lettered": 0, "skipped": 3, "queued": 5, "balanced": balanced,
            })
        };
        let accounts = [account("beta", false), account("acme", true)];
        json!({"router": "r", "duplicates": {"batches": 1, "rows": 7}, "tiers": [{"tier": "parquet", "tenants": accounts}]})
    }

    /// Every term stands there with its reason, and what does not balance stands out.
    #[test]
    fn every_term_is_there() {
        let page = page(&report(), false);
        let cells = |line: usize| page.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(cells(1), "acme logs parquet 30 10 5 12 dropped (undecodable), 3 skipped yes");
        assert_eq!(cells(2), "beta logs parquet 30 10 5 12 dropped (undecodable), 3 skipped NO");
        assert!(page.contains("IT DOES NOT BALANCE") && page.contains("7 rows came again"), "{page}");
    }

    /// One tenant's ledger has nothing of another's, its balance included.
    #[test]
    fn one_tenant_alone() {
        let mut acme = report();
        keep(&mut acme, "acme");
        assert!(accounts(&acme).all(|(_, account)| account["tenant"] == "acme" && account["balanced"] == true));
        assert_eq!(accounts(&acme).count(), 1);
    }
}
