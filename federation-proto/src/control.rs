//! What edge and router say to each other on the control stream. Protobuf, so that either side may be older than the other:
//! unknown fields are skipped, and a message of an unknown kind has no `kind`.
//!
//! | From the edge | From the router |
//! |---|---|
//! | Hello (first), Status (once a second) | Welcome (first), Ack, Nack, Credit, GoAway |
//!
//! Field numbers are for ever; a removed field's number is not used again.

use std::collections::HashMap;

/// Edge to router.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EdgeMessage {
    /// What is said; absent when a newer peer says what this version does not know.
    #[prost(oneof = "edge_message::Kind", tags = "1, 2")]
    pub kind: Option<edge_message::Kind>,
}

/// Kinds of [`EdgeMessage`].
pub mod edge_message {
    /// One of the edge's messages.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// First on every connection.
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        /// How the edge is doing, once a second.
        #[prost(message, tag = "2")]
        Status(super::Status),
    }
}

/// Router to edge.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RouterMessage {
    /// What is said; absent when a newer peer says what this version does not know.
    #[prost(oneof = "router_message::Kind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<router_message::Kind>,
}

/// Kinds of [`RouterMessage`].
pub mod router_message {
    /// One of the router's messages.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// Answer to Hello.
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        /// These batches are on the journal.
        #[prost(message, tag = "2")]
        Ack(super::Ack),
        /// This batch is not.
        #[prost(message, tag = "3")]
        Nack(super::Nack),
        /// How much may be on its way.
        #[prost(message, tag = "4")]
        Credit(super::Credit),
        /// This router is about to leave.
        #[prost(message, tag = "5")]
        GoAway(super::GoAway),
    }
}

macro_rules! wrap {
    ($outer:ident, $kinds:ident: $($name:ident),+) => {
        $(impl From<$name> for $outer {
            fn from(message: $name) -> Self {
                Self { kind: Some($kinds::Kind::$name(message)) }
            }
        })+
    };
}
wrap!(EdgeMessage, edge_message: Hello, Status);
wrap!(RouterMessage, router_message: Welcome, Ack, Nack, Credit, GoAway);

/// Who connects and what it can do. The name is checked against the certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Highest version of the protocol spoken ([`crate::frame::PROTOCOL`]).
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// The edge's name.
    #[prost(string, tag = "2")]
    pub edge: String,
    /// Version of the software, for people.
    #[prost(string, tag = "3")]
    pub software: String,
    /// Encodings that its batches may have.
    #[prost(uint32, repeated, tag = "4")]
    pub encodings: Vec<u32>,
    /// Spools it ships from (16 bytes each), with the floor of each.
    #[prost(message, repeated, tag = "5")]
    pub spools: Vec<SpoolFloor>,
    /// cloud, region, cluster, kind: whatever the operator labels it with.
    #[prost(map = "string, string", tag = "6")]
    pub labels: HashMap<String, String>,
}

/// Nothing with a lower `seq` is outstanding from this spool: it was acknowledged, or dropped by a stated policy.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SpoolFloor {
    /// The 16 bytes of the spool id.
    #[prost(bytes = "vec", tag = "1")]
    pub spool: Vec<u8>,
    /// Lowest `seq` that may still come.
    #[prost(uint64, tag = "2")]
    pub floor: u64,
}

/// How the edge is doing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Floors of its spools.
    #[prost(message, repeated, tag = "1")]
    pub spools: Vec<SpoolFloor>,
    /// Batches on its disk that no router has acknowledged.
    #[prost(uint64, tag = "2")]
    pub queued_batches: u64,
    /// Their bytes.
    #[prost(uint64, tag = "3")]
    pub queued_bytes: u64,
    /// Time of the oldest record among them, Unix nanoseconds; 0 when there is none.
    #[prost(uint64, tag = "4")]
    pub oldest_unix_nano: u64,
    /// What each tenant has waiting.
    #[prost(message, repeated, tag = "5")]
    pub demand: Vec<Demand>,
}

