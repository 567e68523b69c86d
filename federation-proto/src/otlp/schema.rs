//! The messages of an Export request, as tables: per message and field number, what the field holds.
//!
//! By the .proto files behind opentelemetry-proto 0.33 (OTLP 1.10: `key_strindex`, `string_value_strindex`, entity refs).

/// A message type that can occur in an Export request of traces, logs or metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Msg {
    TracesRequest,
    LogsRequest,
    MetricsRequest,
    ResourceSpans,
    ResourceLogs,
    ResourceMetrics,
    ScopeSpans,
    ScopeLogs,
    ScopeMetrics,
    Resource,
    Scope,
    EntityRef,
    KeyValue,
    AnyValue,
    Array,
    KeyValueList,
    Span,
    Event,
    Link,
    Status,
    LogRecord,
    Metric,
    Gauge,
    Sum,
    Histogram,
    ExpHistogram,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExpHistogramPoint,
    SummaryPoint,
    Buckets,
    Quantile,
    Exemplar,
}

/// What a field holds on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not in the schema: skipped.
    Unknown,
    /// Any integer, bool or enum by varint.
    Varint,
    Fixed64,
    /// The time of a row, fixed64.
    Time,
    /// The time of a row that has no [`Kind::Time`], fixed64.
    FallbackTime,
    Fixed32,
    Str,
    Bytes,
    Message(Msg),
    PackedFixed64,
    PackedVarint,
}

/// One field: what it holds, and its mark among the singular fields of its message (members of a oneof share one; 0 = repeated message
/// or string, which may occur any number of times).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) mark: u32,
}

/// Highest field number of the schema (span flags, 16).
const MAX_FIELD: usize = 16;

const UNKNOWN: Field = Field { kind: Kind::Unknown, mark: 0 };

/// Number of message types.
const MESSAGES: usize = Msg::Exemplar as usize + 1;

type Table = [Field; MAX_FIELD + 1];

static TABLES: [Table; MESSAGES] = {
    let mut tables = [[UNKNOWN; MAX_FIELD + 1]; MESSAGES];
    let mut i = 0;
    while i < ALL.len() {
        tables[ALL[i] as usize] = table(ALL[i]);
        i += 1;
    }
    tables
};

const ALL: [Msg; MESSAGES] = {
    use Msg::*;
    [
        TracesRequest,
        LogsRequest,
        MetricsRequest,
        ResourceSpans,
        ResourceLogs,
        ResourceMetrics,
        ScopeSpans,
        ScopeLogs,
        ScopeMetrics,
        Resource,
        Scope,
        EntityRef,
        KeyValue,
        AnyValue,
        Array,
        KeyValueList,
        Span,
        Event,
        Link,
        Status,
        LogRecord,
        Metric,
        Gauge,
        Sum,
        Histogram,
        ExpHistogram,
        Summary,
        NumberPoint,
        HistogramPoint,
        ExpHistogramPoint,
        SummaryPoint,
        Buckets,
        Quantile,
        Exemplar,
    ]
};

impl Msg {
    /// The field's entry; [`Kind::Unknown`] for a number that the schema does not know.
    #[inline]
    pub(crate) fn field(self, number: u32) -> Field {
        TABLES[self as usize].get(number as usize).copied().unwrap_or(UNKNOWN)
    }

    /// Whether each message of this type is one row of a batch.
    pub(crate) fn is_row(self) -> bool {
        matches!(self, Msg::Span | Msg::LogRecord | Msg::NumberPoint | Msg::HistogramPoint | Msg::ExpHistogramPoint | Msg::SummaryPoint)
    }

    /// Whether each message of this type is a line in a table that belongs to the rows.
    pub(crate) fn is_part(self) -> bool {
        matches!(self, Msg::Event | Msg::Link | Msg::Exemplar | Msg::Quantile)
    }
}

const fn build(fields: &[(usize, Kind)], repeated: &[usize], oneof: &[usize]) -> Table {
    let mut table = [UNKNOWN; MAX_FIELD + 1];
    let mut i = 0;
    while i < fields.len() {
        let (number, kind) = fields[i];
        let mark = if contains(repeated, number) {
            0
        } else if contains(oneof, number) {
            1
        } else {
            1 << number
        };
        table[number] = Field { kind, mark };
        i += 1;
    }
    table
}

