//! How commands print what a person reads: tables, sizes, ages; and text that comes from elsewhere, which must not drive the terminal.
//!
//! Bound: a table is held whole before it is printed; who fills it bounds its rows.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use serde_json::Value;

/// Columns of text, as wide as they need to be. Cells that are numbers stand to the right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row: one cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// Has it no rows?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |row: &'_ Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.head.len()).map(|column| all().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
        let numeric = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).all(|cell| is_number(cell));
        let right: Vec<bool> = (0..self.head.len()).map(|column| !self.rows.is_empty() && numeric(column)).collect();
        for row in all() {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&right) {
                let fill = width.saturating_sub(cell.chars().count());
                let (before, behind) = if right { (fill, 0) } else { (0, fill) };
                write!(line, "{:before$}{cell}{:behind$}  ", "", "")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// One word that starts with a digit: `12`, `1.5MiB`, `3m`; or a dash that stands for none.
fn is_number(cell: &str) -> bool {
    cell == "-" || (cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains(' '))
}

/// A size to read at a glance: at most four digits and a unit.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if size < 10.0 { format!("{size:.1}{unit}") } else { format!("{size:.0}{unit}") }
}

/// A length of time to read at a glance: its two largest units.
#[must_use]
pub fn seconds(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let Some(first) = UNITS.iter().position(|&(_, length)| seconds >= length) else { return "0s".to_owned() };
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, length) in UNITS.iter().skip(first).take(2) {
        if rest >= *length || text.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "{}{unit}", rest / length);
        }
        rest %= length;
    }
    text
}

/// Text from elsewhere on one line of a terminal: control and other invisible characters that could move the cursor, hide text or start
/// an escape sequence stand as escapes.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A number of an answer in JSON; 0 if it has none there.
#[must_use]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A text of an answer in JSON, [`plain`]; a dash if it has none there.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), plain)
}

/// Writes to standard output. False when nobody reads any more (`| head`): not an error, but a reason to stop.
///
/// # Errors
/// What the system says.
pub fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns stand under each other, numbers to the right, and no line ends in blanks.
    #[test]
    fn tables_are_aligned() {
        let mut table = Table::new(&["tenant", "rows", "state"]);
        table.row(["acme".to_owned(), "9".to_owned(), "sent".to_owned()]);
        table.row(["été".to_owned(), "1200".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "tenant  rows  state\nacme       9  sent\nété     1200\n");
    }

    /// Sizes and ages are short, at the borders of their units too.
    #[test]
    fn sizes_and_ages() {
        for (size, text) in [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (10 << 10, "10KiB"), (3 << 29, "1.5GiB"), (u64::MAX, "16EiB")] {
            assert_eq!(bytes(size), text);
        }
        for (length, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_661, "1h1m"), (86_399, "23h59m"), (90_000, "1d1h")] {
            assert_eq!(seconds(length), text);
        }
    }

    /// What a sender wrote cannot drive the operator's terminal, nor reorder what it shows.
    #[test]
    fn text_from_elsewhere_is_inert() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{9b}d\u{202e}e\u{7f}ü"), "a\\u{1b}[31mb\\nc\\u{9b}d\\u{202e}e\\u{7f}ü");
    }
}
