//! What runs beside a connection: one task reads, one writes, and one for each chunk waits until it is written.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use federation_proto::chunk::{self, ChunkDecoder, HEAD_LEN, Kind, MAX_CONTENT_LEN};
use federation_proto::control::RouterMessage;
use federation_proto::frame::{CloseCode, ControlDecoder};
use parking_lot::Mutex;
use segment_log::ReadError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::Tls;
use crate::clock;
use crate::link::Shared;
use crate::link::line::Urgent;
use crate::link::talk::End;
use crate::shipper::Chunk;

/// A batch whose stream is open: what is not written yet.
pub(super) struct Outgoing {
    header: Bytes,
    payload: Bytes,
}

/// A chunk for the writer.
pub(super) struct Piece {
    head: [u8; HEAD_LEN],
    header: Bytes,
    payload: Bytes,
    written: oneshot::Sender<()>,
}

/// What a task has done.
pub(super) enum Done {
    Written(Outgoing),
    Unreadable(ReadError),
    /// The connection is gone.
    Gone,
}

/// What was read.
pub(super) enum Read {
    Message(RouterMessage),
    /// The router has all of that stream, or wants no more of it.
    Over(u64),
    Ended(End),
}

/// Reads to the end of the connection, or to what is no chunk.
pub(super) async fn listen(mut reader: ReadHalf<Tls>, tell: mpsc::Sender<Read>, heard: Arc<Mutex<Instant>>) {
    let (mut decoder, mut control) = (ChunkDecoder::default(), ControlDecoder::<RouterMessage>::default());
    let malformed = |error: String| Read::Ended(End::new(CloseCode::Malformed, error));
    loop {
        let why = match reader.read_buf(decoder.room(HEAD_LEN + MAX_CONTENT_LEN)).await {
            Ok(0) => "the router closed the connection".to_owned(),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        if !why.is_empty() {
            let _ = tell.send(Read::Ended(End::new(CloseCode::Drain, why))).await;
            return;
        }
        *heard.lock() = clock::now();
        loop {
            let read = match decoder.next_chunk() {
                Ok(None) => break,
                Err(error) => malformed(error.to_string()),
                Ok(Some(chunk)) => match chunk.kind {
                    Kind::Control => {
                        control.push(&chunk.content);
                        if !say_on(&mut control, &tell).await {
                            return;
                        }
                        continue;
                    }
                    Kind::Stop | Kind::Got => Read::Over(chunk.stream),
                    Kind::Close => {
                        let (code, reason) = chunk::close_of(&chunk.content);
                        let code = code.map_or("an unknown code", CloseCode::as_str);
                        Read::Ended(End::new(CloseCode::Drain, format!("closed by the router: {code}: {reason}")))
                    }
                    Kind::Pong => continue,
                    Kind::Data | Kind::Last | Kind::Reset | Kind::Ping => {
                        malformed("a chunk of a kind that routers do not send".to_owned())
                    }
                },
            };
            let last = matches!(read, Read::Ended(_));
            if tell.send(read).await.is_err() || last {
                return;
            }
        }
    }
}

/// Passes whole messages on; false when that was the last.
async fn say_on(control: &mut ControlDecoder<RouterMessage>, tell: &mpsc::Sender<Read>) -> bool {
    loop {
        let read = match control.next_message() {
            Ok(None) => return true,
            Ok(Some(message)) => Read::Message(message),
            Err(error) => Read::Ended(End::new(CloseCode::Malformed, error.to_string())),
        };
        let last = matches!(read, Read::Ended(_));
        if tell.send(read).await.is_err() || last {
            return false;
        }
    }
}

/// Writes until the last word, or until the connection fails, which the reader notices too.
pub(super) async fn write(mut writer: WriteHalf<Tls>, urgent: Arc<Urgent>, mut data: mpsc::Receiver<Piece>) {
    loop {
        let (bytes, last) = {
            let mut waiting = urgent.bytes.lock();
            (std::mem::take(&mut waiting.0), waiting.1)
        };
        if !bytes.is_empty() {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            continue;
        }
        if last {
            let _ = writer.shutdown().await;
            return;
        }
        tokio::select! {
            biased;
            () = urgent.more.notified() => {}
            piece = data.recv() => match piece {
                Some(piece) => {
                    if put(&mut writer, piece).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
        }
    }
}

async fn put(writer: &mut WriteHalf<Tls>, piece: Piece) -> io::Result<()> {
    writer.write_all(&piece.head).await?;
    writer.write_all(&piece.header).await?;
    writer.write_all(&piece.payload).await?;
    writer.flush().await?;
    let _ = piece.written.send(());
    Ok(())
}

/// Hands one chunk to the writer and waits until it is written.
pub(super) async fn give(shared: Arc<Shared>, data: mpsc::Sender<Piece>, chunk: Chunk, outgoing: Option<Outgoing>) -> Done {
    let mut outgoing = match outgoing {
        Some(outgoing) => outgoing,
        None => match tokio::task::spawn_blocking(move || shared.read(chunk.seq)).await {
            Ok(Ok((header, payload))) => Outgoing { header: Bytes::from(header), payload },
            Ok(Err(error)) => return Done::Unreadable(error),
            Err(_) => return Done::Gone,
        },
    };
    let len = usize::try_from(chunk.len).unwrap_or(usize::MAX);
    let header = outgoing.header.split_to(len.min(outgoing.header.remaining()));
    let payload = outgoing.payload.split_to((len - header.len()).min(outgoing.payload.remaining()));
    let kind = if chunk.last { Kind::Last } else { Kind::Data };
    let (written, told) = oneshot::channel();
    let head = chunk::head(kind, chunk.attempt, header.len() + payload.len());
    if data.send(Piece { head, header, payload, written }).await.is_err() || told.await.is_err() {
        return Done::Gone;
    }
    Done::Written(outgoing)
}
