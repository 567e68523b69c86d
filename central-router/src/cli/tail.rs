//! `tributary-router tail`: one tenant's records as they are journalled.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use federation_proto::identity::TenantId;
use serde_json::{Map, Value, json};
use service::admin::client::{Client, Lines};
use service::terminal::{self, plain};

use super::{Asked, CommandError};
use crate::config::Config;
use service::operator;

/// Below the options in `--help`.
pub const HELP: &str = "On the router's machine --config is enough: the operator's token is read from its data_dir (operator.token, \
readable by the router's user). From elsewhere give a tenant's token, of query.tokens, in TRIBUTARY_TOKEN, and --admin.\n\
A router never waits for a tail: what came too fast is counted as skipped.\n\n\
Examples:\n  tributary-router tail --config router.yaml --tenant acme\n  \
tributary-router tail --config router.yaml --tenant acme --signal logs --where service=checkout --where severity=ERROR\n  \
TRIBUTARY_TOKEN=… tributary-router tail --admin router.example:9464 --tenant acme --json --limit 10 | jq .body";

/// `tail`.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    asked: Asked,
    /// Whose records.
    #[arg(long)]
    tenant: TenantId,
    /// Which signals; may be given several times. All by default.
    #[arg(long = "signal", value_name = "SIGNAL")]
    signals: Vec<Signal>,
    /// Only records that have this attribute, of their own or of their resource; several must all hold. `service`, `name`, `severity` and
    /// `trace_id` are short for what they say.
    #[arg(long = "where", value_name = "KEY=VALUE")]
    conditions: Vec<String>,
    /// End after so many records.
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// One JSON object a line, for programs; what is said about the tail goes to standard error.
    #[arg(long)]
    json: bool,
    /// A tenant's token; without it, the operator's.
    #[arg(long, value_name = "TOKEN", env = "TRIBUTARY_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A signal that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// How one answer of the router ended.
enum Round {
    /// All that was asked for was shown, or nobody reads any more.
    Done,
    /// Ask again.
    Again,
}

impl Tail {
    /// Shows records until the limit, or until nobody reads them.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn execute(self) -> Result<ExitCode, CommandError> {
        let client = self.client()?;
        let signals: Vec<&str> = self.signals.iter().map(|signal| signal.as_str()).collect();
        let (mut after, mut left, mut began) = (None, self.limit, false);
        loop {
            let ask = json!({"tenant": self.tenant, "signals": signals, "where": self.conditions, "limit": left, "after": after});
            let mut lines = client.lines("/api/v1/tail", &ask).await?;
            match self.show(&mut lines, &mut after, &mut left, &mut began).await {
                Ok(Round::Done) => return Ok(ExitCode::SUCCESS),
                Ok(Round::Again) => {}
                Err(CommandError::Ask(error)) => {
                    // The router ends a reader that is too slow for a whole minute.
                    eprintln!("… {error}; asking again, what came in between is not shown");
                    after = None;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn client(&self) -> Result<Client, CommandError> {
        let client = self.asked.client()?;
        let token = match (&self.token, &self.asked.config) {
            (Some(token), _) => token.clone(),
            (None, Some(config)) => operators(config)?,
            (None, None) => {
                let why =
                    "whose question is this? Give --config (the operator, on the router's machine) or a tenant's token in TRIBUTARY_TOKEN";
                return Err(CommandError::Other(why.to_owned()));
            }
        };
        Ok(client.with_token(&token))
    }

    async fn show(
        &self,
        lines: &mut Lines,
        after: &mut Option<String>,
        left: &mut Option<u64>,
        began: &mut bool,
    ) -> Result<Round, CommandError> {
        let ended = CommandError::Other("the router has ended the tail: it is stopping".to_owned());
        while let Some(line) = lines.next().await.map_err(CommandError::Ask)? {
            let said: Value = serde_json::from_str(&line).map_err(|error| CommandError::Other(format!("not a line of a tail: {error}")))?;
            if let Some(resume) = said["resume"].as_str() {
                *after = Some(resume.to_owned());
                return Ok(Round::Again);
            }
            if let Some(skipped) = said["skipped"].as_u64() {
                eprintln!("… {skipped} records skipped");
            } else if said["tailing"].is_string() {
                if !std::mem::replace(began, true) {
                    eprintln!("tailing {}; Ctrl-C ends it", self.tenant);
                }
            } else {
                let text = if self.json { line + "\n" } else { page_line(&said) };
                if !terminal::print(&text)? {
                    return Ok(Round::Done);
                }
                if let Some(left) = left {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        return Ok(Round::Done);
                    }
                }
            }
        }
        Err(ended)
    }
}

/// The operator's token of the router with this configuration.
fn operators(config: &Path) -> Result<String, CommandError> {
    let config = Config::load(config).map_err(CommandError::Config)?;
    operator::read(&config.data_dir).map_err(|why| CommandError::Other(format!("{why}; or give a tenant's token in TRIBUTARY_TOKEN")))
}

/// A record on one line: time of day, signal, service, what it is, attributes.
fn page_line(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let time = text("time").split_once('T').map_or("-", |(_, of_day)| of_day.get(..12).unwrap_or(of_day));
    let what = match text("signal") {
        "traces" => {
            let millis = record["duration_ns"].as_u64().unwrap_or(0) as f64 / 1e6;
            format!("{} {} {millis:.1}ms {}", text("kind"), text("name"), text("status"))
        }
        "logs" => format!("{} {}", text("severity"), shown(&record["body"])),
        _ if record["value"].is_null() => format!("{} count={} sum={}", text("name"), record["count"], record["sum"]),
        _ => format!("{} {}{}", text("name"), shown(&record["value"]), text("unit")),
    };
    let attributes = record["attributes"].as_object().map(pairs).unwrap_or_default();
    plain(format!("{time} {:7} {} {}  {attributes}", text("signal"), text("service"), what.trim()).trim_end()) + "\n"
}

fn pairs(attributes: &Map<String, Value>) -> String {
    attributes.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect::<Vec<_>>().join(" ")
}

/// Text as it is, all else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each signal has its line, and what a sender wrote cannot drive the terminal.
    #[test]
    fn records_on_one_line() {
        let log = json!({"signal": "logs", "time": "2026-11-22T15:00:01.123456789Z", "service": "cart", "severity": "ERROR",
                         "body": "no\nmoney\u{1b}[2J", "attributes": {"http.route": "/pay", "n": 3}});
        assert_eq!(page_line(&log), "15:00:01.123 logs    cart ERROR no\\nmoney\\u{1b}[2J  http.route=/pay n=3\n");
        let span = json!({"signal": "traces", "time": null, "service": "cart", "kind": "SERVER", "name": "GET /", "duration_ns": 1_500_000,
                          "status": "OK", "attributes": {}});
        assert_eq!(page_line(&span), "- traces  cart SERVER GET / 1.5ms OK\n");
        let point =
            json!({"signal": "metrics", "time": null, "service": "cart", "name": "load", "value": 0.5, "unit": "1", "attributes": {}});
        assert_eq!(page_line(&point), "- metrics cart load 0.51\n");
    }
}
