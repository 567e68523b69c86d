//! The sender's own log of what was acknowledged: one line a record, written after the OK.
//!
//! `<signal> <id>`: a span or log record by its span id (16 hex digits), a data point by `sender@time`. The verdict is made from
//! these files alone, not from anything that an edge or a router says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use federation_proto::identity::Signal;

use crate::telemetry::RecordId;

/// Written in pieces of this size: a load of hundreds of thousands of records a second logs them all.
const BUFFER_BYTES: usize = 256 << 10;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The log of one sender.
#[derive(Debug)]
pub struct AckLog {
    out: BufWriter<File>,
    records: u64,
}

impl AckLog {
    /// A new log at `path`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { out: BufWriter::with_capacity(BUFFER_BYTES, File::create_new(path)?), records: 0 })
    }

    /// Logs the records of an acknowledged request.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn acknowledged(&mut self, signal: Signal, ids: impl IntoIterator<Item = RecordId>) -> io::Result<()> {
        for id in ids {
            self.out.write_all(signal.as_str().as_bytes())?;
            match id {
                RecordId::Span(id) => self.out.write_all(&hex_line(id))?,
                RecordId::Point { sender, time_unix_nano } => writeln!(self.out, " {sender}@{time_unix_nano}")?,
            }
            self.records += 1;
        }
        Ok(())
    }

    /// Records logged.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.records)
    }
}

/// A blank, 16 hex digits, a line's end. By hand: formatting would cost more than making the record did.
fn hex_line(id: [u8; 8]) -> [u8; 18] {
    let mut line = [b'\n'; 18];
    line[0] = b' ';
    for (digits, byte) in line[1..17].chunks_exact_mut(2).zip(id) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
    line
}

/// Reads a log back.
///
/// # Errors
/// When it cannot be read, or a line is not as [`AckLog`] writes it.
pub fn read(path: &Path, mut each: impl FnMut(Signal, RecordId)) -> io::Result<()> {
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        let (signal, id) = parse(&line)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{}:{}: no record: {line:?}", path.display(), number + 1)))?;
        each(signal, id);
    }
    Ok(())
}

fn parse(line: &str) -> Option<(Signal, RecordId)> {
    let (signal, id) = line.split_once(' ')?;
    let signal = Signal::ALL.iter().copied().find(|known| known.as_str() == signal)?;
    let id = match id.split_once('@') {
        Some((sender, time)) => RecordId::Point { sender: sender.parse().ok()?, time_unix_nano: time.parse().ok()? },
        None => RecordId::Span(u64::from_str_radix(id, 16).ok()?.to_be_bytes()),
    };
    Some((signal, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was acknowledged is what the verdict is made from.
    #[test]
    fn reads_back_what_was_logged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let spans = [RecordId::Span([0, 1, 2, 3, 4, 5, 6, 255])];
        let points = [RecordId::Point { sender: 3, time_unix_nano: 1_800_000_000_000_000_001 }];
        let mut log = AckLog::create(&path).unwrap();
        log.acknowledged(Signal::Traces, spans).unwrap();
        log.acknowledged(Signal::Metrics, points).unwrap();
        assert_eq!(log.finish().unwrap(), 2);
        let mut seen = Vec::new();
        read(&path, |signal, id| seen.push((signal, id))).unwrap();
        assert_eq!(seen, [(Signal::Traces, spans[0]), (Signal::Metrics, points[0])]);
        std::fs::write(&path, "traces zz\n").unwrap();
        assert!(read(&path, |_, _| ()).unwrap_err().to_string().contains(":1:"));
    }
}
