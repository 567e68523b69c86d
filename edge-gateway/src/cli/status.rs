//! `tributary-edge status`: what an operator asks first.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use service::EXIT_NOT_WELL;
use service::config::Rate;
use service::terminal::{self, Table, bytes, number, plain, seconds, text};

use super::{Asked, CommandError};
use crate::clock;

/// Below the options in `--help`.
pub const HELP: &str = "Exit codes: 0 ready; 1 the edge does not answer; 2 wrong configuration; 3 it answers and is not ready.\n\n\
Examples:\n  tributary-edge status --config edge.yaml\n  tributary-edge status --admin 127.0.0.1:9465 --json | jq .link";

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    asked: Asked,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints. The exit code says whether the edge is ready.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let status = self.asked.client()?.json("/status").await?;
        let text = if self.json { format!("{status:#}\n") } else { report(&status, clock::unix_seconds()) };
        terminal::print(&text)?;
        let ready = status["ready"] == true;
        Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_WELL) })
    }
}

/// What a person reads.
fn report(status: &Value, now: u64) -> String {
    let mut out = String::new();
    let ready = if status["ready"] == true { "ready".to_owned() } else { format!("NOT READY\n{}", failing(&status["failing"])) };
    // Writing to a String does not fail, here and below.
    let _ = writeln!(out, "edge     {} {}: {}", text(&status["edge"]), text(&status["version"]), ready.trim_end());
    let _ = writeln!(out, "router   {}", router(&status["link"], now));
    let _ = writeln!(out, "link     {}", rate(&status["link"]));
    out.push_str(&endpoints(&status["link"]["endpoints"]));
    let _ = writeln!(out, "inbox    {}", inbox(&status["inbox"]));
    let _ = writeln!(out, "spool    {}", queue(&status["spool"], now));
    let tenants = tenants(&status["tenants"]);
    if tenants.is_empty() {
        out.push_str("\nNothing was received yet.\n");
    } else {
        let _ = write!(out, "\n{tenants}");
    }
    out
}

fn failing(conditions: &Value) -> String {
    let line = |condition: &Value| {
        let since = seconds(number(&condition["for_seconds"]));
        format!("         {}: {} (for {since})\n", text(&condition["condition"]), text(&condition["reason"]))
    };
    let lines: String = conditions.as_array().into_iter().flatten().map(line).collect();
    if lines.is_empty() { "         it is starting: no part has said yet that data moves\n".to_owned() } else { lines }
}

fn router(link: &Value, now: u64) -> String {
    let endpoint = text(&link["endpoint"]);
    let heard = link["heard_unix_seconds"].as_u64().map(|heard| format!(", last heard {} ago", seconds(now.saturating_sub(heard))));
    let heard = heard.unwrap_or_default();
    if link["connected"] != true {
        let why = link["error"].as_str().map_or_else(|| "connecting".to_owned(), plain);
        // What the transport says may begin with the endpoint.
        let why = why.strip_prefix(&format!("{endpoint}: ")).unwrap_or(&why);
        return format!("NOT CONNECTED{heard}, last tried {endpoint}: {why}");
    }
    let since = link["since_unix_seconds"].as_u64().map_or(0, |since| now.saturating_sub(since));
    let round_trip = link["rtt_us"].as_u64().map(|micros| format!(", round trip {:.1}ms", micros as f64 / 1000.0)).unwrap_or_default();
    format!("{} at {endpoint} over {}, for {}{heard}{round_trip}", text(&link["router"]), text(&link["transport"]), seconds(since))
}

fn rate(link: &Value) -> String {
    let cap = link["cap_bytes_per_second"].as_u64().map_or_else(|| "no cap".to_owned(), |cap| format!("cap {}", Rate(cap)));
    let connections = match number(&link["connections"]) {
        1 => "1 connection".to_owned(),
        several => format!("{several} connections"),
    };
    let doubtful = match number(&link["possibly_doubled_batches"]) {
        0 => String::new(),
        batches => format!("; {batches} batches ({} rows) possibly doubled in a failover", number(&link["possibly_doubled_rows"])),
    };
    format!("{}/s now, {cap}, {connections} since the start{doubtful}", bytes(number(&link["bytes_per_second"])))
}

/// A line for each router, where there are several.
fn endpoints(routers: &Value) -> String {
    let routers = routers.as_array().map_or(&[][..], Vec::as_slice);
    let line = |router: &Value| {
        let failures = match number(&router["failures"]) {
            0 => String::new(),
            failures => format!(", {failures} failures"),
        };
        let wait = match number(&router["wait_seconds"]) {
            0 => String::new(),
            wait => format!(", left alone for {}", seconds(wait)),
        };
        let why = router["error"].as_str().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        format!("         {} {}{failures}{wait}{why}\n", text(&router["address"]), text(&router["look"]))
    };
    if routers.len() > 1 { routers.iter().map(line).collect() } else { String::new() }
}

fn inbox(inbox: &Value) -> String {
    let disk = format!("{} of {} on disk", bytes(number(&inbox["disk_bytes"])), bytes(number(&inbox["budget_bytes"])));
    match number(&inbox["rows"]) {
        0 => format!("empty ({disk})"),
        rows => format!("{rows} rows in no batch yet ({disk})"),
    }
}