/// What one tenant has waiting at an edge.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Demand {
    /// The tenant.
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// Raw bytes waiting.
    #[prost(uint64, tag = "2")]
    pub raw_bytes: u64,
    /// Rows waiting.
    #[prost(uint64, tag = "3")]
    pub rows: u64,
}

/// The router takes the edge in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// Version that both speak from here on.
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// The router's name.
    #[prost(string, tag = "2")]
    pub router: String,
    /// Encodings that it can read.
    #[prost(uint32, repeated, tag = "3")]
    pub encodings: Vec<u32>,
    /// Header and payload bytes that may be unacknowledged at any time.
    #[prost(uint64, tag = "4")]
    pub credit_bytes: u64,
    /// Largest payload taken, in bytes.
    #[prost(uint32, tag = "5")]
    pub max_batch_bytes: u32,
    /// What this router knows of the spools that Hello named.
    #[prost(message, repeated, tag = "6")]
    pub spools: Vec<SpoolSeen>,
    /// The 16 bytes of the journal's id: two routers that say the same share one, and a batch is once in it. Empty from a router that does
    /// not say it.
    #[prost(bytes = "vec", tag = "7")]
    pub journal: Vec<u8>,
}

/// How far a router has seen a spool. A spool that has not assigned all numbers below `next` was put back to an older image: what it
/// would name with them now is taken for what they named then, and acked unread.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SpoolSeen {
    /// The 16 bytes of the spool id.
    #[prost(bytes = "vec", tag = "1")]
    pub spool: Vec<u8>,
    /// Above every `seq` that was journalled, and not below any floor that was declared; 0 for a spool that is new here.
    #[prost(uint64, tag = "2")]
    pub next: u64,
}

/// Batches of one spool that are on the journal, or were before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    /// The 16 bytes of the spool id.
    #[prost(bytes = "vec", tag = "1")]
    pub spool: Vec<u8>,
    /// Ranges of `seq`.
    #[prost(message, repeated, tag = "2")]
    pub ranges: Vec<SeqRange>,
}

/// First to last, both included.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SeqRange {
    /// First `seq`.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// Last `seq`.
    #[prost(uint64, tag = "2")]
    pub last: u64,
}

/// A batch was not taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Nack {
    /// The 16 bytes of the spool id.
    #[prost(bytes = "vec", tag = "1")]
    pub spool: Vec<u8>,
    /// The batch's `seq`.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// Why.
    #[prost(enumeration = "NackReason", tag = "3")]
    pub reason: i32,
    /// Come back no earlier than this; meaningless when the reason is permanent.
    #[prost(uint64, tag = "4")]
    pub retry_after_ms: u64,
    /// For people.
    #[prost(string, tag = "5")]
    pub message: String,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NackReason {
    /// A reason of a later version: treated as one to retry.
    Unspecified = 0,
    /// Over the tenant's quota. Retry.
    OverQuota = 1,
    /// The journal is at its bound. Retry.
    JournalFull = 2,
    /// Damaged on the way, or its twin is being written. Retry.
    Again = 3,
    /// The router is leaving. Retry elsewhere.
    Draining = 4,
    /// This edge may not carry this tenant. Permanent.
    TenantNotAllowed = 5,
    /// Larger than the router takes. Permanent.
    TooLarge = 6,
    /// An encoding the router cannot read. Permanent.
    UnknownEncoding = 7,
    /// Its header states what cannot be: no rows, or the number that stands for none. Permanent.
    Malformed = 8,
}

impl NackReason {
    /// Would the same batch be refused again, whenever it comes?
    #[must_use]
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::TenantNotAllowed | Self::TooLarge | Self::UnknownEncoding | Self::Malformed)
    }
}

/// How many bytes may be unacknowledged from now on.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Credit {
    /// Header and payload bytes.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
}

/// The router is about to leave: finish what is on its way, then connect elsewhere.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GoAway {
    /// It closes the connection after this.
    #[prost(uint64, tag = "1")]
    pub deadline_ms: u64,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}
