//! The TCP port: what an edge without UDP can rely on, and what nobody can do to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use central_router::listener::MAX_HANDSHAKES_PER_ADDRESS;
use central_router::pki;
use federation_proto::chunk::{self, Chunk, ChunkDecoder, Kind};
use federation_proto::control::{EdgeMessage, NackReason, RouterMessage, router_message};
use federation_proto::frame::{ALPN, CloseCode, ControlDecoder, encode_control};
use rustls::pki_types::ServerName;
use service::tls::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{batch, bodies, hello};
use crate::site::{PATIENCE, Site, Up, edge};

/// An edge over TCP, written by hand.
struct Client {
    stream: TlsStream<TcpStream>,
    decoder: ChunkDecoder,
    control: ControlDecoder<RouterMessage>,
    /// Words about streams that came: kind and stream.
    words: Vec<(Kind, u64)>,
}

/// What came next on the control stream.
enum Next {
    Said(router_message::Kind),
    Closed(CloseCode),
}

async fn connect(site: &Site, at: SocketAddr, name: &str, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    service::tls::install_provider();
    let identity = pki::edge_identity(site.path(), &edge(name));
    let files = TlsFiles { ca: identity.ca, cert: identity.cert, key: identity.key };
    let tls = TlsConnector::from(files.client_config(alpn).unwrap());
    tls.connect(ServerName::try_from("localhost").unwrap(), TcpStream::connect(at).await?).await
}

impl Client {
    async fn dial(site: &Site, up: &Up, name: &str) -> Self {
        let stream = connect(site, up.ready.listen, name, &[chunk::ALPN]).await.unwrap();
        Self { stream, decoder: ChunkDecoder::default(), control: ControlDecoder::default(), words: Vec::new() }
    }

