//! `/api/v1/tail`: one tenant's records as they are journalled, live.
//!
//! ```sh
//! curl -N -H "Authorization: Bearer $TOKEN" http://127.0.0.1:9464/api/v1/tail
//! curl -N -H "Authorization: Bearer $TOKEN" --json '{"signals": ["logs"], "where": ["service=checkout", "severity=ERROR"]}' …
//! ```
//!
//! The answer is one JSON object a line: a record ([`row`]), or what is said about the tail itself:
//!
//! | Line | Meaning |
//! |---|---|
//! | `{"tailing": "acme"}` | First: what is journalled from now on is shown |
//! | `{"skipped": 120}` | So many records came and are not shown: the reader or the decoding was too slow, or their batch could not be read |
//! | `{"resume": "…"}` | Last, after [`ROUND`]: ask again with this as `after`, and nothing is missed in between |
//!
//! **Who may.** A token of `query.tokens` opens its tenant and no other; the operator's token ([`service::operator`]) opens the tenant that
//! the request names. There is no tail without a token.
//!
//! **It never slows the router.** The journal's book keeps the numbers of the last batches ([`crate::journal::recent`]) whether or not
//! anybody looks; a tail reads behind it at its own pace, from the journal's files, and what has fallen out of the ring meanwhile is
//! counted and told. Batches are decoded only for a tail of their tenant, one at a time in the whole router, and as long as a decode took
//! there is none after it: tails take half a core at most.
//!
//! Bounds: [`MAX_TAILS`] tails, half of them of one tenant; for each, [`MAX_RENDERED_BYTES`] of records that wait for the reader, twice;
//! one decoded batch in all.

mod endpoint;
mod filter;
mod follow;
pub mod row;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use endpoint::{Desk, routes};
pub use filter::{Filter, InvalidFilter, MAX_CONDITIONS};

/// Tails at once.
pub const MAX_TAILS: usize = 8;
/// How long one answer goes on: below the minute that the admin endpoint gives a connection.
pub const ROUND: Duration = Duration::from_secs(50);
/// Of one batch no more is shown than this many bytes of lines.
pub const MAX_RENDERED_BYTES: usize = 4 << 20;

/// Declares this module's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!("tributary_router_tails", Unit::Count, "Live tails that are open");
    describe_counter!(
        "tributary_router_tail_rows_total",
        Unit::Count,
        "Rows of batches that tails came by, by outcome: shown, filtered, skipped"
    );
}