const fn contains(list: &[usize], number: usize) -> bool {
    let mut i = 0;
    while i < list.len() {
        if list[i] == number {
            return true;
        }
        i += 1;
    }
    false
}

const fn table(msg: Msg) -> Table {
    use Kind::{Bytes, Fixed32, Fixed64, Message, Str, Time, Varint};
    match msg {
        Msg::TracesRequest => build(&[(1, Message(Msg::ResourceSpans))], &[1], &[]),
        Msg::LogsRequest => build(&[(1, Message(Msg::ResourceLogs))], &[1], &[]),
        Msg::MetricsRequest => build(&[(1, Message(Msg::ResourceMetrics))], &[1], &[]),
        Msg::ResourceSpans => build(&[(1, Message(Msg::Resource)), (2, Message(Msg::ScopeSpans)), (3, Str)], &[2], &[]),
        Msg::ResourceLogs => build(&[(1, Message(Msg::Resource)), (2, Message(Msg::ScopeLogs)), (3, Str)], &[2], &[]),
        Msg::ResourceMetrics => build(&[(1, Message(Msg::Resource)), (2, Message(Msg::ScopeMetrics)), (3, Str)], &[2], &[]),
        Msg::ScopeSpans => build(&[(1, Message(Msg::Scope)), (2, Message(Msg::Span)), (3, Str)], &[2], &[]),
        Msg::ScopeLogs => build(&[(1, Message(Msg::Scope)), (2, Message(Msg::LogRecord)), (3, Str)], &[2], &[]),
        Msg::ScopeMetrics => build(&[(1, Message(Msg::Scope)), (2, Message(Msg::Metric)), (3, Str)], &[2], &[]),
        Msg::Resource => build(&[(1, Message(Msg::KeyValue)), (2, Varint), (3, Message(Msg::EntityRef))], &[1, 3], &[]),
        Msg::Scope => build(&[(1, Str), (2, Str), (3, Message(Msg::KeyValue)), (4, Varint)], &[3], &[]),
        Msg::EntityRef => build(&[(1, Str), (2, Str), (3, Str), (4, Str)], &[3, 4], &[]),
        Msg::KeyValue => build(&[(1, Str), (2, Message(Msg::AnyValue)), (3, Varint)], &[], &[]),
        Msg::AnyValue => any_value(),
        Msg::Array => build(&[(1, Message(Msg::AnyValue))], &[1], &[]),
        Msg::KeyValueList => build(&[(1, Message(Msg::KeyValue))], &[1], &[]),
        Msg::Span => span(),
        Msg::Event => build(&[(1, Fixed64), (2, Str), (3, Message(Msg::KeyValue)), (4, Varint)], &[3], &[]),
        Msg::Link => build(&[(1, Bytes), (2, Bytes), (3, Str), (4, Message(Msg::KeyValue)), (5, Varint), (6, Fixed32)], &[4], &[]),
        Msg::Status => build(&[(2, Str), (3, Varint)], &[], &[]),
        Msg::LogRecord => log_record(),
        Msg::Metric => metric(),
        Msg::Gauge => build(&[(1, Message(Msg::NumberPoint))], &[1], &[]),
        Msg::Sum => build(&[(1, Message(Msg::NumberPoint)), (2, Varint), (3, Varint)], &[1], &[]),
        Msg::Histogram => build(&[(1, Message(Msg::HistogramPoint)), (2, Varint)], &[1], &[]),
        Msg::ExpHistogram => build(&[(1, Message(Msg::ExpHistogramPoint)), (2, Varint)], &[1], &[]),
        Msg::Summary => build(&[(1, Message(Msg::SummaryPoint))], &[1], &[]),
        Msg::NumberPoint => build(
            &[(2, Fixed64), (3, Time), (4, Fixed64), (5, Message(Msg::Exemplar)), (6, Fixed64), (7, Message(Msg::KeyValue)), (8, Varint)],
            &[5, 7],
            &[4, 6],
        ),
        Msg::HistogramPoint => histogram_point(),
        Msg::ExpHistogramPoint => exp_histogram_point(),
        Msg::SummaryPoint => build(
            &[(2, Fixed64), (3, Time), (4, Fixed64), (5, Fixed64), (6, Message(Msg::Quantile)), (7, Message(Msg::KeyValue)), (8, Varint)],
            &[6, 7],
            &[],
        ),
        Msg::Buckets => build(&[(1, Varint), (2, Kind::PackedVarint)], &[], &[]),
        Msg::Quantile => build(&[(1, Fixed64), (2, Fixed64)], &[], &[]),
        Msg::Exemplar => {
            build(&[(2, Fixed64), (3, Fixed64), (4, Bytes), (5, Bytes), (6, Fixed64), (7, Message(Msg::KeyValue))], &[7], &[3, 6])
        }
    }
}

