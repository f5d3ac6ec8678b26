//! Credit that a sink granted in one lane, in bytes and in messages (law 6).

use crate::model::session::Credit;

/// What of the credit in one lane is in use.
#[derive(Debug)]
pub struct LaneCredit {
    granted: Credit,
    bytes: u64,
    messages: u32,
}

impl LaneCredit {
    /// Nothing in use yet.
    #[must_use]
    pub fn new(granted: Credit) -> LaneCredit {
        LaneCredit { granted, bytes: 0, messages: 0 }
    }

    /// Whether a message of so many bytes may be sent now. One message may always be.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.messages == 0
            || (self.messages < self.granted.messages && self.bytes + bytes <= self.granted.bytes)
    }

    /// Uses credit for a message.
    pub fn spend(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.messages += 1;
    }

    /// Gives back the credit of a message that was answered, whatever the answer.
    pub fn refund(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.messages = self.messages.saturating_sub(1);
    }

    /// Bytes that are not answered yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Messages that are not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> u32 {
        self.messages
    }
}
