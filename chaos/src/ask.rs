//! The questions of an edge's and a router's own command lines, so that what `dev` started can be asked with the program that is there.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use clap::Subcommand;

/// Questions to an edge.
#[derive(Debug, Subcommand)]
pub enum Edge {
    /// Ask the running edge how it is: ready or why not, its router, its disk, and where every row went.
    #[command(after_help = edge_gateway::cli::status::HELP)]
    Status(edge_gateway::cli::status::Status),
    /// The spool, the batches that wait on this edge's disk: look into it, find damage, export, drop.
    #[command(subcommand)]
    Spool(edge_gateway::cli::spool::Spool),
    /// The batches that a router refused for good, kept for a person to look at: list, export, remove.
    #[command(subcommand)]
    Rejected(edge_gateway::cli::rejected::Rejected),
}

/// Questions to a router.
#[derive(Debug, Subcommand)]
pub enum Router {
    /// Which edges may connect, which do, and how far behind each is.
    #[command(after_help = central_router::cli::edges::HELP)]
    Edges(central_router::cli::edges::Edges),
    /// Where every row went, by tenant, signal and tier, and whether it balances.
    #[command(after_help = central_router::cli::ledger::HELP)]
    Ledger(central_router::cli::ledger::Ledger),
    /// The journal, the batches that some tier has not written: look into it, find damage, export, drop.
    #[command(subcommand)]
    Journal(central_router::cli::journal::JournalCommand),
    /// Show one tenant's records as they are journalled.
    #[command(after_help = central_router::cli::tail::HELP)]
    Tail(central_router::cli::tail::Tail),
}

/// Asks an edge.
#[must_use]
pub fn edge(question: Edge) -> ExitCode {
    match question {
        Edge::Status(status) => answer(status.execute()),
        Edge::Spool(spool) => answer(spool.execute()),
        Edge::Rejected(rejected) => answer(std::future::ready(rejected.execute())),
    }
}

/// Asks a router.
#[must_use]
pub fn router(question: Router) -> ExitCode {
    match question {
        Router::Edges(edges) => answer(edges.execute()),
        Router::Ledger(ledger) => answer(ledger.execute()),
        Router::Journal(journal) => answer(journal.execute()),
        Router::Tail(tail) => answer(tail.execute()),
    }
}

fn answer<E: Display>(asking: impl Future<Output = Result<ExitCode, E>>) -> ExitCode {
    let failed = |error: &dyn Display| {
        eprintln!("{error}");
        ExitCode::FAILURE
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(asking).unwrap_or_else(|error| failed(&error)),
        Err(error) => failed(&error),
    }
}