const fn any_value() -> Table {
    use Kind::{Bytes, Fixed64, Message, Str, Varint};
    build(
        &[
            (1, Str),
            (2, Varint),
            (3, Varint),
            (4, Fixed64),
            (5, Message(Msg::Array)),
            (6, Message(Msg::KeyValueList)),
            (7, Bytes),
            (8, Varint),
        ],
        &[],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    )
}

const fn span() -> Table {
    use Kind::{Bytes, Fixed32, Fixed64, Message, Str, Time, Varint};
    build(
        &[
            (1, Bytes),
            (2, Bytes),
            (3, Str),
            (4, Bytes),
            (5, Str),
            (6, Varint),
            (7, Time),
            (8, Fixed64),
            (9, Message(Msg::KeyValue)),
            (10, Varint),
            (11, Message(Msg::Event)),
            (12, Varint),
            (13, Message(Msg::Link)),
            (14, Varint),
            (15, Message(Msg::Status)),
            (16, Fixed32),
        ],
        &[9, 11, 13],
        &[],
    )
}

const fn log_record() -> Table {
    use Kind::{Bytes, FallbackTime, Fixed32, Message, Str, Time, Varint};
    build(
        &[
            (1, Time),
            (2, Varint),
            (3, Str),
            (5, Message(Msg::AnyValue)),
            (6, Message(Msg::KeyValue)),
            (7, Varint),
            (8, Fixed32),
            (9, Bytes),
            (10, Bytes),
            (11, FallbackTime),
            (12, Str),
        ],
        &[6],
        &[],
    )
}

const fn metric() -> Table {
    use Kind::{Message, Str};
    build(
        &[
            (1, Str),
            (2, Str),
            (3, Str),
            (5, Message(Msg::Gauge)),
            (7, Message(Msg::Sum)),
            (9, Message(Msg::Histogram)),
            (10, Message(Msg::ExpHistogram)),
            (11, Message(Msg::Summary)),
            (12, Message(Msg::KeyValue)),
        ],
        &[12],
        &[5, 7, 9, 10, 11],
    )
}

const fn histogram_point() -> Table {
    use Kind::{Fixed64, Message, PackedFixed64, Time, Varint};
    build(
        &[
            (2, Fixed64),
            (3, Time),
            (4, Fixed64),
            (5, Fixed64),
            (6, PackedFixed64),
            (7, PackedFixed64),
            (8, Message(Msg::Exemplar)),
            (9, Message(Msg::KeyValue)),
            (10, Varint),
            (11, Fixed64),
            (12, Fixed64),
        ],
        &[8, 9],
        &[],
    )
}

const fn exp_histogram_point() -> Table {
    use Kind::{Fixed64, Message, Time, Varint};
    build(
        &[
            (1, Message(Msg::KeyValue)),
            (2, Fixed64),
            (3, Time),
            (4, Fixed64),
            (5, Fixed64),
            (6, Varint),
            (7, Fixed64),
            (8, Message(Msg::Buckets)),
            (9, Message(Msg::Buckets)),
            (10, Varint),
            (11, Message(Msg::Exemplar)),
            (12, Fixed64),
            (13, Fixed64),
            (14, Fixed64),
        ],
        &[1, 11],
        &[],
    )
}
