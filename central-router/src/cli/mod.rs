//! The command line of `tributary-router`. What asks a running router (`edges`, `ledger`, `tail`) is one file each.

pub mod edges;
pub mod journal;
pub mod ledger;
pub mod tail;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use federation_proto::identity::{EdgeName, TenantId};
use service::admin::client::{AskError, Client, DEFAULT_ADDR};
use service::config::ConfigError;

use crate::config::Config;
use crate::pki::{self, InitOptions, IssueOptions, PkiError};

/// Receives batches of telemetry from edges over QUIC, journals them before it acknowledges, and
/// hands them to its tiers.
///
/// A first router, on one machine:
///
///   tributary-router pki init ./pki
///   tributary-router pki issue --dir ./pki --edge paris-1 --tenant acme
///   tributary-router check --config router.yaml
///   tributary-router run --config router.yaml
///   tributary-router edges --config router.yaml
///   tributary-router ledger --config router.yaml
///   tributary-router journal fsck --config router.yaml
///   tributary-router tail --config router.yaml --tenant acme --where service=checkout
///   tributary-router query --config router.yaml --tenant acme "SELECT count(*) FROM otel_traces"
///
/// Copy ca.pem, edges/paris-1.pem and edges/paris-1.key to that edge. Every configuration key can be
/// overridden by the environment, for example TRIBUTARY_ROUTER__JOURNAL__BUDGET=64GiB.
/// TRIBUTARY_LOG=debug shows more.
///
/// Exit codes: 0 done, or drained after SIGTERM or SIGINT; 1 it cannot start, or what was asked
/// cannot be had; 2 the configuration or the command line is wrong, or `check` found something wrong in
/// the files it names; 3 the answer is there and is not a good one (a ledger that does not balance).
#[derive(Debug, Parser)]
#[command(name = "tributary-router", version, verbatim_doc_comment)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the router until SIGTERM or SIGINT; then drain.
    #[command(after_help = "Example: tributary-router run --config /etc/tributary/router.yaml")]
    Run(ConfigFile),
    /// Check the configuration, the certificates and the allow-list, and say what is wrong; touches nothing.
    #[command(after_help = "Example: tributary-router check --config /etc/tributary/router.yaml")]
    Check(ConfigFile),
    /// Ask the running router which edges may connect, which do, and how far behind each is.
    #[command(after_help = edges::HELP)]
    Edges(edges::Edges),
    /// Ask the running router where every row went, by tenant, signal and tier, and whether it balances.
    #[command(after_help = ledger::HELP)]
    Ledger(ledger::Ledger),
    /// The journal, the batches that some tier has not written: look into it, find damage, export, drop.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Show one tenant's records as they are journalled.
    #[command(after_help = tail::HELP)]
    Tail(tail::Tail),
    /// Ask one tenant's records in the local tier a question in SQL.
    #[command(after_help = "Examples:\n  tributary-router query --config router.yaml --tenant acme \"SHOW TABLES\"\n  \
tributary-router query --config router.yaml --tenant acme --format json \"SELECT Body FROM otel_logs LIMIT 10\"")]
    Query(Box<crate::sql::command::Query>),
    /// Make certificates: an authority for the federation, and an identity for each edge.
    #[command(subcommand)]
    Pki(Pki),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_ROUTER_CONFIG")]
    pub config: PathBuf,
    /// Log as JSON, one object per line.
    #[arg(long)]
    pub log_json: bool,
}

/// Which router is asked.
#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// The router's configuration: its `admin.listen` is asked.
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_ROUTER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address of its admin endpoint, instead of a configuration. Without either: 127.0.0.1:9464.
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
}

impl Asked {
    fn client(&self) -> Result<Client, CommandError> {
        let addr = match (self.admin, &self.config) {
            (Some(addr), _) => addr,
            (None, Some(path)) => Config::load(path).map_err(CommandError::Config)?.admin.addr(),
            (None, None) => DEFAULT_ADDR,
        };
        Ok(Client::new(addr))
    }
}