    async fn welcomed(site: &Site, up: &Up, name: &str) -> Self {
        let mut client = Self::dial(site, up, name).await;
        client.say(hello(name)).await;
        let Next::Said(router_message::Kind::Welcome(_)) = client.next().await else { panic!("no Welcome") };
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The router may have closed before all is sent.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    async fn say(&mut self, message: impl Into<EdgeMessage>) {
        let mut wire = Vec::new();
        chunk::put(&mut wire, Kind::Control, 0, &encode_control(&message.into()).unwrap());
        self.send(&wire).await;
    }

    async fn chunk(&mut self) -> Chunk {
        loop {
            if let Some(chunk) = self.decoder.next_chunk().unwrap() {
                return chunk;
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(self.decoder.room(4096))).await.expect("the router answers");
            assert!(read.unwrap() > 0, "the router says why before it closes");
        }
    }

    async fn next(&mut self) -> Next {
        loop {
            if let Some(message) = self.control.next_message().unwrap() {
                return Next::Said(message.kind.unwrap());
            }
            let chunk = self.chunk().await;
            match chunk.kind {
                Kind::Control => self.control.push(&chunk.content),
                Kind::Close => return Next::Closed(chunk::close_of(&chunk.content).0.unwrap()),
                word => self.words.push((word, chunk.stream)),
            }
        }
    }

    async fn closed(&mut self) -> CloseCode {
        loop {
            if let Next::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Batches of its own, their pieces interleaved, until all are acked.
    async fn ships(&mut self, name: &str, seqs: std::ops::Range<u64>) {
        let wires: Vec<Vec<u8>> =
            seqs.clone().map(|seq| batch(name, seq, "acme")).map(|(header, payload)| [header.encode(), payload].concat()).collect();
        let most = wires.iter().map(Vec::len).max().unwrap();
        for at in (0..most).step_by(50) {
            for (seq, wire) in seqs.clone().zip(&wires).filter(|(_, wire)| at < wire.len()) {
                let end = wire.len().min(at + 50);
                let mut out = Vec::new();
                chunk::put(&mut out, if end == wire.len() { Kind::Last } else { Kind::Data }, seq, &wire[at..end]);
                self.send(&out).await;
            }
        }
        let mut missing: BTreeSet<u64> = seqs.collect();
        while !missing.is_empty() {
            match self.next().await {
                Next::Said(router_message::Kind::Ack(ack)) => {
                    ack.ranges.iter().flat_map(|range| range.first..=range.last).for_each(|seq| assert!(missing.remove(&seq), "{seq}"));
                }
                Next::Said(other) => panic!("{other:?}"),
                Next::Closed(code) => panic!("{code:?}"),
            }
        }
    }
}

/// Batches whose chunks are interleaved are acked, delivered once, and each stream's end is confirmed; the router says what they come over.
#[tokio::test(flavor = "multi_thread")]
async fn batches_come_over_tcp() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = Client::welcomed(&site, &up, "us").await;
    client.ships("us", 0..5).await;
    let mut ping = Vec::new();
    chunk::put_word(&mut ping, Kind::Ping, 0);
    client.send(&ping).await;
    while client.words.last() != Some(&(Kind::Pong, 0)) {
        let chunk = client.chunk().await;
        client.words.push((chunk.kind, chunk.stream));
    }
    let got: BTreeSet<u64> = client.words.iter().filter(|(kind, _)| *kind == Kind::Got).map(|(_, stream)| *stream).collect();
    assert_eq!(got, (0..5).collect());
    assert_eq!(up.ledger().await["edges"][0]["transport"], "tcp");
    up.stop().await;
    assert_eq!(site.bodies(), bodies("us", 0..5));
}

/// A batch that is refused on its header is stopped, what still comes of it is dropped, and the connection goes on; one that is taken
/// back in the middle can be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn streams_end_one_by_one() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = Client::welcomed(&site, &up, "eu").await;
    let (foreign, payload) = batch("eu", 7, "beta");
    let mut wire = Vec::new();
    chunk::put(&mut wire, Kind::Data, 7, &foreign.encode());
    chunk::put(&mut wire, Kind::Data, 7, &payload);
    chunk::put_word(&mut wire, Kind::Reset, 7);
    let (header, payload) = batch("eu", 0, "acme");
    chunk::put(&mut wire, Kind::Data, 8, &[&header.encode()[..], &payload[..10]].concat());
    chunk::put_word(&mut wire, Kind::Reset, 8);
    client.send(&wire).await;
    let Next::Said(router_message::Kind::Nack(nack)) = client.next().await else { panic!("a tenant of another edge") };
    assert_eq!((nack.seq, nack.reason), (7, NackReason::TenantNotAllowed as i32));
    client.ships("eu", 0..1).await;
    assert_eq!(client.words.first(), Some(&(Kind::Stop, 7)));
    up.stop().await;
    assert_eq!(site.bodies(), bodies("eu", [0]));
}

/// Each broken rule ends the connection that broke it with the code that says which, counted; another edge's goes on.
#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_has_its_code() {
    let site = Site::new("timeouts: {hello: 1s, header: 1s, payload: 1s}\n");
    let up = site.start().await;
    let mut honest = Client::welcomed(&site, &up, "us").await;
    let (header, payload) = batch("eu", 0, "acme");
    let of = |kind, stream, content: &[u8]| {
        let mut wire = Vec::new();
        chunk::put(&mut wire, kind, stream, content);
        wire
    };
    let whole = [header.encode(), payload.clone(), vec![0]].concat();
    let many: Vec<u8> = (0..300).flat_map(|stream| of(Kind::Data, stream, b"TBH1")).collect();
    let cases = [
        ("a kind that is none", vec![77; 12], CloseCode::Malformed, "chunk"),
        ("a length that lies", vec![1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], CloseCode::Malformed, "chunk"),
        ("a chunk cut short", of(Kind::Data, 1, &[0; 500])[..200].to_vec(), CloseCode::Timeout, "chunk_stalled"),
        ("a router's word", of(Kind::Stop, 1, b"x"), CloseCode::Malformed, "chunk"),
        ("no header", of(Kind::Data, 1, &[9; 100]), CloseCode::Malformed, "header"),
        ("half a header", of(Kind::Data, 1, &header.encode()[..20]), CloseCode::Timeout, "header"),
        ("a payload too long", of(Kind::Last, 1, &whole), CloseCode::Malformed, "payload_len"),
        ("a payload too short", of(Kind::Last, 1, &whole[..whole.len() - 2]), CloseCode::Malformed, "payload_len"),
        ("too many streams", many, CloseCode::TooLarge, "streams"),
        ("noise in control", of(Kind::Control, 0, &[0xff; 40]), CloseCode::TooLarge, "control_frame_length"),
    ];
    for (seq, (name, wire, code, reason)) in cases.into_iter().enumerate() {
        let mut client = Client::welcomed(&site, &up, "eu").await;
        client.send(&wire).await;
        assert_eq!(client.closed().await, code, "{name}");
        up.violated(code.as_str(), reason).await;
        honest.ships("us", seq as u64..seq as u64 + 1).await;
    }
    let mut silent = Client::dial(&site, &up, "eu").await;
    assert_eq!(silent.closed().await, CloseCode::Timeout, "no Hello");
    up.stop().await;
}

