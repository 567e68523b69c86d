//! Programs of the system (`ip`, `tc`, `nft`, `ethtool`, `mount`): run to their end, and what they complain of is the error.

use std::io;
use std::process::Command;

/// Runs a line of words without quotes; what it prints.
///
/// # Errors
/// When the program is not there or fails: the line and what it said.
pub(super) fn run(line: &str) -> io::Result<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    run_words(&words)
}

/// The same with words that may contain blanks.
pub(super) fn run_words(words: &[&str]) -> io::Result<String> {
    let line = || words.join(" ");
    let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("nothing to run"))?;
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}: `bash .ci/setup` installs what the lab needs")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("`{}`: {}: {}", line(), output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
