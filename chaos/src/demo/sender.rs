//! An application with an OTLP/gRPC exporter: sends traces, logs and metrics of its own at a fixed rate, retries until it is told OK,
//! and logs what was acknowledged.
//!
//! A retry sends the same bytes, as exporters do: when only the OK was lost, the edge must recognise the request. What is not
//! acknowledged when the sender stops is not in its log.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::baseline::Baseline;
use crate::clock;
use crate::telemetry::{Generator, RecordId};
use crate::verify::ack_log::AckLog;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(100);

/// What one sender sends, and where.
#[derive(Debug, Clone)]
pub struct SenderPlan {
    /// Number of the sender: `service.instance.id`.
    pub number: u32,
    /// Seed of its telemetry.
    pub seed: u64,
    /// `cloud.region` of its resources.
    pub region: String,
    /// The edge's OTLP/gRPC address, `http://…`.
    pub endpoint: String,
    /// Bearer token that names its tenant.
    pub token: String,
    /// Compress requests with gzip.
    pub gzip: bool,
    /// Spans a second; half as many log records and a quarter as many data points go with them.
    pub spans_per_s: u32,
    /// Where it logs what was acknowledged.
    pub ack_log: PathBuf,
}

/// Live counters of all senders.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records acknowledged.
    pub acknowledged: AtomicU64,
    /// Requests sent again after an error.
    pub retried: AtomicU64,
}

/// Runs until `stop` turns true; returns the records acknowledged.
///
/// # Errors
/// When the log of acknowledged records cannot be written, or the endpoint is not a URI.
pub async fn run(
    plan: SenderPlan,
    progress: Arc<Progress>,
    baseline: Arc<Mutex<Baseline>>,
    stop: watch::Receiver<bool>,
) -> io::Result<u64> {
    let channel = Endpoint::from_shared(plan.endpoint.clone()).map_err(io::Error::other)?.timeout(REQUEST_TIMEOUT).connect_lazy();
    let mut exporter = Exporter { channel, plan: plan.clone() };
    let mut generator = Generator::new(plan.seed, plan.number, &plan.region);
    let mut log = AckLog::create(&plan.ack_log)?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let spans = (plan.spans_per_s as usize / 10).max(4);
    while !*stop.borrow() {
        ticks.tick().await;
        for (signal, count) in [(Signal::Traces, spans), (Signal::Logs, spans / 2), (Signal::Metrics, spans / 4)] {
            let (payload, ids) = Payload::make(&mut generator, signal, count);
            if !exporter.until_acknowledged(&payload, &progress, &stop).await {
                break;
            }
            log.acknowledged(signal, ids.iter().copied())?;
            progress.acknowledged.fetch_add(ids.len() as u64, Ordering::Relaxed);
            let body = payload.encode();
            baseline.lock().unwrap_or_else(PoisonError::into_inner).add(plan.number, signal, &body, ids.len());
        }
    }
    log.finish()
}

enum Payload {
    Traces(opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest),
    Logs(opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest),
    Metrics(opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest),
}

impl Payload {
    fn make(generator: &mut Generator, signal: Signal, count: usize) -> (Self, Vec<RecordId>) {
        let now = clock::unix_nano();
        match signal {
            Signal::Logs => {
                let made = generator.logs(now, count);
                (Self::Logs(made.request), made.ids)
            }
            Signal::Metrics => {
                let made = generator.metrics(now, count);
                (Self::Metrics(made.request), made.ids)
            }
            Signal::Traces | Signal::Profiles => {
                let made = generator.traces(now, count);
                (Self::Traces(made.request), made.ids)
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }
}

struct Exporter {
    channel: Channel,
    plan: SenderPlan,
}

impl Exporter {
    /// Sends until OK; false when told to stop before.
    async fn until_acknowledged(&mut self, payload: &Payload, progress: &Progress, stop: &watch::Receiver<bool>) -> bool {
        loop {
            let began = Instant::now();
            match timeout(REQUEST_TIMEOUT, self.export(payload)).await {
                Ok(Ok(())) => return true,
                Ok(Err(status)) => tracing::debug!(%status, sender = self.plan.number, "request not acknowledged"),
                Err(_) => tracing::debug!(sender = self.plan.number, "request timed out"),
            }
            if *stop.borrow() {
                return false;
            }
            progress.retried.fetch_add(1, Ordering::Relaxed);
            sleep_until(began + RETRY_EVERY).await;
        }
    }

    async fn export(&mut self, payload: &Payload) -> Result<(), Status> {
        let channel = self.channel.clone();
        macro_rules! send {
            ($client:ident, $request:expr) => {{
                let mut client = $client::new(channel);
                if self.plan.gzip {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                let response = client.export(self.authorized($request.clone())?).await?.into_inner();
                match response.partial_success {
                    Some(partial) if !partial.error_message.is_empty() => Err(Status::data_loss(partial.error_message)),
                    _ => Ok(()),
                }
            }};
        }
        match payload {
            Payload::Traces(request) => send!(TraceServiceClient, request),
            Payload::Logs(request) => send!(LogsServiceClient, request),
            Payload::Metrics(request) => send!(MetricsServiceClient, request),
        }
    }

    fn authorized<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.plan.token).parse().map_err(|_| Status::invalid_argument("token is no header value"))?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }
}
