//! Which batches are meant: all conditions that are given must hold.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{Class, Seq, Signal, TenantId};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use service::config::Span;

/// A choice of batches. Also the body of a request to a running process.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Only this tenant's.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<TenantId>,
    /// Only this signal: traces, logs, metrics.
    #[arg(long, value_name = "SIGNAL", value_parser = word::<Signal>)]
    pub signal: Option<Signal>,
    /// Only this class: high, medium, low.
    #[arg(long, value_name = "CLASS", value_parser = word::<Class>)]
    pub class: Option<Class>,
    /// Only these numbers, as `ls` shows them: 17, or 17-29.
    #[arg(long, value_name = "FROM-TO", value_parser = seqs)]
    pub seqs: Option<(u64, u64)>,
    /// Only batches whose newest record is older than this, by its own time: 36h, 7d. One without times is not.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Age>,
}

/// An age in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age(u64);

/// A signal or a class by its name.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer()).map_err(|error: serde::de::value::Error| error.to_string())
}

fn age(text: &str) -> Result<Age, String> {
    text.parse::<Span>().map(|span| Age(Duration::from(span).as_secs())).map_err(|error| error.to_string())
}

fn seqs(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err("expected a number or FROM-TO, such as 17-29".to_owned()),
    }
}

impl Selection {
    /// Is no condition given?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { tenant, signal, class, seqs, older_than } = self;
        tenant.is_none() && signal.is_none() && class.is_none() && seqs.is_none() && older_than.is_none()
    }

    /// The numbers that may be meant.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<u64> {
        self.seqs.map_or(0..=u64::MAX, |(first, last)| first..=last)
    }

    /// Is this batch meant? `now` is Unix seconds.
    #[must_use]
    pub fn matches(&self, seq: Seq, header: &BatchHeader, now: u64) -> bool {
        let newest = header.newest_unix_nano / 1_000_000_000;
        self.range().contains(&seq.0)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == header.tenant)
            && self.signal.is_none_or(|signal| signal == header.signal)
            && self.class.is_none_or(|class| class == header.class)
            && self.older_than.is_none_or(|Age(seconds)| newest > 0 && now.saturating_sub(newest) > seconds)
    }
}
