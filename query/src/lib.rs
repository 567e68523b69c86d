//! SQL over the local tier: one tenant, one read-only statement, within limits.
//!
//! The tier is `<tier>/tenant=<T>/table=<name>/day=<YYYY-MM-DD>/hour=<HH>/*.parquet`. A statement sees the tenant's tables and nothing
//! else:
//!
//! ```text
//! SELECT "ServiceName", count(*) FROM otel_traces WHERE "Timestamp" > now() - INTERVAL '1 hour' GROUP BY 1
//! SELECT Body FROM otel_logs WHERE day = '2026-11-22' AND hour = 15 AND LogAttributes['http.route'] = '/pay'
//! ```
//!
//! Names are as written: `SpanName`, not `spanname`. Each table has two columns more than its files: `day` (a date) and `hour` (0 to
//! 23), UTC. Files of days and hours that a statement cannot need are not opened: those it excludes by these columns, and those it
//! excludes by the record's time.
//!
//! | Module | What it is |
//! |---|---|
//! | [`queries`] | Statements of many tenants side by side: places, deadline, a runtime of their own |
//! | [`engine`] | One tenant's session: what exists in it, what may be asked |
//! | `table`, `hours` | A table by day and hour; which hours a filter needs |
//! | `store` | The tenant's directory and nothing beside it, to read only |
//! | [`output`] | Rows as a table for people, JSON or CSV |
//!
//! What holds:
//! - **No statement reaches another tenant.** The session's only storage begins in the tenant's directory, whatever path a statement
//!   finds a way to name; there are no statements, functions or catalogs that name a path at all.
//! - **No statement changes anything.** Only queries are planned, and the storage refuses writes.
//! - **Bounds**, each an error that says what to do: [`Limits`], [`engine::MAX_SQL_BYTES`], [`engine::MAX_OPERATORS`],
//!   `store::MAX_FILES`. Operators that collect rows (sort, group, join) take their memory from the limit; nothing is spilled to
//!   disk. Beside it stand, for each thread, one row group of one file as encoded and one batch of 4,096 rows as Arrow; functions that
//!   make long text or lists out of short ones are not offered.
//! - **Not bounded by the limit**: what functions hold while they compute. A chain of `WITH` that doubles a text at each step ends with
//!   an error at Arrow's 2 GiB for a column of a batch; 4 GiB resident were measured there. Nothing else stops, but the memory has to
//!   be there: a tenant with a token is trusted that far.

#![forbid(unsafe_code)]

pub mod engine;
mod error;
mod hours;
pub mod output;
pub mod queries;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use arrow_schema::SchemaRef;

pub use engine::Engine;
pub use error::QueryError;
pub use output::{Format, Written};
pub use queries::Queries;

/// What one statement may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that sorting, grouping and joining may hold.
    pub memory: usize,
    /// Rows given; further ones are left out, and [`Written::more`] says so.
    pub rows: usize,
    /// From its start to its last row.
    pub time: Duration,
}

impl Default for Limits {
    /// 256 MiB, 10,000 rows, 30 s.
    fn default() -> Self {
        Self { memory: 256 << 20, rows: 10_000, time: Duration::from_secs(30) }
    }
}

/// A table of the tier.
#[derive(Debug, Clone)]
pub struct Table {
    /// As its directory has it, without `table=`.
    pub name: String,
    /// The columns of its files; it is the same whether there are files or not.
    pub schema: SchemaRef,
    /// The column that day and hour of a file were taken from: nanoseconds in UTC.
    pub time: String,
}