fn queue(spool: &Value, now: u64) -> String {
    let disk = format!("{} of {} on disk", bytes(number(&spool["disk_bytes"])), bytes(number(&spool["budget_bytes"])));
    if number(&spool["batches"]) == 0 {
        return format!("empty ({disk})");
    }
    let oldest = spool["oldest_unix_nano"]
        .as_u64()
        .map_or_else(String::new, |nanos| format!(", oldest record {} old", seconds(now.saturating_sub(nanos / 1_000_000_000))));
    let stalled = if spool["stalled"] == true { "; TAKES NO BATCH: full, or its disk fails" } else { "" };
    let over: Vec<String> = spool["refused_tenants"].as_array().into_iter().flatten().map(text).collect();
    let over = if over.is_empty() { String::new() } else { format!("; REFUSED, beyond spool.tenant_share: {}", over.join(", ")) };
    let (batches, rows) = (number(&spool["batches"]), number(&spool["rows"]));
    format!("{batches} batches, {rows} rows, {} to ship{oldest} ({disk}){stalled}{over}", bytes(number(&spool["bytes"])))
}

fn tenants(accounts: &Value) -> Table {
    let mut table = Table::new(&["tenant", "signal", "received", "shipped", "queued", "duplicates", "refused", "dropped", "balanced"]);
    for account in accounts.as_array().into_iter().flatten() {
        let count = |key: &str| number(&account[key]).to_string();
        table.row([
            text(&account["tenant"]),
            text(&account["signal"]),
            count("received"),
            count("shipped"),
            count("queued"),
            count("duplicates"),
            reasons(&account["refused"]),
            reasons(&account["dropped"]),
            if account["balanced"] == true { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    table
}

/// `12 too_large, 3 damaged`, or a dash.
fn reasons(by_reason: &Value) -> String {
    let counted = by_reason.as_object().into_iter().flatten().filter(|(_, rows)| number(rows) > 0);
    let text = counted.map(|(reason, rows)| format!("{} {reason}", number(rows))).collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "edge": "eu-1", "version": "0.1.0", "ready": true, "failing": [], "holding": ["inbox"],
            "link": {
                "connected": true, "endpoint": "router:4433", "router": "central", "error": null, "connections": 2, "transport": "quic",
                "since_unix_seconds": 1000, "rtt_us": 1234, "bytes_per_second": 2048, "cap_bytes_per_second": 1_250_000,
                "heard_unix_seconds": 1098, "possibly_doubled_batches": 3, "possibly_doubled_rows": 70,
                "endpoints": [
                    {"address": "router:4433", "look": "connected", "failures": 0, "wait_seconds": 0, "error": null},
                    {"address": "other:4433", "look": "failing", "failures": 2, "wait_seconds": 7, "error": "no answer"},
                ],
            },
            "inbox": {"disk_bytes": 1024, "budget_bytes": 1 << 30, "rows": 7},
            "spool": {
                "id": "00", "disk_bytes": 4096, "budget_bytes": 8u64 << 30, "batches": 3, "rows": 30, "bytes": 2000, "in_flight_bytes": 0,
                "oldest_unix_nano": 1_090_000_000_000u64, "stalled": false,
            },
            "tenants": [
                {"tenant": "acme", "signal": "logs", "received": 50, "shipped": 10, "queued": 30, "duplicates": 4, "refused": {"too_large": 3},
                 "dropped": {"damaged": 7}, "balanced": true},
            ],
        })
    }

    /// Every first question has its answer on the page.
    #[test]
    fn the_page_answers_the_first_questions() {
        insta(
            &report(&status(), 1100),
            &[
                "edge     eu-1 0.1.0: ready",
                "router   central at router:4433 over quic, for 1m40s, last heard 2s ago, round trip 1.2ms",
                "link     2.0KiB/s now, cap 10Mbit/s, 2 connections since the start; 3 batches (70 rows) possibly doubled in a failover",
                "         router:4433 connected",
                "         other:4433 failing, 2 failures, left alone for 7s: no answer",
                "inbox    7 rows in no batch yet (1.0KiB of 1.0GiB on disk)",
                "spool    3 batches, 30 rows, 2.0KiB to ship, oldest record 10s old (4.0KiB of 8.0GiB on disk)",
                "",
                "tenant  signal  received  shipped  queued  duplicates  refused      dropped    balanced",
                "acme    logs          50       10      30           4  3 too_large  7 damaged  yes",
            ],
        );
    }

    fn insta(page: &str, expected: &[&str]) {
        assert_eq!(page.lines().collect::<Vec<_>>(), expected);
    }

    /// What is wrong stands out, with the reason and how long it has been so.
    #[test]
    fn what_is_wrong_stands_out() {
        let mut bad = status();
        bad["ready"] = false.into();
        bad["failing"] = json!([{"condition": "way_out", "reason": "no router", "since_unix_seconds": 1, "for_seconds": 70}]);
        bad["link"]["connected"] = false.into();
        bad["link"]["error"] = "router:4433: no answer\u{1b}[2J".into();
        bad["spool"]["stalled"] = true.into();
        bad["spool"]["refused_tenants"] = json!(["acme"]);
        bad["tenants"][0]["balanced"] = false.into();
        let page = report(&bad, 1100);
        for expected in [
            "NOT READY",
            "way_out: no router (for 1m10s)",
            "NOT CONNECTED",
            "no answer\\u{1b}",
            "TAKES NO BATCH",
            "beyond spool.tenant_share: acme",
            "  NO\n",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
    }
}
