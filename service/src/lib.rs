//! What every Tributary process needs and none should write twice: its configuration, its TLS
//! identity, its admin endpoint, its shutdown, and what it says about itself.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`config`] | What was this process told to do, and on which line is it wrong? |
//! | [`tls`] | Who am I to my peers, and who are they? |
//! | [`admin`] | Does data move (`/readyz`), what was counted (`/metrics`, `/ledger`)? |
//! | [`accept`] | How many connections at a time? |
//! | [`shutdown`] | When do I stop, and how long may I take? |
//! | [`observe`] | Where do logs and metrics go? |
//! | [`watched`] | Did a file change, and is it of any use? |
//! | [`supervise`] | Who notices a panic? |
//! | [`operator`] | Who may do what nobody else may? |
//! | [`terminal`] | How do commands print what a person reads? |
//!
//! A `main.rs` is then short:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use service::{config, observe, shutdown::Shutdown};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     listen: config::Listen,
//! }
//!
//! fn start() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let config: Config = config::load("edge.yaml".as_ref(), "TRIBUTARY_EDGE")?;
//!     observe::init_tracing(false);
//!     // build a runtime, run until `Shutdown::on_signals()` says so, drain
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     service::exit_code(start())
//! }
//! ```

#![forbid(unsafe_code)]

pub mod accept;
pub mod admin;
pub mod config;
mod exit;
pub mod observe;
pub mod operator;
pub mod shutdown;
pub mod supervise;
pub mod terminal;
pub mod tls;
pub mod watched;

pub use exit::{EXIT_CONFIG, EXIT_FAILURE, EXIT_NOT_WELL, check_code, exit_code};

/// Describes to the recorder every metric that all processes have.
pub fn describe_metrics() {
    admin::describe_metrics();
    observe::describe_metrics();
    supervise::describe_metrics();
}
