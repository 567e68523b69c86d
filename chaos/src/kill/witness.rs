//! Stands between the agent and the edge, passes everything on, and remembers the connects in what the edge acknowledged.
//!
//! The agent keeps no log of its own, so somebody else has to say what it was told OK for. What it sends is encoded again, but the same
//! message gives the same bytes: a repeated request is still known to the edge. Memory: a number a data point about our own port.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// Connects by process and time of their data point.
pub type Connects = BTreeMap<(u32, u64), u64>;

/// The running witness; ends when dropped.
#[derive(Debug)]
pub struct Witness {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    connects: Mutex<Connects>,
}

impl Witness {
    /// Listens on loopback for the agent; `edge` takes OTLP/gRPC; connects to `port` are remembered.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn start(edge: SocketAddr, port: u16) -> io::Result<Self> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).map_err(io::Error::other)?;
        let address = incoming.local_addr()?;
        let edge = Endpoint::from_shared(format!("http://{edge}")).map_err(io::Error::other)?.connect_lazy();
        let seen = Arc::new(Seen::default());
        let pass = Pass { edge, port: i64::from(port), seen: Arc::clone(&seen) };
        let server = Server::builder().add_service(MetricsServiceServer::new(pass.clone())).add_service(LogsServiceServer::new(pass));
        let task = tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming(incoming).await {
                tracing::error!(%error, "the witness ended");
            }
        });
        Ok(Self { address, seen, task })
    }

    /// Where the agent is to send.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that the edge acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// The connects in them.
    #[must_use]
    pub fn connects(&self) -> Connects {
        self.seen.connects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Pass {
    edge: Channel,
    port: i64,
    seen: Arc<Seen>,
}

/// The same message with the same token, and nothing else of the request.
fn onwards<T: Clone>(request: &Request<T>) -> Request<T> {
    let mut onwards = Request::new(request.get_ref().clone());
    if let Some(authorization) = request.metadata().get("authorization") {
        onwards.metadata_mut().insert("authorization", authorization.clone());
    }
    onwards
}

#[tonic::async_trait]
impl MetricsService for Pass {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let answer = MetricsServiceClient::new(self.edge.clone()).export(onwards(&request)).await?;
        let metrics = request.get_ref().resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics);
        let points = metrics.filter_map(|metric| match &metric.data {
            Some(Data::Histogram(histogram)) => Some(&histogram.data_points),
            _ => None,
        });
        let mut connects = self.seen.connects.lock().unwrap_or_else(PoisonError::into_inner);
        for point in points.flatten().filter(|point| int(point, "network.peer.port") == Some(self.port)) {
            let pid = int(point, "process.pid").and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
            *connects.entry((pid, point.time_unix_nano)).or_default() += point.count;
        }
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }
}

#[tonic::async_trait]
impl LogsService for Pass {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let answer = LogsServiceClient::new(self.edge.clone()).export(onwards(&request)).await?;
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }
}

fn int(point: &HistogramDataPoint, key: &str) -> Option<i64> {
    let attribute = point.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(value) => Some(*value),
        _ => None,
    }
}
