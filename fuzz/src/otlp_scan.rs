//! `otlp::scan` and prost agree on what is a request and on its rows; what is unusual, `normalise` makes usual and leaves the same.
//!
//! Input: signal (1), body.

use federation_proto::identity::Signal;
use federation_proto::otlp::{Limits, Scan, normalise, scan};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::memory;
use super::support::arbitrary::Nasty;
use super::support::realistic::Shop;
use super::support::rng::Rng;
use super::support::{SIGNALS, records};

pub fn check(input: &[u8]) {
    let Some((&pick, body)) = input.split_first() else { return };
    let signal = SIGNALS[usize::from(pick) % SIGNALS.len()];
    let (found, taken) = memory::peak(|| scan(signal, body, &Limits::default()));
    assert!(taken < 1024, "the scan allocates {taken} bytes");
    let theirs = as_prost_reads(signal, body);
    assert_eq!(found.is_ok(), theirs.is_some(), "the scan says {found:?}");
    let (Ok(found), Some(theirs)) = (found, theirs) else { return };
    assert_eq!(found.raw_bytes, body.len() as u64);
    let normal = normalise(signal, body).expect("both accept");
    let again = scan(signal, &normal, &Limits::default()).expect("prost's own output");
    assert!(again.canonical, "what normalise gives is canonical");
    assert_eq!(records::of(signal, &normal), records::of(signal, body));
    assert_eq!(again.rows as usize, records::of(signal, body).len());
    if found.canonical {
        assert_eq!(found, Scan { raw_bytes: found.raw_bytes, ..again });
    } else {
        assert_eq!(as_prost_reads(signal, &normal).as_ref(), Some(&theirs), "nothing is lost by normalising");
    }
}

/// Everything in the request, as text: equal if all is equal but the sign of zeros, which `normalise` says that it does not keep.
fn as_prost_reads(signal: Signal, body: &[u8]) -> Option<String> {
    let text = match signal {
        Signal::Traces => format!("{:?}", ExportTraceServiceRequest::decode(body).ok()?),
        Signal::Logs => format!("{:?}", ExportLogsServiceRequest::decode(body).ok()?),
        _ => format!("{:?}", ExportMetricsServiceRequest::decode(body).ok()?),
    };
    Some(text.replace("-0.0", "0.0"))
}

/// A request as a shop sends it, or one with everything nasty in it.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let pick = rng.below(SIGNALS.len());
    let body = if rng.one_in(8) { usual(SIGNALS[pick], rng) } else { Nasty::new(rng.next(), 1 + rng.below(4)).body(SIGNALS[pick]) };
    [&[pick as u8][..], &body].concat()
}

/// A request of few rows as a shop sends it.
pub fn usual(signal: Signal, rng: &mut Rng) -> Vec<u8> {
    let mut shop = Shop::new(rng.next());
    let rows = 1 + rng.below(4);
    match signal {
        Signal::Traces => shop.traces(rows).encode_to_vec(),
        Signal::Logs => shop.logs(rows).encode_to_vec(),
        _ => {
            let mut request = shop.metrics();
            let pod = rng.below(request.resource_metrics.len());
            request.resource_metrics.swap(0, pod);
            request.resource_metrics.truncate(1);
            request.encode_to_vec()
        }
    }
}
