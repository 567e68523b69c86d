//! Answers as people and programs read them.

use super::*;

const SQL: &str = "SELECT * FROM otel_logs WHERE Body IN ('15a', 'none') ORDER BY Body";

fn in_format(tier: &Tier, sql: &str, format: Format) -> String {
    ask_with(&tier.queries(), "acme", sql, Limits::default(), format).unwrap().0
}

/// JSON is one array of objects with nulls, times in UTC and attributes as objects.
#[test]
fn json() {
    let tier = Tier::new();
    let rows: serde_json::Value = serde_json::from_str(&in_format(&tier, SQL, Format::Json)).unwrap();
    let expected = serde_json::json!([
        {"Timestamp": "2026-11-22T15:00:00Z", "Body": "15a", "Value": 0.5, "LogAttributes": {"body.is": "15a"}, "day": "2026-11-22", "hour": 15},
        {"Timestamp": "1970-01-01T00:00:00Z", "Body": "none", "Value": null, "LogAttributes": {"body.is": "none"}, "day": "1970-01-01", "hour": 0},
    ]);
    assert_eq!(rows, expected);
    assert_eq!(in_format(&tier, "SELECT Body FROM otel_empty", Format::Json), "[]\n");
    let odd: serde_json::Value =
        serde_json::from_str(&in_format(&tier, "SELECT 'NaN'::double AS n, '\u{7}\"' AS t", Format::Json)).unwrap();
    assert_eq!(odd, serde_json::json!([{"n": null, "t": "\u{7}\""}]));
}

/// CSV has a head once, however many batches there are; attributes are JSON in a cell.
#[test]
fn csv() {
    let tier = Tier::new();
    let expected = "Timestamp,Body,Value,LogAttributes,day,hour\n\
        2026-11-22T15:00:00Z,15a,0.5,\"{\"\"body.is\"\":\"\"15a\"\"}\",2026-11-22,15\n\
        1970-01-01T00:00:00Z,none,,\"{\"\"body.is\"\":\"\"none\"\"}\",1970-01-01,0\n";
    assert_eq!(in_format(&tier, SQL, Format::Csv), expected);
    let all = in_format(
        &tier,
        "SELECT a.Body FROM otel_logs a CROSS JOIN otel_logs b CROSS JOIN otel_logs c CROSS JOIN otel_logs d",
        Format::Csv,
    );
    assert_eq!((all.lines().count(), all.matches("Body").count()), (7 * 7 * 7 * 7 + 1, 1));
}

/// A table is aligned, has a head without rows too, comes in blocks when it is long, and steers no terminal.
#[test]
fn table() {
    let tier = Tier::new();
    let expected = "+------+--------------+\n| Body | LogAttributes |\n".replace("--------------+", "---------------+");
    let text = in_format(&tier, "SELECT Body, LogAttributes FROM otel_empty", Format::Table);
    assert!(text.starts_with(&expected), "{text}");
    let shown = in_format(&tier, "SELECT Body, LogAttributes['body.is'] AS b FROM otel_logs WHERE hour = 15 ORDER BY 1", Format::Table);
    assert_eq!(shown, "+------+-----+\n| Body | b   |\n+------+-----+\n| 15a  | 15a |\n| 15b  | 15b |\n+------+-----+\n");
    let long = in_format(
        &tier,
        "SELECT a.Body FROM otel_logs a CROSS JOIN otel_logs b CROSS JOIN otel_logs c CROSS JOIN otel_logs d",
        Format::Table,
    );
    assert_eq!(long.matches("Body").count(), 2401_usize.div_ceil(crate::output::BLOCK_ROWS), "{long}");
    let escape = in_format(&tier, "SELECT '\u{1b}[2J' AS x", Format::Table);
    assert!(!escape.contains('\u{1b}') && escape.contains("\u{fffd}[2J"), "{escape:?}");
}

/// A name that is wrong is told with those that would be right.
#[test]
fn mistakes_say_what_there_is() {
    let tier = Tier::new();
    let message = |sql: &str| ask(&tier, sql).unwrap_err().to_string();
    let column = message("SELECT body FROM otel_logs");
    assert!(column.contains("body") && column.contains("Body"), "{column}");
    let table = message("SELECT * FROM logs");
    assert!(table.contains("logs") && table.contains("SHOW TABLES"), "{table}");
    assert!(message("SELEC 1").contains("SELEC"));
}
