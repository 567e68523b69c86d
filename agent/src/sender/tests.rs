//! Against a real gRPC server on loopback that fails as told.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use parking_lot::Mutex;
use prost::Message;
use tonic::Response;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::outbox::Outbox;

/// A request as it came, with its token.
type Seen = (Option<String>, ExportLogsServiceRequest);

#[derive(Clone, Default)]
struct FakeEdge {
    answers: Arc<Mutex<VecDeque<Status>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[tonic::async_trait]
impl LogsService for FakeEdge {
    async fn export(&self, request: tonic::Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().push((token, request.into_inner()));
        match self.answers.lock().pop_front() {
            Some(status) => Err(status),
            None => Ok(Response::new(ExportLogsServiceResponse::default())),
        }
    }
}

async fn start(edge: &FakeEdge) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder().add_service(LogsServiceServer::new(edge.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

fn config(address: SocketAddr, token: Token) -> Edge {
    let endpoint = format!("http://{address}").parse().unwrap();
    Edge { endpoint, token, ca_file: None, timeout: Duration::from_secs(5) }
}

fn message() -> ExportLogsServiceRequest {
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { schema_url: "x".to_owned(), ..Default::default() }] }
}

fn request() -> Request {
    Request { signal: Signal::Logs, rows: 3, body: Bytes::from(message().encode_to_vec()) }
}

async fn send_all(sender: Sender, requests: Vec<Request>) -> (serde_json::Value, Readiness) {
    let dispatch = Arc::new(Dispatch::new(Outbox::new(1 << 20, 1)));
    dispatch.push(requests);
    let (closing, readiness) = (Shutdown::new(), Readiness::new());
    closing.request();
    run(sender, Arc::clone(&dispatch), readiness.clone(), closing).await;
    (dispatch.report(), readiness)
}

/// A failed export comes again as the same message with the same token, until the edge has it; nothing is counted twice.
#[tokio::test]
async fn retries_until_the_edge_has_it() {
    let edge = FakeEdge::default();
    edge.answers.lock().extend([Status::unavailable("starting"), Status::resource_exhausted("full")]);
    let sender = Sender::new(&config(start(&edge).await, Token::Inline("s3cret".to_owned()))).unwrap();
    let (report, readiness) = send_all(sender, vec![request()]).await;
    let seen = edge.seen.lock();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(token, sent)| token.as_deref() == Some("Bearer s3cret") && *sent == message()));
    assert_eq!(report["rows"]["logs"], serde_json::json!({"built": 3, "exported": 3, "dropped": {}, "queued": 0}));
    assert!(readiness.is_ready(), "success makes ready again");
}

/// What the edge refuses for good is dropped with the reason, and the next request goes on.
#[tokio::test]
async fn goes_on_after_a_refusal() {
    let edge = FakeEdge::default();
    edge.answers.lock().push_back(Status::invalid_argument("no"));
    let sender = Sender::new(&config(start(&edge).await, Token::None)).unwrap();
    let (report, _) = send_all(sender, vec![request(), request()]).await;
    assert_eq!(report["rows"]["logs"], serde_json::json!({"built": 6, "exported": 3, "dropped": {"refused": 3}, "queued": 0}));
    assert_eq!(edge.seen.lock()[0].0, None, "no token, no header");
}

/// A token file that is written anew is read when the edge no longer accepts the old one.
#[tokio::test]
async fn rereads_the_token() {
    let edge = FakeEdge::default();
    edge.answers.lock().push_back(Status::unauthenticated("old"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let sender = Sender::new(&config(start(&edge).await, Token::File(path.clone()))).unwrap();
    std::fs::write(&path, "new\n").unwrap();
    send_all(sender, vec![request()]).await;
    let tokens: Vec<_> = edge.seen.lock().iter().map(|(token, _)| token.clone().unwrap()).collect();
    assert_eq!(tokens, ["Bearer old", "Bearer new"]);
}

/// An edge that is not there is said so in readiness, with the remedy, and costs no row.
#[tokio::test]
async fn says_that_the_edge_is_not_there() {
    // Bound and never accepted from: gone by the time of the call.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut sender = Sender::new(&config(address, Token::None)).unwrap();
    let dispatch = Dispatch::new(Outbox::new(1 << 20, 1));
    let readiness = Readiness::new();
    dispatch.push(vec![request()]);
    let Next::Send(request) = dispatch.next(now()) else { panic!() };
    let answer = sender.export(request).await;
    assert_eq!(verdict(answer.as_ref().unwrap_err()), Verdict::Later);
    settle(&mut sender, &dispatch, &readiness, answer);
    assert!(!readiness.is_ready());
    assert_eq!(dispatch.report()["rows"]["logs"]["queued"], 3);
}

/// A token file that is not there, or is no token, is an error at start with key, path and remedy.
#[tokio::test]
async fn refuses_a_wrong_token_at_start() {
    let address = "127.0.0.1:1".parse().unwrap();
    let said = |token| Sender::new(&config(address, token)).unwrap_err().to_string();
    let missing = said(Token::File("/nonexistent/token".into()));
    assert!(missing.starts_with("edge.token_file: /nonexistent/token: ") && missing.contains("check the path"), "{missing}");
    assert!(said(Token::Inline("two words".to_owned())).contains("expected visible ASCII"));
    assert!(said(Token::Inline(String::new())).contains("not a bearer token"));
}
