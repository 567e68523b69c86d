//! Control messages: what decodes is the same after it was sent again, framed; no bytes panic or take more than a multiple of themselves.
//!
//! Input: direction (1), protobuf.

use federation_proto::control::{
    Ack, Credit, Demand, EdgeMessage, GoAway, Hello, Nack, RouterMessage, SeqRange, SpoolFloor, SpoolSeen, Status, Welcome,
};
use federation_proto::frame::{ControlDecoder, encode_control};
use prost::Message;

use super::memory;
use super::support::rng::Rng;

/// Bytes of heap that a message may take, per byte on the wire and besides: a list of empty messages is the worst, its list growing.
const HEAP: (usize, usize) = (256, 4096);

pub fn check(input: &[u8]) {
    let Some((&direction, message)) = input.split_first() else { return };
    if direction & 1 == 0 { again::<EdgeMessage>(message) } else { again::<RouterMessage>(message) }
}

fn again<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let (message, taken) = memory::peak(|| M::decode(bytes));
    assert!(taken <= bytes.len() * HEAP.0 + HEAP.1, "{} bytes of message take {taken}", bytes.len());
    let Ok(message) = message else { return };
    let Ok(frame) = encode_control(&message) else {
        assert_eq!(message.encoded_len(), 0, "only nothing at all cannot be sent");
        return;
    };
    let mut decoder = ControlDecoder::<M>::default();
    decoder.push(&frame);
    assert_eq!(decoder.next_message(), Ok(Some(message)));
    assert_eq!(decoder.next_message(), Ok(None));
}

/// Any message there is.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(2) {
        [&[0][..], &from_edge(rng).encode_to_vec()].concat()
    } else {
        [&[1][..], &from_router(rng).encode_to_vec()].concat()
    }
}

/// A message of an edge.
pub fn from_edge(rng: &mut Rng) -> EdgeMessage {
    let spools = (0..rng.below(4)).map(|_| SpoolFloor { spool: vec![rng.below(4) as u8; 16], floor: rng.below(9) as u64 }).collect();
    if rng.one_in(2) {
        let labels = (0..rng.below(3)).map(|n| (format!("label{n}"), "value".to_owned())).collect();
        return Hello { protocol: 1, edge: "eu".to_owned(), software: "0.1".to_owned(), encodings: vec![1], spools, labels }.into();
    }
    let demand = (0..rng.below(3)).map(|_| Demand { tenant: "acme".to_owned(), raw_bytes: rng.next(), rows: 7 }).collect();
    Status { spools, queued_batches: 3, queued_bytes: rng.next(), oldest_unix_nano: rng.next(), demand }.into()
}

/// A message of a router.
pub fn from_router(rng: &mut Rng) -> RouterMessage {
    let spool = vec![rng.below(4) as u8; 16];
    match rng.below(5) {
        0 => Welcome {
            protocol: 1,
            router: "r".to_owned(),
            encodings: vec![1],
            credit_bytes: rng.next(),
            max_batch_bytes: 1 << 20,
            spools: vec![SpoolSeen { spool, next: rng.next() }],
            journal: vec![7; 16],
        }
        .into(),
        1 => Ack { spool, ranges: (0..rng.below(5) as u64).map(|n| SeqRange { first: 9 * n, last: 9 * n + 3 }).collect() }.into(),
        2 => Nack { spool, seq: rng.next(), reason: rng.below(9) as i32, retry_after_ms: rng.below(3000) as u64, message: "no".to_owned() }
            .into(),
        3 => Credit { bytes: rng.next() }.into(),
        _ => GoAway { deadline_ms: rng.next(), message: "bye".to_owned() }.into(),
    }
}
