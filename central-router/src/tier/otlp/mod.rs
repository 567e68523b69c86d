//! The otlp tier: any receiver of OTLP over gRPC or HTTP, such as an OpenTelemetry Collector.
//!
//! | Module | What it is |
//! |---|---|
//! | [`config`] | `tiers.<name>.otlp`, its bounds and defaults |
//! | [`work`] | Which rows are still to be sent, in which requests. Pure |
//! | [`answer`] | What an answer means for them. Pure |
//! | [`body`], [`headers`], [`client`] | Rows as bytes; secrets; the connection |
//!
//! A unit is sent in requests of one tenant and signal, several at once. What a destination refuses for good is counted as rejected with
//! its reason and holds nothing else up; what it asks to have later makes the whole tier wait (the consumer's jittered back-off, and at
//! least as long as `Retry-After` or `RetryInfo` say), after which only what was not confirmed is sent again.
//!
//! Delivery is at least once, since OTLP has no ids of requests. Sent again, though the destination may have it already: a request whose
//! answer was lost or too late; and, after a crash or a stop in the middle of a unit, that unit: at most `max_request` × `concurrency`
//! of raw bytes, or one batch. Nothing that a settled unit had is sent again: its end is the journal's cursor, on disk.
//!
//! Memory: one unit decoded (as above), and for each of `concurrency` requests up to twice `max_request`, once plain and once compressed.
//! A batch that its edge understated comes alone (see the consumer), and is then encoded whole at most once for each cut.

mod answer;
mod body;
mod client;
mod config;
mod headers;
mod work;

use std::sync::Arc;
use std::time::Instant;

use federation_proto::ledger::Reason;
use tokio::task::JoinSet;

use self::answer::Answer;
use self::body::{Body, Unsendable};
use self::client::Client;
pub use self::config::{Compression, HeaderSource, OtlpConfig, Protocol, Secret, ValueFile, Variable};
use self::work::{Piece, Work};
use super::{Delivered, Pace, Tier, TierOpenError, Unfinished, Unit, Write, Writing};
use crate::journal::book::UnitLimits;

/// Rows of a unit: a bound for records of a few bytes.
const UNIT_ROWS: u64 = 500_000;

/// Reads the files and variables that the configuration names; connects to nothing.
///
/// # Errors
/// [`TierOpenError`] when one cannot be used.
pub fn verify(config: &OtlpConfig) -> Result<(), TierOpenError> {
    Client::new(config).map(drop)
}

/// See the module.
pub struct OtlpTier {
    shared: Arc<Shared>,
    /// The unit that is being written, or was when the destination asked for a pause.
    work: Option<Work>,
}

/// What a request on its way needs.
struct Shared {
    name: String,
    config: OtlpConfig,
    client: Client,
}

impl OtlpTier {
    /// Makes the tier of that name; connects with the first request.
    ///
    /// # Errors
    /// [`TierOpenError`] when certificates or headers cannot be read.
    pub fn open(config: &OtlpConfig, name: &str) -> Result<Self, TierOpenError> {
        let client = Client::new(config)?;
        Ok(Self { shared: Arc::new(Shared { name: name.to_owned(), config: config.clone(), client }), work: None })
    }

    /// One try at a unit: sends until all is answered, or until a pause is asked for and what is on its way is answered.
    async fn attempt(&mut self, unit: Arc<Unit>) -> Result<Delivered, Write> {
        let begun = self.work.take().filter(|work| work.is_of(&unit));
        let work = self.work.insert(begun.unwrap_or_else(|| Work::new(&unit, &self.shared.config)));
        work.resume();
        let in_flight = metrics::gauge!("tributary_router_otlp_in_flight_requests", "tier" => self.shared.name.clone());
        let mut sending = JoinSet::new();
        loop {
            while sending.len() < self.shared.config.concurrency
                && let Some((id, piece)) = work.next()
            {
                let (shared, unit) = (Arc::clone(&self.shared), Arc::clone(&unit));
                sending.spawn(async move { (id, shared.send(unit, piece).await) });
                in_flight.set(sending.len() as f64);
            }
            let Some(answered) = sending.join_next().await else { break };
            in_flight.set(sending.len() as f64);
            // A request that panicked stays unanswered, and is sent again with the next try.
            if let Ok((id, answer)) = answered {
                work.settle(id, answer);
            }
        }
        let result = work.result();
        if result.is_ok() {
            self.work = None;
        }
        result
    }
}

