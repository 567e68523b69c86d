//! What quinn and the disk can do with the same bytes and nothing of ours: files read from the disk, one stream, files written to the disk
//! with an fdatasync each. In one process, over loopback, with the certificates and socket buffers of the others.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use federation_proto::frame::ALPN;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use service::tls::TlsFiles;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::push::udp_socket;

/// As a router's receive window.
const WINDOW_BYTES: u32 = 20 << 20;
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the disk and the stream, at either end.
const CHUNKS: usize = 64;
/// A file is synced when it is as long; so is a segment.
const FILE_BYTES: u64 = 64 << 20;

/// Carries all files of `from` into `to`; gives bytes and bytes a second, from the first read to the last sync.
pub(super) async fn carry(from: &Path, to: &Path, router: &TlsFiles, edge: &TlsFiles) -> io::Result<(u64, f64)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    std::fs::create_dir_all(to)?;
    let (sender, receiver, _endpoints) = connect(router, edge).await?;
    let began = Instant::now();
    let sending = tokio::spawn(send(files, sender));
    let bytes = receive(receiver, to.to_owned()).await?;
    let took = began.elapsed();
    sending.await.map_err(io::Error::other)??;
    std::fs::remove_dir_all(to)?;
    Ok((bytes, bytes as f64 / took.as_secs_f64()))
}

/// Both ends of a connection; it lasts as long as the endpoints.
async fn connect(router: &TlsFiles, edge: &TlsFiles) -> io::Result<(quinn::Connection, quinn::Connection, [Endpoint; 2])> {
    let tls = router.server_config(&[ALPN]).map_err(io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(WINDOW_BYTES)).receive_window(VarInt::from_u32(WINDOW_BYTES));
    server.transport_config(Arc::new(transport));
    let tls = edge.client_config(&[ALPN]).map_err(io::Error::other)?;
    let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(io::Error::other)?));
    let bound = |server| {
        let socket = udp_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
    };
    let (near, far) = (bound(None)?, bound(Some(server))?);
    let connecting = near.connect_with(client, far.local_addr()?, "localhost").map_err(io::Error::other)?;
    let accepting = async { far.accept().await.ok_or(io::ErrorKind::NotConnected)?.await.map_err(io::Error::other) };
    let (sender, receiver) = tokio::try_join!(async { connecting.await.map_err(io::Error::other) }, accepting)?;
    Ok((sender, receiver, [near, far]))
}

async fn send(files: Vec<PathBuf>, connection: quinn::Connection) -> io::Result<()> {
    let (read, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
    let reading = tokio::task::spawn_blocking(move || {
        for path in files {
            let file = File::open(path)?;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                if (&file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
                    break;
                }
                if read.blocking_send(chunk.into()).is_err() {
                    return Ok(());
                }
            }
        }
        io::Result::Ok(())
    });
    let mut stream: SendStream = connection.open_uni().await.map_err(io::Error::other)?;
    while let Some(chunk) = chunks.recv().await {
        stream.write_chunk(chunk).await.map_err(io::Error::other)?;
    }
    stream.finish().map_err(io::Error::other)?;
    // The connection closes when its last handle is dropped: not before the other end has everything.
    stream.stopped().await.map_err(io::Error::other)?;
    reading.await.map_err(io::Error::other)?
}

async fn receive(connection: quinn::Connection, to: PathBuf) -> io::Result<u64> {
    let (write, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
    let writing = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut file) = (0, None);
        while let Some(chunk) = chunks.blocking_recv() {
            let current: &mut File = match &mut file {
                Some(file) => file,
                none => none.insert(File::create(to.join(bytes.to_string()))?),
            };
            current.write_all(&chunk)?;
            bytes += chunk.len() as u64;
            if current.metadata()?.len() >= FILE_BYTES {
                current.sync_data()?;
                file = None;
            }
        }
        file.map_or(Ok(()), |file| file.sync_data())?;
        io::Result::Ok(bytes)
    });
    let mut stream: RecvStream = connection.accept_uni().await.map_err(io::Error::other)?;
    while let Some(chunk) = stream.read_chunk(CHUNK_BYTES, true).await.map_err(io::Error::other)? {
        if write.send(chunk.bytes).await.is_err() {
            break;
        }
    }
    drop(write);
    writing.await.map_err(io::Error::other)?
}
