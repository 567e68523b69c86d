//! An edge written by hand from the protocol's description: it says what a test has it say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use central_router::pki::Identity;
use federation_proto::codec::ENCODING;
use federation_proto::control::{EdgeMessage, Hello, Nack, RouterMessage, SpoolFloor, Welcome, router_message};
use federation_proto::frame::{ALPN, CloseCode, ControlDecoder, PROTOCOL, encode_control};
use federation_proto::header::BatchHeader;
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, WriteError};
use service::tls::TlsFiles;

use crate::site::PATIENCE;
use crate::testing::{batch_id, encoded};

pub(crate) fn spool_of(name: &str) -> u8 {
    name.as_bytes()[0]
}

pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        edge: name.to_owned(),
        encodings: vec![u32::from(ENCODING)],
        spools: vec![SpoolFloor { spool: vec![spool_of(name); 16], floor: 0 }],
        ..Hello::default()
    }
}

/// A batch of two log records of edge `name`, whose bodies name it.
pub(crate) fn batch(name: &str, seq: u64, tenant: &str) -> (BatchHeader, Vec<u8>) {
    let record = |n: u32| {
        let body = any_value::Value::StringValue(format!("{name} {seq} {n}"));
        LogRecord { time_unix_nano: 1_795_359_600_000_000_000, body: Some(AnyValue { value: Some(body) }), ..LogRecord::default() }
    };
    let scope = ScopeLogs { log_records: vec![record(0), record(1)], ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    encoded(batch_id(spool_of(name), seq), tenant, Signal::Logs, &request.encode_to_vec())
}

pub(crate) fn bodies(name: &str, seqs: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    seqs.into_iter().flat_map(|seq| (0..2).map(move |n| (seq, n))).map(|(seq, n)| (format!("{name} {seq} {n}"), 1)).collect()
}

/// An edge written by hand.
pub(crate) struct Client {
    _endpoint: Endpoint,
    pub(crate) quic: Connection,
    pub(crate) send: SendStream,
    receive: RecvStream,
    decoder: ControlDecoder<RouterMessage>,
    pub(crate) welcome: Welcome,
}

impl Client {
    pub(crate) async fn dial(router: SocketAddr, identity: &Identity) -> Result<Self, ConnectionError> {
        Self::dial_as(router, "localhost", identity).await
    }

    /// Expects the router to be `server_name`.
    pub(crate) async fn dial_as(router: SocketAddr, server_name: &str, identity: &Identity) -> Result<Self, ConnectionError> {
        service::tls::install_provider();
        let files = TlsFiles { ca: identity.ca.clone(), cert: identity.cert.clone(), key: identity.key.clone() };
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(files.client_config(&[ALPN]).unwrap()).unwrap();
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
        let quic = endpoint.connect(router, server_name).unwrap().await?;
        let (send, receive) = quic.open_bi().await?;
        Ok(Self { _endpoint: endpoint, quic, send, receive, decoder: ControlDecoder::default(), welcome: Welcome::default() })
    }

    pub(crate) async fn say(&mut self, message: impl Into<EdgeMessage>) {
        self.send.write_all(&encode_control(&message.into()).unwrap()).await.unwrap();
    }

    /// The next message; `None` when the connection or the stream is at its end.
    pub(crate) async fn hear(&mut self) -> Option<router_message::Kind> {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message.kind.expect("a kind that is known"));
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.receive.read_chunk(usize::MAX, true)).await.expect("the router answers").ok()??;
            self.decoder.push(&chunk.bytes);
        }
    }

    /// Ships a batch of its own and has it acked.
    pub(crate) async fn goes_on(&mut self, name: &str, seq: u64) {
        let (header, payload) = batch(name, seq, "acme");
        self.ship(&header, &payload).await;
        self.acks([seq]).await;
    }

    pub(crate) async fn nack(&mut self) -> Nack {
        match self.hear().await {
            Some(router_message::Kind::Nack(nack)) => nack,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until all these are acked; anything but acks is a fault.
    pub(crate) async fn acks(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let mut missing: std::collections::BTreeSet<u64> = seqs.into_iter().collect();
        while !missing.is_empty() {
            match self.hear().await {
                Some(router_message::Kind::Ack(ack)) => {
                    let seqs = ack.ranges.iter().flat_map(|range| range.first..=range.last);
                    seqs.for_each(|seq| assert!(missing.remove(&seq), "{seq} was not asked for"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a batch; the router may stop the stream on its header.
    pub(crate) async fn ship(&mut self, header: &BatchHeader, payload: &[u8]) {
        let mut stream = self.quic.open_uni().await.unwrap();
        match stream.write_all(&[&header.encode(), payload].concat()).await {
            Ok(()) => stream.finish().unwrap_or_default(),
            Err(error) => assert!(matches!(error, WriteError::Stopped(_)), "{error}"),
        }
    }

    /// The code that the router closes with.
    pub(crate) async fn closed(&self) -> CloseCode {
        close_code(&self.end().await)
    }

    /// How the connection ends.
    pub(crate) async fn end(&self) -> ConnectionError {
        tokio::time::timeout(PATIENCE, self.quic.closed()).await.expect("the router closes")
    }
}

pub(crate) fn close_code(error: &ConnectionError) -> CloseCode {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()).unwrap(),
        other => panic!("{other:?}"),
    }
}
