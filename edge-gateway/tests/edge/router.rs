//! A router for tests: takes batches, dedups them by id, and answers as a script says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::chunk::{self, Chunk, ChunkDecoder, Kind};
use federation_proto::codec::{DecodeLimits, Decoder, ENCODING};
use federation_proto::columns::{Columns, Value};
use federation_proto::control::{
    Ack, EdgeMessage, Hello, Nack, NackReason, RouterMessage, SeqRange, SpoolSeen, Status, Welcome, edge_message,
};
use federation_proto::frame::{ALPN, ControlDecoder, encode_control};
use federation_proto::header::{BatchHeader, HEADER_PREFIX, header_len};
use federation_proto::identity::{BatchId, Class};
use parking_lot::Mutex;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::support::Pki;

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ack,
    /// Keep it, and lose the ack with the connection.
    KeepAndCut,
    Nack(NackReason, Duration),
    /// As soon as its header is there; the rest is not read.
    NackOnHeader(NackReason, Duration),
}

/// Batch streams that an edge may have open.
const STREAMS: u32 = 4;

/// Decides, for the n-th batch that arrives.
pub(crate) type Script = Arc<dyn Fn(usize, &BatchHeader) -> Answer + Send + Sync>;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Log rows by id, over all batches that are new.
    pub(crate) rows: BTreeMap<u64, u32>,
    pub(crate) batches: BTreeSet<BatchId>,
    pub(crate) classes: Vec<Class>,
    pub(crate) arrivals: usize,
    /// Handshakes that failed.
    pub(crate) refused: usize,
    pub(crate) hellos: Vec<Hello>,
    /// The certificates of those that connected, DER.
    pub(crate) peers: Vec<Vec<u8>>,
    pub(crate) last_status: Option<Status>,
}

#[derive(Clone)]
pub(crate) struct Router {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// How far it says that it has seen any spool.
    spool_seen: u64,
    /// None over TCP.
    endpoint: Option<Endpoint>,
}

impl Router {
    pub(crate) fn start(pki: &Pki, script: Script) -> Self {
        Self::that_has_seen(0, pki, script)
    }

