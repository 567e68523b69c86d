//! What a conversation goes over.

use std::time::Duration;

use federation_proto::control::RouterMessage;

use super::talk::{End, Outcome};
use crate::shipper::Chunk;

/// A router that does not take a word from us within this is stuck.
pub(super) const SAY_TIMEOUT: Duration = Duration::from_secs(10);

/// What happens on a transport.
#[derive(Debug)]
pub(super) enum Event {
    /// The router said something.
    Heard(RouterMessage),
    /// A chunk that was to be written.
    Done(Chunk, Outcome),
    /// The connection is lost or of no use; nothing more will happen.
    Ended(End),
}