impl Tier for OtlpTier {
    fn pace(&self) -> Pace {
        let config = &self.shared.config;
        let raw_bytes = config.max_request.0.saturating_mul(config.concurrency as u64);
        Pace { interval: config.flush_interval.0, limits: UnitLimits { rows: UNIT_ROWS, raw_bytes } }
    }

    /// The journal's cursor is all that it remembers.
    fn unfinished(&mut self, _: u64) -> Result<Unfinished, Write> {
        Ok(Unfinished::default())
    }

    fn write(&mut self, unit: Arc<Unit>) -> Writing<'_> {
        Box::pin(self.attempt(unit))
    }
}

impl Shared {
    /// One request, and what became of it: counted, and said where a row is lost.
    async fn send(self: Arc<Self>, unit: Arc<Unit>, piece: Piece) -> Answer {
        let started = now();
        let (tenant, signal, rows) = (piece.tenant.clone(), piece.signal, piece.rows());
        let answer = match self.body(unit, piece).await {
            Ok(body) => {
                self.count_bytes(&body);
                self.client.send(&tenant, signal, body, rows).await
            }
            Err(answer) => answer,
        };
        let (tier, took) = (self.name.clone(), now().saturating_duration_since(started));
        let labels = [("tier", tier.clone()), ("signal", signal.to_string()), ("answer", answer.as_str().to_owned())];
        metrics::counter!("tributary_router_otlp_requests_total", &labels).increment(1);
        metrics::histogram!("tributary_router_otlp_request_seconds", "tier" => tier.clone()).record(took.as_secs_f64());
        match &answer {
            Answer::Refused { reason, why } => tracing::error!(tier, %tenant, %signal, rows, %reason, why, "refused for good"),
            Answer::Taken { rejected, message } if *rejected > 0 => {
                tracing::error!(tier, %tenant, %signal, rows, rejected, message, "taken in part");
            }
            Answer::Smaller { why } => tracing::info!(tier, %tenant, %signal, rows, why, "sent again in halves"),
            _ => {}
        }
        answer
    }

    /// Encodes on a blocking thread; otherwise the answer that needs no destination.
    async fn body(&self, unit: Arc<Unit>, piece: Piece) -> Result<Body, Answer> {
        let (protocol, form, most) = (self.config.protocol, self.config.compression, self.config.max_request.0 as usize);
        let several = piece.rows() > 1;
        match tokio::task::spawn_blocking(move || body::encode(&unit, &piece, protocol, form, most)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(Unsendable::TooLarge(bytes))) => {
                let why = format!("{bytes} bytes or more, max_request is {}", self.config.max_request);
                Err(if several { Answer::Smaller { why } } else { Answer::Refused { reason: Reason::TooLarge, why } })
            }
            Ok(Err(Unsendable::Compressor(error))) => Err(Answer::none(format!("compression failed: {error}"))),
            // The same rows would panic again, and stop the tier.
            Err(error) if error.is_panic() => Err(Answer::Refused { reason: Reason::Unwritable, why: "the encoder panicked".to_owned() }),
            Err(_) => Err(Answer::none("the router is stopping".to_owned())),
        }
    }

    fn count_bytes(&self, body: &Body) {
        metrics::counter!("tributary_router_otlp_plain_bytes_total", "tier" => self.name.clone()).increment(body.plain_bytes as u64);
        metrics::counter!("tributary_router_otlp_sent_bytes_total", "tier" => self.name.clone()).increment(body.bytes.len() as u64);
    }
}

/// Driver: how long a request took.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Declares this module's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "tributary_router_otlp_requests_total",
        Unit::Count,
        "Requests of an otlp tier, by tier, signal and answer: taken, partly_taken, later, smaller, refused"
    );
    describe_counter!("tributary_router_otlp_plain_bytes_total", Unit::Bytes, "Bytes of requests before compression, by tier");
    describe_counter!("tributary_router_otlp_sent_bytes_total", Unit::Bytes, "Bytes of request bodies as they were sent, by tier");
    describe_histogram!(
        "tributary_router_otlp_request_seconds",
        Unit::Seconds,
        "Time of one request, from encoding it to its answer, by tier"
    );
    describe_gauge!(
        "tributary_router_otlp_in_flight_requests",
        Unit::Count,
        "Requests that are encoded, sent or waiting for their answer, by tier"
    );
}

#[cfg(test)]
mod tests;