/// Why a command has no answer; one line with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// The router does not answer, or not as one does.
    #[error("{}", .0.with_remedy("router"))]
    Ask(#[from] AskError),
    /// What else is missing.
    #[error("{0}")]
    Other(String),
    /// The answer cannot be written.
    #[error("standard output: {0}")]
    Print(#[from] std::io::Error),
}

#[expect(clippy::disallowed_methods, reason = "driver: ages are told from now")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Certificates.
#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Make an authority, this router's certificate and an empty allow-list in DIR.
    #[command(after_help = "Example: tributary-router pki init ./pki --name router.example --name 192.0.2.7")]
    Init(Init),
    /// Issue an edge's certificate and put the edge on the allow-list.
    #[command(after_help = "Example: tributary-router pki issue --dir ./pki --edge paris-1 --tenant acme --tenant beta")]
    Issue(Issue),
}

/// `pki init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where to write; made if it is not there.
    pub dir: PathBuf,
    /// The router's name, in its SPIFFE id spiffe://tributary/router/NAME.
    #[arg(long, default_value = "central")]
    pub router: EdgeName,
    /// A DNS name or address that edges reach the router by; may be given several times.
    #[arg(long = "name", value_name = "DNS_OR_IP", default_values = pki::DEFAULT_ROUTER_NAMES)]
    pub names: Vec<String>,
    /// Lifetime of the router's certificate; the authority's is ten years.
    #[arg(long, default_value_t = pki::LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// Replace what is there: all certificates issued before lose their worth.
    #[arg(long)]
    pub force: bool,
}

/// `pki issue`.
#[derive(Debug, Args)]
pub struct Issue {
    /// The directory given to `pki init`.
    #[arg(long, default_value = "pki")]
    pub dir: PathBuf,
    /// The edge's name, in its SPIFFE id spiffe://tributary/edge/NAME.
    #[arg(long)]
    pub edge: EdgeName,
    /// Whose records the edge may carry; give it once for each tenant.
    #[arg(long = "tenant", value_name = "TENANT", required = true)]
    pub tenants: Vec<TenantId>,
    /// Lifetime of the certificate.
    #[arg(long, default_value_t = pki::LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// Replace the edge's certificate and its tenants.
    #[arg(long)]
    pub force: bool,
}

impl Pki {
    /// Does it, and says what was written and what to do next.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn execute(self) -> Result<String, PkiError> {
        match self {
            Self::Init(Init { dir, router, names, days, force }) => {
                let made = pki::init(&dir, &InitOptions { router, names, days, force })?;
                let (shown, id) = (dir.display(), &made.router);
                Ok(format!(
                    "Wrote:\n  {}\n  {}  (the authority's key: keep it off the routers)\n  {}\n  {}\n  {}  (the allow-list, empty)\n\n\
                     In the router's configuration:\n  tls: {{ca: {}, cert: {}, key: {}}}\n  edges: {}\n\n\
                     Next, for each edge:\n  tributary-router pki issue --dir {shown} --edge NAME --tenant TENANT\n",
                    id.ca.display(),
                    made.ca_key.display(),
                    id.cert.display(),
                    id.key.display(),
                    made.edges.display(),
                    id.ca.display(),
                    id.cert.display(),
                    id.key.display(),
                    made.edges.display(),
                ))
            }
            Self::Issue(Issue { dir, edge, tenants, days, force }) => {
                let id = pki::issue(&dir, &IssueOptions { edge: edge.clone(), tenants, days, force })?;
                Ok(format!(
                    "Wrote:\n  {}\n  {}\nAdded {edge} to:\n  {}  (a running router sees it within seconds)\n\n\
                     Copy to the edge, and name in its configuration:\n  tls: {{ca: {}, cert: {}, key: {}}}\n",
                    id.cert.display(),
                    id.key.display(),
                    pki::edges_file(&dir).display(),
                    id.ca.display(),
                    id.cert.display(),
                    id.key.display(),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// No two options clash, and every default is one that is taken.
    #[test]
    fn the_command_line_is_whole() {
        Cli::command().debug_assert();
    }
}
