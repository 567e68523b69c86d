//! One batch stream of QUIC, read into an [`Incoming`].

use std::sync::Arc;

use federation_proto::frame::CloseCode;
use quinn::{ReadError, RecvStream, VarInt};

use super::connection::{Link, clock};
use crate::intake::{Incoming, Payload};
use crate::session::Violation;

/// Code of the STOP_SENDING that spares a payload: the control stream says why.
const ANSWERED: VarInt = VarInt::from_u32(0);

/// Takes one batch. An error ends the connection.
pub(super) async fn receive(link: Arc<Link>, mut stream: RecvStream) -> Result<(), Violation> {
    let mut incoming = Incoming::new(clock(), link.shared().timeouts);
    let mut accepted = None;
    let payload = loop {
        match tokio::time::timeout_at(incoming.due().into(), stream.read_chunk(usize::MAX, true)).await {
            Ok(Ok(Some(chunk))) => {
                let mut bytes = chunk.bytes;
                if let Some(header) = incoming.push(clock(), &mut bytes)? {
                    if !link.judge(&header)? {
                        let _ = stream.stop(ANSWERED);
                        return Ok(());
                    }
                    accepted = Some(header);
                    incoming.push(clock(), &mut bytes)?;
                }
            }
            Ok(Ok(None)) => break incoming.end()?,
            Ok(Err(ReadError::Reset(_) | ReadError::ConnectionLost(_))) => break Payload::GivenUp,
            Ok(Err(error)) => return Err(Violation::new(CloseCode::Malformed, "payload", error.to_string())),
            Err(_) => {
                let late = incoming.late()?;
                let _ = stream.stop(ANSWERED);
                break late;
            }
        }
    };
    match accepted {
        Some(header) => link.take_payload(header, payload),
        None => Ok(()),
    }
}
