//! The OTLP endpoint behind a router's second tier: well, slow, refusing or down as told, with the ids of what it took.
//!
//! Memory: eight bytes a span or log record.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::scenario::Mood;

/// Where it listens, on all of the lab's own addresses.
pub(super) const PORT: u16 = 4317;
const SLOW: Duration = Duration::from_secs(1);
const MAX_MESSAGE: usize = 64 << 20;

/// The endpoint.
#[derive(Debug)]
pub(super) struct Collector {
    seen: Seen,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    mood: Arc<Mutex<Option<Mood>>>,
    ids: Arc<Mutex<HashSet<[u8; 8]>>>,
}

impl Collector {
    /// Listens, and is well.
    pub(super) fn start() -> io::Result<Self> {
        let mut collector = Self { seen: Seen::default(), task: None };
        collector.listen()?;
        Ok(collector)
    }

    /// Behaves so from now on; none: well.
    pub(super) fn set(&mut self, mood: Option<Mood>) -> io::Result<()> {
        *self.seen.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        if mood == Some(Mood::Down) {
            self.task.take().inspect(JoinHandle::abort);
            return Ok(());
        }
        self.listen()
    }

    /// Ids of spans and log records that it said OK to.
    pub(super) fn ids(&self) -> HashSet<[u8; 8]> {
        self.seen.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.task.is_some() {
            return Ok(());
        }
        let incoming = TcpIncoming::bind((Ipv4Addr::UNSPECIFIED, PORT).into()).map_err(io::Error::other)?;
        let seen = || self.seen.clone();
        let server = Server::builder()
            .add_service(
                TraceServiceServer::new(seen()).max_decoding_message_size(MAX_MESSAGE).accept_compressed(CompressionEncoding::Gzip),
            )
            .add_service(LogsServiceServer::new(seen()).max_decoding_message_size(MAX_MESSAGE).accept_compressed(CompressionEncoding::Gzip))
            .add_service(
                MetricsServiceServer::new(seen()).max_decoding_message_size(MAX_MESSAGE).accept_compressed(CompressionEncoding::Gzip),
            );
        self.task = Some(tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming(incoming).await {
                tracing::error!(%error, "the collector ended");
            }
        }));
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.take().inspect(JoinHandle::abort);
    }
}

impl Seen {
    async fn take(&self, ids: Vec<[u8; 8]>) -> Result<(), Status> {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        match mood {
            Some(Mood::Slow) => tokio::time::sleep(SLOW).await,
            Some(Mood::Refusing | Mood::Down) => return Err(Status::unavailable("the scenario says so")),
            None => {}
        }
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        Ok(())
    }
}

fn id(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.try_into().ok()
}

#[tonic::async_trait]
impl TraceService for Seen {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.get_ref().resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans);
        self.take(spans.filter_map(|span| id(&span.span_id)).collect()).await?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Seen {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let records = request.get_ref().resource_logs.iter().flat_map(|of| &of.scope_logs).flat_map(|of| &of.log_records);
        self.take(records.filter_map(|record| id(&record.span_id)).collect()).await?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Seen {
    async fn export(&self, _: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take(Vec::new()).await?;
        Ok(Response::new(Default::default()))
    }
}
