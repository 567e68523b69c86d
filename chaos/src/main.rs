//! `tributary-chaos`: demo, load, verdict and benches, and the parts that they start.

use std::process::ExitCode;

use chaos::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    Cli::parse().run()
}