    /// A router that says it has seen all spools up to that number.
    pub(crate) fn that_has_seen(spool_seen: u64, pki: &Pki, script: Script) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), spool_seen, pki, script)
    }

    pub(crate) fn at(address: SocketAddr, spool_seen: u64, pki: &Pki, script: Script) -> Self {
        let tls = pki.router.server_config(&[ALPN]).unwrap();
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_uni_streams(STREAMS.into());
        server.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(server, address).unwrap();
        let router = Self { address: endpoint.local_addr().unwrap(), seen: Arc::default(), spool_seen, endpoint: Some(endpoint.clone()) };
        let serving = router.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else {
                    serving.seen.lock().refused += 1;
                    continue;
                };
                tokio::spawn(serving.clone().serve(connection, Arc::clone(&script)));
            }
        });
        router
    }

    pub(crate) fn acks_all(pki: &Pki) -> Self {
        Self::start(pki, Arc::new(|_, _| Answer::Ack))
    }

    /// Leaves as a killed one does: no word, no socket.
    pub(crate) fn cut(&self) {
        self.endpoint.as_ref().unwrap().close(7u8.into(), b"");
    }

    /// Is gone without a word: what it still says comes from another address, which no edge believes.
    pub(crate) fn vanish(&self) {
        self.endpoint.as_ref().unwrap().rebind(std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    }

    /// One that UDP does not reach, which acks all.
    pub(crate) async fn over_tcp(pki: &Pki) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let router = Self { address: listener.local_addr().unwrap(), seen: Arc::default(), spool_seen: 0, endpoint: None };
        let (serving, tls) = (router.clone(), TlsAcceptor::from(pki.router.server_config(&[chunk::ALPN]).unwrap()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serving.serve_tcp(stream).await;
                    }
                });
            }
        });
        router
    }

    async fn serve_tcp(self, mut stream: TlsStream<TcpStream>) {
        let (mut chunks, mut control) = (ChunkDecoder::default(), ControlDecoder::<EdgeMessage>::default());
        let mut streams: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        while let Ok(1..) = stream.read_buf(chunks.room(70_000)).await {
            let mut out = Vec::new();
            let say = |out: &mut Vec<u8>, message: RouterMessage| chunk::put(out, Kind::Control, 0, &encode_control(&message).unwrap());
            while let Some(Chunk { kind, stream: id, content }) = chunks.next_chunk().unwrap() {
                match kind {
                    Kind::Control => {
                        control.push(&content);
                        while let Some(message) = control.next_message().unwrap() {
                            if let Some(welcome) = self.hear(message) {
                                say(&mut out, welcome.into());
                            }
                        }
                    }
                    Kind::Ping => chunk::put_word(&mut out, Kind::Pong, 0),
                    Kind::Data | Kind::Last => {
                        streams.entry(id).or_default().extend_from_slice(&content);
                        if kind == Kind::Last {
                            let whole = streams.remove(&id).unwrap();
                            let (header, len) = BatchHeader::decode(&whole).unwrap();
                            assert!(header.matches(&whole[len..]), "a batch arrived damaged");
                            self.seen.lock().arrivals += 1;
                            self.keep(&header, &whole[len..]);
                            chunk::put_word(&mut out, Kind::Got, id);
                            say(&mut out, ack(header.id));
                        }
                    }
                    Kind::Close => return,
                    other => panic!("{other:?}"),
                }
            }
            if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }

    /// Gives the answer to Hello.
    fn hear(&self, message: EdgeMessage) -> Option<Welcome> {
        match message.kind {
            Some(edge_message::Kind::Hello(hello)) => {
                let spools = hello.spools.iter().map(|own| SpoolSeen { spool: own.spool.clone(), next: self.spool_seen }).collect();
                self.seen.lock().hellos.push(hello);
                Some(Welcome {
                    protocol: 1,
                    router: "one".to_owned(),
                    encodings: vec![u32::from(ENCODING)],
                    credit_bytes: 64 << 20,
                    max_batch_bytes: 16 << 20,
                    spools,
                    ..Welcome::default()
                })
            }
            Some(edge_message::Kind::Status(status)) => {
                self.seen.lock().last_status = Some(status);
                None
            }
            None => None,
        }
    }

    async fn serve(self, connection: Connection, script: Script) {
        let shown = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
        self.seen.lock().peers.push(shown[0].to_vec());
        let Ok((control, said)) = connection.accept_bi().await else { return };
        let (say, to_say) = mpsc::channel::<RouterMessage>(64);
        tokio::spawn(speak(control, to_say));
        tokio::spawn(self.clone().listen(said, say.clone()));
        while let Ok(stream) = connection.accept_uni().await {
            tokio::spawn(self.clone().batch(stream, connection.clone(), say.clone(), Arc::clone(&script)));
        }
    }

    async fn listen(self, mut said: RecvStream, say: mpsc::Sender<RouterMessage>) {
        let mut decoder = ControlDecoder::<EdgeMessage>::default();
        let mut buffer = vec![0; 4096];
        while let Ok(Some(len)) = said.read(&mut buffer).await {
            decoder.push(&buffer[..len]);
            while let Some(message) = decoder.next_message().unwrap() {
                if let Some(welcome) = self.hear(message) {
                    say.send(welcome.into()).await.unwrap();
                }
            }
        }
    }

    async fn batch(self, mut stream: RecvStream, connection: Connection, say: mpsc::Sender<RouterMessage>, script: Script) {
        let mut head = vec![0; HEADER_PREFIX];
        let Ok(()) = stream.read_exact(&mut head).await else { return };
        head.resize(header_len(&head).unwrap(), 0);
        let Ok(()) = stream.read_exact(&mut head[HEADER_PREFIX..]).await else { return };
        let (header, _) = BatchHeader::decode(&head).unwrap();
        let arrival = {
            let mut seen = self.seen.lock();
            seen.arrivals += 1;
            seen.arrivals
        };
        let BatchId { spool, seq } = header.id;
        let answer = script(arrival, &header);
        let payload = if let Answer::NackOnHeader(..) = answer {
            let _ = stream.stop(0u8.into());
            Vec::new()
        } else {
            let Ok(payload) = stream.read_to_end(32 << 20).await else { return };
            assert!(header.matches(&payload), "a batch arrived damaged");
            payload
        };
        if let Answer::Nack(reason, after) | Answer::NackOnHeader(reason, after) = answer {
            let (reason, retry_after_ms) = (reason as i32, after.as_millis() as u64);
            let nack = Nack { spool: spool.0.to_vec(), seq: seq.0, reason, retry_after_ms, message: "scripted".to_owned() };
            let _ = say.send(nack.into()).await;
            return;
        }
        self.keep(&header, &payload);
        if answer == Answer::KeepAndCut {
            connection.close(7u8.into(), b"cut");
            return;
        }
        let _ = say.send(ack(header.id)).await;
    }

    fn keep(&self, header: &BatchHeader, payload: &[u8]) {
        let mut seen = self.seen.lock();
        if !seen.batches.insert(header.id) {
            return;
        }
        seen.classes.push(header.class);
        let columns = Decoder::decode(header.signal, header.encoding, payload, &DecodeLimits::default()).unwrap();
        assert_eq!(columns.rows(), header.rows as usize);
        if let Columns::Logs(logs) = columns {
            for row in 0..logs.len() {
                let Some(Value::Int(id)) = logs.body(row) else { panic!("a row without its id") };
                *seen.rows.entry(id as u64).or_default() += 1;
            }
        }
    }
}

fn ack(id: BatchId) -> RouterMessage {
    let ranges = vec![SeqRange { first: id.seq.0, last: id.seq.0 }];
    Ack { spool: id.spool.0.to_vec(), ranges }.into()
}

async fn speak(mut control: SendStream, mut to_say: mpsc::Receiver<RouterMessage>) {
    while let Some(message) = to_say.recv().await {
        if control.write_all(&encode_control(&message).unwrap()).await.is_err() {
            return;
        }
    }
}
