//! `docs/metrics.md`: what each process describes to a recorder that only listens.

use std::cell::RefCell;
use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::markdown::{made_by, table};

/// A process, or what all have in common.
pub(super) struct Source {
    /// The heading.
    pub(super) name: &'static str,
    describe: fn(),
}

/// Who describes metrics.
pub(super) const SOURCES: [Source; 4] = [
    Source { name: "tributary-edge", describe: edge_gateway::describe_metrics },
    Source { name: "tributary-router", describe: central_router::describe_metrics },
    Source { name: "tributary-agent", describe: agent::describe_metrics },
    Source { name: "Every process", describe: service::describe_metrics },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric as described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) kind: Kind,
    pub(super) unit: Option<Unit>,
    pub(super) meaning: String,
}

impl Source {
    /// Its metrics by name.
    ///
    /// # Panics
    /// If one name is described twice in different words.
    pub(super) fn metrics(&self) -> BTreeMap<String, Described> {
        let listener = Listener::default();
        metrics::with_local_recorder(&listener, self.describe);
        listener.0.into_inner()
    }
}

#[derive(Default)]
struct Listener(RefCell<BTreeMap<String, Described>>);

impl Listener {
    fn note(&self, kind: Kind, name: &KeyName, unit: Option<Unit>, meaning: &SharedString) {
        let described = Described { kind, unit, meaning: meaning.to_string() };
        let before = self.0.borrow_mut().insert(name.as_str().to_owned(), described.clone());
        assert!(before.is_none_or(|before| before == described), "{} is described twice, in different words", name.as_str());
    }
}

impl Recorder for Listener {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.note(Kind::Counter, &name, unit, &meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.note(Kind::Gauge, &name, unit, &meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.note(Kind::Histogram, &name, unit, &meaning);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// The page.
pub(super) fn page() -> String {
    let mut page = String::from("# Metrics\n\n") + &made_by();
    page += "\nEach process answers `GET /metrics` at its `admin.listen`, in the Prometheus text format. Counters only grow, and end in\n\
             `_total`; rows are spans, log records and data points. Labels are named in the meaning. A series appears with its first event: in\n\
             an alert, `increase(…)` of a series that is not there yet is no value and not 0.\n";
    for source in SOURCES {
        let row = |(name, described): (String, Described)| {
            let unit = described.unit.map_or("", |unit| unit.as_str());
            [format!("`{name}`"), format!("{:?}", described.kind).to_lowercase(), unit.to_owned(), described.meaning]
        };
        let rows: Vec<[String; 4]> = source.metrics().into_iter().map(row).collect();
        page += &format!("\n## {}\n\n{}", source.name, table(["Metric", "Type", "Unit", "Meaning"], &rows));
    }
    page
}
