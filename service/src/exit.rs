//! Exit codes, the same for every binary, so that a supervisor can tell "restart it" from "a
//! person must look".
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | Did what it was asked to, or drained after SIGTERM or SIGINT |
//! | 1 | Failed while starting or running: a restart may help |
//! | 2 | The configuration or the command line is wrong: a restart will not help. Also all that `check` finds in files that it names |
//! | 3 | A command that asks (`status`, `ledger`, `spool ls`) got its answer, and the answer is bad |
//! | 130, 143 | A second SIGINT or SIGTERM ended the drain at once |

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;

/// The process failed while starting or running.
pub const EXIT_FAILURE: u8 = 1;
/// The configuration is wrong; clap uses the same code for a wrong command line.
pub const EXIT_CONFIG: u8 = 2;

/// A command that asks got its answer, and all is not well: not ready, out of balance, damaged.
pub const EXIT_NOT_WELL: u8 = 3;

/// Prints the error of a failed run, with its causes, as one line on stderr and gives the exit
/// code: 2 if a [`ConfigError`] is the error or one of its causes, else 1.
///
/// Takes what `main` has: an `anyhow::Result` or a boxed error. A cause whose text an outer error
/// already contains is not printed again. An error enum must hand a `ConfigError` on as its
/// `source` (`#[error("{0}")] Config(#[source] ConfigError)`): thiserror's `transparent` hides it.
pub fn exit_code<E>(result: Result<(), E>) -> ExitCode
where
    E: AsRef<dyn Error + Send + Sync + 'static>,
{
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let error: &(dyn Error + 'static) = error.as_ref();
    eprintln!("{}", one_line(error));
    ExitCode::from(code(error))
}

/// As [`exit_code`], for `check`: 2 whatever is wrong, since a person has to look, be it at the configuration or at a certificate, an
/// allow-list or a key that it names.
pub fn check_code<E>(result: Result<(), E>) -> ExitCode
where
    E: AsRef<dyn Error + Send + Sync + 'static>,
{
    let failed = result.is_err();
    let code = exit_code(result);
    if failed { ExitCode::from(EXIT_CONFIG) } else { code }
}

fn code(error: &(dyn Error + 'static)) -> u8 {
    if causes(error).any(|cause| cause.is::<ConfigError>()) { EXIT_CONFIG } else { EXIT_FAILURE }
}

fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line.replace(['\n', '\r'], " ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum RunError {
        #[error("{0}")]
        Config(#[source] ConfigError),
        #[error("cannot start the receiver")]
        Receiver(#[source] std::io::Error),
    }

    fn boxed(error: RunError) -> Box<dyn Error + Send + Sync> {
        error.into()
    }

    /// A wrong configuration is told from every other failure, however deep it is wrapped.
    #[test]
    fn config_errors_exit_with_2() {
        let config = || ConfigError::file("edge.yaml".as_ref(), "does not exist");
        assert_eq!(code(&config()), EXIT_CONFIG);
        let wrapped = boxed(RunError::Config(config()));
        assert_eq!(code(wrapped.as_ref()), EXIT_CONFIG);
        assert_eq!(one_line(wrapped.as_ref()), "edge.yaml: does not exist", "the same text is not printed twice");
        assert_eq!(exit_code(Err(wrapped)), ExitCode::from(2));
    }

    /// Any other failure is 1, and its causes stand on the same line.
    #[test]
    fn other_errors_exit_with_1() {
        let error = boxed(RunError::Receiver(std::io::Error::other("address\nin use")));
        assert_eq!(one_line(error.as_ref()), "cannot start the receiver: address in use");
        assert_eq!(exit_code(Err(error)), ExitCode::from(1));
        assert_eq!(exit_code(Ok::<(), Box<dyn Error + Send + Sync>>(())), ExitCode::SUCCESS);
    }

    /// What `check` finds is for a person, whatever kind of error it is.
    #[test]
    fn what_a_check_finds_exits_with_2() {
        assert_eq!(check_code(Err(boxed(RunError::Receiver(std::io::Error::other("no such certificate"))))), ExitCode::from(2));
        assert_eq!(check_code(Ok::<(), Box<dyn Error + Send + Sync>>(())), ExitCode::SUCCESS);
    }
}
