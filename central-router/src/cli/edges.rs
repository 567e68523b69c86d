//! `tributary-router edges`: who may connect, who does, how far behind each is.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use service::terminal::{self, Table, bytes, number, plain, seconds, text};

use super::{Asked, CommandError, unix_seconds};

/// Below the options in `--help`.
pub const HELP: &str = "Examples:\n  tributary-router edges --config router.yaml\n  \
tributary-router edges --admin 127.0.0.1:9464 --json | jq '.edges[] | select(.connections == []) | .edge'";

/// `edges`.
#[derive(Debug, Args)]
pub struct Edges {
    #[command(flatten)]
    asked: Asked,
    /// One JSON object, for programs: also floors and all labels.
    #[arg(long)]
    json: bool,
}

impl Edges {
    /// Asks and prints.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let report = self.asked.client()?.json("/edges").await?;
        let text = if self.json { format!("{report:#}\n") } else { page(&report, unix_seconds()) };
        terminal::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn page(report: &Value, now: u64) -> String {
    let edges: Vec<&Value> = report["edges"].as_array().into_iter().flatten().collect();
    if edges.is_empty() {
        return "no edge is allowed yet: `tributary-router pki issue --edge NAME --tenant TENANT` adds one\n".to_owned();
    }
    let head = [
        "edge",
        "state",
        "since",
        "address",
        "over",
        "queued",
        "bytes",
        "oldest",
        "batches",
        "rows",
        "received",
        "last seen",
        "tenants",
        "labels",
        "spools",
    ];
    let mut table = Table::new(&head);
    for edge in &edges {
        let connections = edge["connections"].as_array().map_or(&[][..], Vec::as_slice);
        if connections.is_empty() {
            table.row(absent(edge, now));
        }
        for (at, connection) in connections.iter().enumerate() {
            table.row(present(edge, connection, at == 0, now));
        }
    }
    let connected = edges.iter().filter(|edge| edge["connections"].as_array().is_some_and(|all| !all.is_empty())).count();
    format!("{table}\n{connected} of {} allowed edges are connected. Received: since the router started.\n", edges.len())
}

fn ago(then: u64, now: u64) -> String {
    if then == 0 { "never".to_owned() } else { format!("{} ago", seconds(now.saturating_sub(then))) }
}

fn absent(edge: &Value, now: u64) -> [String; 15] {
    let received = &edge["past"]["received"];
    let dash = || "-".to_owned();
    [
        text(&edge["edge"]),
        "away".to_owned(),
        dash(),
        dash(),
        dash(),
        dash(),
        dash(),
        dash(),
        number(&received["batches"]).to_string(),
        number(&received["rows"]).to_string(),
        bytes(number(&received["bytes"])),
        ago(number(&edge["past"]["seen_unix_seconds"]), now),
        tenants(edge),
        dash(),
        dash(),
    ]
}

/// What earlier connections brought is added to the first line.
fn present(edge: &Value, connection: &Value, first: bool, now: u64) -> [String; 15] {
    let received = |key: &str| {
        let before = if first { number(&edge["past"]["received"][key]) } else { 0 };
        before + number(&connection["received"][key])
    };
    let oldest = number(&connection["oldest_unix_nano"]) / 1_000_000_000;
    [
        text(&edge["edge"]),
        if edge["allowed"] == true { "connected" } else { "REVOKED" }.to_owned(),
        seconds(now.saturating_sub(number(&connection["since_unix_seconds"]))),
        text(&connection["remote"]),
        text(&connection["transport"]),
        number(&connection["queued_batches"]).to_string(),
        bytes(number(&connection["queued_bytes"])),
        if oldest == 0 { "-".to_owned() } else { seconds(now.saturating_sub(oldest)) },
        received("batches").to_string(),
        received("rows").to_string(),
        bytes(received("bytes")),
        ago(number(&connection["heard_unix_seconds"]), now),
        tenants(edge),
        labels(&connection["labels"]),
        spools(&connection["spools"]),
    ]
}

fn tenants(edge: &Value) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = edge["tenants"].as_array().into_iter().flatten().take(SHOWN).map(text).collect();
    let more = number(&edge["tenants_total"]).saturating_sub(names.len() as u64);
    let names = names.join(",");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

fn labels(labels: &Value) -> String {
    let pairs: Vec<String> =
        labels.as_object().into_iter().flatten().map(|(key, value)| format!("{}={}", plain(key), text(value))).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(",") }
}

/// The first digits of each id: enough to tell them apart.
fn spools(spools: &Value) -> String {
    let ids: Vec<String> = spools.as_array().into_iter().flatten().map(|spool| text(&spool["id"]).chars().take(8).collect()).collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Connected and absent edges stand in one list, with how far behind each is and what came from it in all.
    #[test]
    fn one_line_an_edge() {
        let past = |seen: u64| json!({"connections": 1, "received": {"batches": 1, "rows": 10, "bytes": 100}, "seen_unix_seconds": seen});
        let connection = json!({
            "remote": "10.0.0.7:4433", "transport": "quic", "labels": {"region": "eu\u{1b}[31m"}, "queued_batches": 5, "queued_bytes": 2048,
            "oldest_unix_nano": 940_000_000_000u64, "since_unix_seconds": 900, "heard_unix_seconds": 999,
            "spools": [{"id": "0123456789abcdef0123456789abcdef", "floor": 7}], "received": {"batches": 2, "rows": 20, "bytes": 200},
        });
        let page = page(
            &json!({"router": "r", "edges": [
                {"edge": "eu", "allowed": true, "tenants": ["a", "b", "c"], "tenants_total": 9, "past": past(0), "connections": [connection]},
                {"edge": "us", "allowed": true, "tenants": ["a"], "tenants_total": 1, "past": past(400), "connections": []},
            ]}),
            1000,
        );
        let cells = |line: usize| page.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            cells(1),
            "eu connected 1m40s 10.0.0.7:4433 quic 5 2.0KiB 1m 3 30 300B 1s ago a,b,c and 6 more region=eu\\u{1b}[31m 01234567"
        );
        assert_eq!(cells(2), "us away - - - - - - 1 10 100B 10m ago a - -");
        assert!(page.contains("1 of 2 allowed edges are connected"), "{page}");
    }
}
