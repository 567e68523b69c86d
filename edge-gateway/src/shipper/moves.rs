//! From state to state: each batch stands in the set of its state and in no other, and what is on its way is counted once.

use std::time::Instant;

use federation_proto::identity::Seq;

use super::{Entry, Shipper, State};

impl Shipper {
    pub(super) fn begin(&mut self, seq: Seq) {
        self.leave_state(seq);
        self.count_doubt(seq);
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.was_sent = true;
            self.in_flight_bytes += entry.item.wire_bytes;
            self.sending.insert((entry.item.class, seq));
        }
    }

    /// All of it is with the transport: the router's verdict is next. Its time begins when the transport has delivered it.
    pub(super) fn await_delivery(&mut self, seq: Seq, attempt: u64) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            self.sending.remove(&(entry.item.class, seq));
            entry.state = State::Sent { attempt, until: None };
            self.undelivered += 1;
        }
    }

    /// Held batches and tenants whose time has come, and sent ones whose verdict never came, are ready again.
    pub(super) fn release(&mut self, now: Instant) {
        self.tenants_held.retain(|_, until| *until > now);
        while let Some((at, seq)) = self.held.first().copied().filter(|(at, _)| *at <= now) {
            self.held.remove(&(at, seq));
            self.make_ready(seq);
        }
        while let Some((_, seq)) = self.sent.first().copied().filter(|(at, _)| *at <= now) {
            self.leave_state(seq);
            self.make_ready(seq);
        }
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        let held = self.held.first().map(|(at, _)| *at);
        let sent = self.sent.first().map(|(at, _)| *at);
        [held, sent, self.tenants_held.values().min().copied()].into_iter().flatten().min()
    }

    pub(super) fn make_ready(&mut self, seq: Seq) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.state = State::Ready;
            self.ready.entry(entry.item.class).or_default().entry(entry.item.tenant.clone()).or_default().insert(&entry.item);
        }
    }

    /// Takes the batch out of the set that its state keeps it in, and off the credit.
    pub(super) fn leave_state(&mut self, seq: Seq) {
        let Some(Entry { item, state, .. }) = self.entries.get(&seq) else { return };
        match *state {
            State::Ready => {
                if let Some(tenants) = self.ready.get_mut(&item.class)
                    && let Some(waiting) = tenants.get_mut(&item.tenant)
                    && waiting.remove(item)
                {
                    tenants.remove(&item.tenant);
                }
            }
            State::Held(at) => {
                self.held.remove(&(at, seq));
            }
            State::Sending { .. } => {
                self.sending.remove(&(item.class, seq));
                self.in_flight_bytes -= item.wire_bytes;
            }
            State::Sent { until, .. } => {
                match until {
                    Some(at) => drop(self.sent.remove(&(at, seq))),
                    None => self.undelivered -= 1,
                }
                self.in_flight_bytes -= item.wire_bytes;
            }
        }
    }
}
