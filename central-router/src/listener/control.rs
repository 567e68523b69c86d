//! A control stream as it comes: whole messages, each in its time.

use std::time::Instant;

use federation_proto::control::EdgeMessage;
use federation_proto::frame::{CloseCode, ControlDecoder, FrameError};

use crate::intake::Timeouts;
use crate::session::Violation;

/// See the module.
pub(super) struct ControlIn {
    decoder: ControlDecoder<EdgeMessage>,
    timeouts: Timeouts,
    welcomed: bool,
    /// For Hello; after it, for the end of a frame that has begun.
    due: Option<Instant>,
}

impl ControlIn {
    pub(super) fn new(now: Instant, timeouts: Timeouts) -> Self {
        Self { decoder: ControlDecoder::default(), timeouts, welcomed: false, due: Some(now + timeouts.hello) }
    }

    /// When [`ControlIn::late`] is true.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Bytes of it. `hear` takes the messages and says which was Hello.
    pub(super) fn push(
        &mut self,
        now: Instant,
        bytes: &[u8],
        mut hear: impl FnMut(EdgeMessage) -> Result<bool, Violation>,
    ) -> Result<(), Violation> {
        self.decoder.push(bytes);
        let mut whole = false;
        loop {
            match self.decoder.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => (self.welcomed, whole) = (self.welcomed | hear(message)?, true),
                Err(error @ FrameError::Length(_)) => {
                    return Err(Violation::new(CloseCode::TooLarge, "control_frame_length", error.to_string()));
                }
                Err(error) => return Err(Violation::new(CloseCode::Malformed, "control_frame", error.to_string())),
            }
        }
        if self.welcomed {
            self.due = match self.due {
                _ if !self.decoder.is_within() => None,
                Some(due) if !whole => Some(due),
                Some(_) | None => Some(now + self.timeouts.header),
            };
        }
        Ok(())
    }

    /// [`ControlIn::due`] has passed.
    pub(super) fn late(&self) -> Violation {
        if self.welcomed {
            Violation::new(CloseCode::Timeout, "control_stalled", "a control frame did not come in time")
        } else {
            Violation::new(CloseCode::Timeout, "no_hello", "no Hello in time")
        }
    }
}
