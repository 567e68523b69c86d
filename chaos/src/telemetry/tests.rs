//! The verdict of every scenario rests on ids being unique and counted right.

use std::collections::HashSet;

use super::*;

/// As many records as asked for, and no id twice, over signals, requests and senders.
#[test]
fn ids_are_unique_and_counts_exact() {
    let mut seen = HashSet::new();
    for sender in 0..3 {
        let mut generator = Generator::new(7, sender, "eu-central-1");
        for count in [1, 9, 10, 250] {
            let traces = generator.traces(1_800_000_000_000_000_000, count);
            let spans = traces.request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum::<usize>();
            let logs = generator.logs(1_800_000_000_000_000_000, count);
            let metrics = generator.metrics(1_800_000_000_000_000_000, count);
            assert_eq!((spans, traces.ids.len(), logs.ids.len(), metrics.ids.len()), (count, count, count, count));
            for id in traces.ids.into_iter().chain(logs.ids).chain(metrics.ids) {
                assert!(seen.insert(id), "{id:?} was given twice");
            }
        }
    }
}

/// The same seed gives the same bytes: a failing run can be repeated.
#[test]
fn seeded() {
    let make = || Generator::new(42, 1, "us-west-2").traces(1_800_000_000_000_000_000, 30).request;
    assert_eq!(make(), make());
}