/// Who is no edge does not get in: garbage, silence, another protocol. Each is counted, and keeps nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_edge_does_not_get_in() {
    let site = Site::new("timeouts: {hello: 1s}\n");
    let up = site.start().await;
    let mut garbage = TcpStream::connect(up.ready.listen).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _half_open = TcpStream::connect(up.ready.listen).await.unwrap();
    assert!(connect(&site, up.ready.listen, "eu", &[ALPN]).await.is_err(), "QUIC's protocol is not this one");
    let nameless = connect(&site, up.ready.listen, "eu", &[]).await;
    for reason in ["handshake", "handshake_timeout", "alpn"] {
        up.counted("tributary_router_refused_connections_total", &[&format!("reason=\"{reason}\"")]).await;
    }
    drop(nameless);
    Client::welcomed(&site, &up, "us").await.ships("us", 0..1).await;
    up.stop().await;
}

/// Connections over TCP that say nothing take no place from QUIC: not even that of their own address.
#[tokio::test(flavor = "multi_thread")]
async fn mute_connections_keep_no_quic_out() {
    let site = Site::new("");
    let up = site.start().await;
    let mut mute = Vec::new();
    for _ in 0..=MAX_HANDSHAKES_PER_ADDRESS {
        mute.push(TcpStream::connect(up.ready.listen).await.unwrap());
    }
    // They are taken one after the other: all places are held when the last is sent away.
    let refused = tokio::time::timeout(PATIENCE, mute.last_mut().unwrap().read(&mut [0])).await.expect("one is too many");
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    site.connect(&up, "us").await.goes_on("us", 0).await;
    drop(mute);
    up.stop().await;
}

/// Revocation reaches a connection over TCP too, and an edge that comes back over QUIC takes over from its own over TCP.
#[tokio::test(flavor = "multi_thread")]
async fn live_connections_are_judged_again() {
    let site = Site::new("");
    let up = site.start().await;
    let mut before = Client::welcomed(&site, &up, "us").await;
    let mut after = site.connect(&up, "us").await;
    assert_eq!(before.closed().await, CloseCode::Busy);
    after.goes_on("us", 0).await;
    let mut revoked = Client::welcomed(&site, &up, "eu").await;
    std::fs::write(site.path().join("edges.yaml"), "edges: {us: {tenants: [acme]}}").unwrap();
    assert_eq!(revoked.closed().await, CloseCode::UnknownEdge);
    up.stop().await;
}

/// `listen_tcp: false` takes no TCP.
#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_off() {
    let site = Site::new("listen_tcp: false\n");
    let up = site.start().await;
    assert!(TcpStream::connect(up.ready.listen).await.is_err());
    site.connect(&up, "us").await.goes_on("us", 0).await;
    up.stop().await;
}
