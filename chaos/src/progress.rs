//! What a command says while it runs, on standard error: a line an event, and one a second that overwrites itself on a terminal.

use std::io::{IsTerminal, Write};

use tokio::time::Instant;

/// Prints with the seconds since the start.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    terminal: bool,
}

impl Progress {
    /// From now, or from then.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began, terminal: std::io::stderr().is_terminal() }
    }

    /// Something happened.
    pub fn say(&self, what: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    /// How it stands; on a terminal the next line replaces it, elsewhere it is one line in five.
    pub fn status(&self, second: u64, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[K[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
            // A terminal that cannot be flushed shows the line later.
            drop(std::io::stderr().flush());
        } else if second.is_multiple_of(5) {
            self.say(what);
        }
    }
}
