//! The command line of `tributary-agent`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Sees TCP connects and processes by eBPF and sends them as OpenTelemetry to the edge.
///
///   tributary-agent check --config agent.yaml
///   tributary-agent run --config agent.yaml
///
/// Any key can be set from the environment: TRIBUTARY_AGENT__EDGE__ENDPOINT=http://127.0.0.1:4317.
/// Without privileges it runs and is ready all the same, unless a probe is set to `on`. The log
/// filter is TRIBUTARY_LOG, for example info,agent=debug.
///
/// Exit codes: 0 done, or drained after SIGTERM or SIGINT; 1 it cannot start, or `check` finds that a
/// probe that must run cannot; 2 the configuration or the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "tributary-agent", version, verbatim_doc_comment)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs until SIGTERM or SIGINT.
    #[command(after_help = "Example: tributary-agent run --config /etc/tributary/agent.yaml")]
    Run(Options),
    /// Reads the configuration and says which probes this machine permits.
    #[command(after_help = "Example: tributary-agent check --config /etc/tributary/agent.yaml")]
    Check(Options),
}

/// Where the configuration is, and how to log.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration (YAML).
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_AGENT_CONFIG")]
    pub config: PathBuf,
    /// Log as JSON, one object per line.
    #[arg(long, alias = "json")]
    pub log_json: bool,
}
