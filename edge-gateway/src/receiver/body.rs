//! Reading request bodies: memory is claimed before it is used, and nothing grows beyond what was claimed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use federation_proto::identity::Signal;
use federation_proto::otlp::json::{self, JsonFault};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::compression::{Compression, Inflate};
use crate::ingest::{Body, Claim, Memory, Refusal};

/// So much of a refused body is read and forgotten, in bytes, so that its sender gets to reading why.
const DISCARD_BYTES: usize = 64 << 20;
/// A body of unknown length is read in claims of at least this, in bytes.
const STEP_BYTES: usize = 64 * 1024;
/// Length of a gRPC message's prefix: a flag and the length.
const GRPC_PREFIX: usize = 5;

/// A body as it came, with its claim on memory.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    claim: Claim,
}

/// Reads a whole body of at most `limit` bytes, which must have arrived within `time`.
pub(super) async fn read(body: &mut Incoming, limit: usize, memory: &Memory, time: Duration) -> Result<Packed, Refusal> {
    timely(time, Reading::new(body, limit, memory).all()).await
}

/// Reads one gRPC message, and says whether its sender compressed it.
pub(super) async fn read_grpc(body: &mut Incoming, limit: usize, memory: &Memory, time: Duration) -> Result<(bool, Packed), Refusal> {
    timely(time, Reading::new(body, limit + GRPC_PREFIX, memory).grpc_message(limit)).await
}

async fn timely<T>(time: Duration, reading: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    tokio::time::timeout(time, reading).await.unwrap_or(Err(Refusal::Unavailable("the request did not arrive in time")))
}

/// Reads the rest of a body that is refused, for at most `time`. An HTTP/1.1 sender mostly reads no answer before it has sent all, and
/// a connection closed before that is reset: it would never learn that it must not send this again.
pub(super) async fn discard(body: &mut Incoming, time: Duration) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(len) else { return };
            left = rest;
        }
    };
    // Too slow is as good as too much.
    let _ = tokio::time::timeout(time, reading).await;
}

struct Reading<'a> {
    body: &'a mut Incoming,
    limit: usize,
    memory: &'a Memory,
    buffer: BytesMut,
    claim: Option<Claim>,
}

impl<'a> Reading<'a> {
    fn new(body: &'a mut Incoming, limit: usize, memory: &'a Memory) -> Self {
        Self { body, limit, memory, buffer: BytesMut::new(), claim: None }
    }

    fn too_large(&self) -> Refusal {
        Refusal::TooLarge(self.limit)
    }

    /// Makes room for `len` bytes in all.
    async fn make_room(&mut self, len: usize) -> Result<(), Refusal> {
        if len > self.limit {
            return Err(self.too_large());
        }
        let claimed = self.claim.as_ref().map_or(0, Claim::bytes);
        if len > claimed || self.claim.is_none() {
            let wanted = len.max(claimed * 2).max(STEP_BYTES).min(self.limit.max(len));
            let more = self.memory.claim(wanted - claimed).await?;
            match &mut self.claim {
                Some(claim) => claim.join(more),
                none => *none = Some(more),
            }
        }
        // What was read may be more than a lying prefix says.
        self.buffer.reserve(len.saturating_sub(self.buffer.len()));
        Ok(())
    }

    /// Adds the next piece; false at the end.
    async fn more(&mut self) -> Result<bool, Refusal> {
        loop {
            let frame = match self.body.frame().await {
                None => return Ok(false),
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Err(Refusal::Malformed("the request was cut off".to_owned())),
            };
            let Ok(data) = frame.into_data() else { continue };
            self.make_room(self.buffer.len() + data.len()).await?;
            self.buffer.extend_from_slice(&data);
            return Ok(true);
        }
    }

    async fn all(mut self) -> Result<Packed, Refusal> {
        // A declared length is claimed at once, so that a sender is refused before it has sent.
        let declared = hyper::body::Body::size_hint(self.body).exact().unwrap_or(0);
        self.make_room(usize::try_from(declared).unwrap_or(usize::MAX)).await?;
        while self.more().await? {}
        self.finish()
    }

    async fn grpc_message(mut self, limit: usize) -> Result<(bool, Packed), Refusal> {
        let malformed = |what: &str| Refusal::Malformed(format!("gRPC: {what}"));
        while self.buffer.len() < GRPC_PREFIX {
            if !self.more().await? {
                return Err(malformed("no message in the request"));
            }
        }
        let compressed = match self.buffer[0] {
            0 => false,
            1 => true,
            _ => return Err(malformed("the message's flag is neither 0 nor 1")),
        };
        let len = self.buffer[1..GRPC_PREFIX].iter().fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        if len > limit {
            return Err(Refusal::TooLarge(limit));
        }
        self.make_room(GRPC_PREFIX + len).await?;
        while self.more().await? {}
        if self.buffer.len() != GRPC_PREFIX + len {
            return Err(malformed("the request is not one whole message"));
        }
        let _ = self.buffer.split_to(GRPC_PREFIX);
        Ok((compressed, self.finish()?))
    }

    fn finish(self) -> Result<Packed, Refusal> {
        let claim = self.claim.ok_or_else(|| Refusal::Malformed("no body".to_owned()))?;
        let len = self.buffer.len();
        // A buffer that grew far beyond its body would hold memory that nobody counts.
        let bytes = if self.buffer.capacity() > 2 * len { Bytes::copy_from_slice(&self.buffer) } else { self.buffer.freeze() };
        Ok(Packed { bytes, claim })
    }
}

/// Opens a body. What it claims to become is claimed first; if it turns out longer, the most that a request may have is.
pub(super) async fn open(packed: Packed, form: Compression, limit: usize, memory: &Memory) -> Result<Body, Refusal> {
    let Packed { bytes, mut claim } = packed;
    if form == Compression::Plain {
        return Ok(Body { open: claim.hold(bytes), packed: None });
    }
    let too_large = || Refusal::TooLarge(limit);
    let first = form.claimed_len(&bytes).clamp(bytes.len(), limit.max(bytes.len()));
    claim.join(memory.claim(first).await?);
    let open = match form.inflate(&bytes, first.min(limit)) {
        Err(Inflate::TooLarge(_)) if first < limit => {
            claim.join(memory.claim(limit - first).await?);
            form.inflate(&bytes, limit)
        }
        other => other,
    };
    let open = open.map_err(|error| match error {
        Inflate::TooLarge(_) => too_large(),
        Inflate::Malformed => Refusal::Malformed(format!("the body {error}")),
    })?;
    // The packed form is gone once it is on disk; until then it counts as part of the open one, which is longer.
    Ok(Body { open: claim.hold(Bytes::from(open)), packed: Some((form, bytes)) })
}

/// The protobuf form of a JSON body. Room for the most that it may become is claimed first.
pub(super) async fn to_protobuf(signal: Signal, text: &Bytes, limit: usize, memory: &Memory) -> Result<Body, Refusal> {
    /// What a JSON body may grow by: a list of one-digit doubles.
    const GROWTH: usize = 4;
    let claim = memory.claim(text.len().saturating_mul(GROWTH).min(limit)).await?;
    let protobuf = json::to_protobuf(signal, text, limit).map_err(|error| match error.fault {
        JsonFault::TooLarge(_) => Refusal::TooLarge(limit),
        _ => Refusal::Malformed(format!("malformed OTLP/JSON: {error}")),
    })?;
    Ok(Body { open: claim.hold(Bytes::from(protobuf)), packed: None })
}
