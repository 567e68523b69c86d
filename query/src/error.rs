//! Why a statement was not answered, as one line that says what to do.

use std::error::Error;
use std::time::Duration;

use datafusion::error::DataFusionError;

use crate::store::TooManyFiles;

/// Longest message, in characters: some list every column of a table.
const MAX_MESSAGE: usize = 1_000;

/// Why a statement was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The statement is wrong, or not one that is allowed.
    #[error("{0}")]
    Statement(String),
    /// It took too long.
    #[error("not done after {}s: ask for fewer hours (WHERE day = '...' AND hour = ...) or fewer columns, or raise the time limit", .0.as_secs_f64())]
    Time(Duration),
    /// It needs more memory.
    #[error("needs more than {0} bytes of memory: ask for fewer hours, fewer groups or a LIMIT after ORDER BY, or raise the memory limit")]
    Memory(usize),
    /// Its answer is too long for where it goes.
    #[error("the answer has more than {0} bytes: ask for fewer columns or rows")]
    Output(usize),
    /// Too many statements are being answered.
    #[error("{0} statements are being answered, which is the limit: try again")]
    Busy(usize),
    /// The files, the disk or the engine failed; the statement may be right.
    #[error("cannot be answered: {0}")]
    Failed(String),
}

impl QueryError {
    /// What the engine's error means. `memory` is the limit in force, in bytes.
    pub(crate) fn from_engine(error: &DataFusionError, memory: usize) -> Self {
        if let Some(many) = cause::<TooManyFiles>(error) {
            return Self::Statement(many.to_string());
        }
        let root = error.find_root();
        match root {
            DataFusionError::ResourcesExhausted(_) => Self::Memory(memory),
            DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ExecutionJoin(_)
            | DataFusionError::Internal(_) => Self::Failed(line(&root.strip_backtrace())),
            _ => Self::Statement(with_remedy(line(&root.strip_backtrace()))),
        }
    }
}

/// The engine names the columns that there are, not the tables.
fn with_remedy(message: String) -> String {
    if message.contains("table '") && message.ends_with("not found") { message + ": SHOW TABLES lists what there is" } else { message }
}

/// The first cause of type `E`.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// One line of bounded length.
pub(crate) fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
