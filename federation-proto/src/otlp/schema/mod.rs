//! The messages of an Export request, as tables: per message, each field with its number, its OTLP/JSON name and what it holds.
//!
//! By the .proto files behind opentelemetry-proto 0.33 (OTLP 1.10: `key_strindex`, `string_value_strindex`, entity refs). The declarations
//! serve OTLP/JSON as they stand; for the scan they are made into tables by field number.

mod declared;

/// The enum of the messages, and the list of them.
macro_rules! messages {
    ($($name:ident,)*) => {
        /// A message type that can occur in an Export request of traces, logs or metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Msg {
            $($name,)*
        }

        const ALL: &[Msg] = &[$(Msg::$name,)*];
    };
}

messages! {
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

/// What a field holds, as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Str,
    /// Bytes that OTLP/JSON writes in hexadecimal: trace and span ids.
    Id,
    /// Bytes that OTLP/JSON writes in base64.
    Bytes,
    Bool,
    Enum,
    Int32,
    Sint32,
    Uint32,
    Int64,
    Uint64,
    Fixed32,
    Fixed64,
    /// The time of a row, fixed64.
    Time,
    /// The time of a row that has no [`Form::Time`], fixed64.
    FallbackTime,
    Sfixed64,
    Double,
    Message(Msg),
}

/// How often a field may stand in its message, and whether its default is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// At most once; the default is not written.
    One,
    /// At most once; the default is written, since absence means something else.
    Optional,
    /// At most one of the message's fields with this label; the default is written.
    Either,
    Many,
}

/// One field as the .proto files declare it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decl {
    pub(crate) number: u32,
    /// Its key in OTLP/JSON.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) label: Label,
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

type Table = [Field; MAX_FIELD + 1];

static TABLES: [Table; ALL.len()] = {
    let mut tables = [[UNKNOWN; MAX_FIELD + 1]; ALL.len()];
    let mut i = 0;
    while i < ALL.len() {
        tables[ALL[i] as usize] = table(ALL[i]);
        i += 1;
    }
    tables
};

impl Msg {
    /// The field's entry; [`Kind::Unknown`] for a number that the schema does not know.
    #[inline]
    pub(crate) fn field(self, number: u32) -> Field {
        TABLES[self as usize].get(number as usize).copied().unwrap_or(UNKNOWN)
    }

    /// The fields of this message.
    pub(crate) const fn fields(self) -> &'static [Decl] {
        declared::fields(self)
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

impl Decl {
    const fn field(self) -> Field {
        let mark = match (self.label, self.form) {
            (Label::One | Label::Optional, _) => 1 << self.number,
            (Label::Either, _) => 1,
            (Label::Many, Form::Message(_) | Form::Str) => 0,
            (Label::Many, _) => 1 << self.number,
        };
        Field { kind: self.kind(), mark }
    }

    /// The request itself, which is no field.
    pub(crate) const fn root(msg: Msg) -> Self {
        Self { number: 0, name: "", form: Form::Message(msg), label: Label::One }
    }

    pub(crate) const fn is_root(self) -> bool {
        self.number == 0
    }

    /// Whether its values stand in one run of bytes.
    pub(crate) const fn is_packed(self) -> bool {
        matches!(self.kind(), Kind::PackedFixed64 | Kind::PackedVarint)
    }

    pub(crate) const fn kind(self) -> Kind {
        match (self.label, self.form) {
            (_, Form::Message(msg)) => Kind::Message(msg),
            (_, Form::Str) => Kind::Str,
            (_, Form::Id | Form::Bytes) => Kind::Bytes,
            (Label::Many, Form::Fixed64 | Form::Double) => Kind::PackedFixed64,
            (Label::Many, _) => Kind::PackedVarint,
            (_, Form::Bool | Form::Enum | Form::Int32 | Form::Sint32 | Form::Uint32 | Form::Int64 | Form::Uint64) => Kind::Varint,
            (_, Form::Fixed32) => Kind::Fixed32,
            (_, Form::Fixed64 | Form::Sfixed64 | Form::Double) => Kind::Fixed64,
            (_, Form::Time) => Kind::Time,
            (_, Form::FallbackTime) => Kind::FallbackTime,
        }
    }
}

const fn table(msg: Msg) -> Table {
    let fields = msg.fields();
    let mut table = [UNKNOWN; MAX_FIELD + 1];
    let mut i = 0;
    while i < fields.len() {
        table[fields[i].number as usize] = fields[i].field();
        i += 1;
    }
    table
}
