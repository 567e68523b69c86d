//! Files that a statement cannot need are not opened: those of the other hours are no Parquet here.

use super::*;

/// A tier in which only hour 15 (and the hour of rows without a time) can be read.
fn one_good_hour() -> Tier {
    let tier = Tier::new();
    tier.spoil("acme", "day=2026-11-22/hour=14");
    tier.spoil("acme", "day=2026-11-22/hour=16");
    tier
}

/// Without a filter the broken files are seen: the tests below would fail if they were opened.
#[test]
fn a_broken_file_that_is_needed_is_an_error() {
    let error = ask(&one_good_hour(), "SELECT Body FROM otel_logs").unwrap_err();
    assert!(matches!(error, QueryError::Failed(_)), "{error:?}");
}

/// Day and hour prune, however they are compared.
#[test]
fn day_and_hour_prune() {
    let tier = one_good_hour();
    for filter in [
        "day = '2026-11-22' AND hour = 15",
        "hour = 15",
        "15 = hour AND day = DATE '2026-11-22'",
        "hour = '15'",
        "hour > 14 AND hour < 16",
        "hour BETWEEN 15 AND 15",
        "hour IN (15, 17)",
        "day >= '2026-11-22' AND day < '2026-11-23' AND hour = 15 AND Body LIKE '15%'",
    ] {
        let answer = ask(&tier, &format!("SELECT Body FROM otel_logs WHERE {filter} ORDER BY 1"));
        assert_eq!(answer.as_deref(), Ok("Body\n15a\n15b\n"), "{filter}");
    }
}

/// An hour below ten is found: its directory has two digits.
#[test]
fn an_hour_of_one_digit_is_found() {
    let tier = Tier::new();
    tier.put("acme", "day=2026-11-22/hour=05", &rows(&[(MIDNIGHT + 5 * HOUR, "5a")]));
    for filter in ["hour = 5", "day = '2026-11-22' AND hour = 5", "hour = 5 AND Body = '5a'", "5 = hour", "hour IN (5)"] {
        assert_eq!(ask(&tier, &format!("SELECT Body, hour FROM otel_logs WHERE {filter}")).as_deref(), Ok("Body,hour\n5a,5\n"), "{filter}");
    }
}

/// Bounds of the record's time prune by themselves.
#[test]
fn time_prunes() {
    let tier = one_good_hour();
    for filter in [
        "\"Timestamp\" >= '2026-11-22T15:00:00Z' AND \"Timestamp\" < '2026-11-22T16:00:00Z'",
        "Timestamp BETWEEN '2026-11-22T15:00:00Z' AND '2026-11-22T15:30:00Z'",
        "Timestamp > TIMESTAMP '2026-11-22 14:59:59' + INTERVAL '999999999 nanoseconds' AND Timestamp < to_timestamp('2026-11-22T15:10:00Z')",
        "'2026-11-22T15:00:00Z' <= Timestamp AND '2026-11-22T15:59:59Z' >= Timestamp AND Body <> 'x'",
    ] {
        let answer = ask(&tier, &format!("SELECT Body FROM otel_logs WHERE {filter} ORDER BY 1"));
        assert_eq!(answer.as_deref(), Ok("Body\n15a\n15b\n"), "{filter}");
    }
}

/// Rows in the hour of those without a time are found by the time they have.
#[test]
fn scattered_times_are_found() {
    let tier = one_good_hour();
    tier.put("acme", "day=1970-01-01/hour=00", &rows(&[(0, "none"), (MIDNIGHT + 15 * HOUR + 7, "15z")]));
    let sql = "SELECT Body FROM otel_logs WHERE Timestamp > '2026-11-22T15:00:00.000000001Z' AND Timestamp < '2026-11-22T15:01:00Z'";
    assert_eq!(ask(&tier, sql).as_deref(), Ok("Body\n15z\n"));
    assert_eq!(ask(&tier, "SELECT Body FROM otel_logs WHERE Timestamp = '1970-01-01T00:00:00Z'").as_deref(), Ok("Body\nnone\n"));
}

/// The plan has the files of the hour asked for, and no others.
#[test]
fn the_plan_names_the_files() {
    let plan = ask(&Tier::new(), "EXPLAIN FORMAT INDENT SELECT Body FROM otel_logs WHERE day = '2026-11-22' AND hour = 15").unwrap();
    assert!(plan.contains("hour=15/0-1-2.parquet") && !plan.contains("hour=14") && !plan.contains("hour=16"), "{plan}");
}

/// What is being written, or is not a file of the tier, is not read.
#[test]
fn unfinished_files_are_not_read() {
    let tier = Tier::new();
    for name in ["0-3-4.parquet.tmp", "notes.txt"] {
        std::fs::write(tier.dir("acme", "day=2026-11-22/hour=15").join(name), "not parquet").unwrap();
    }
    assert_eq!(ask(&tier, "SELECT count(*) AS n FROM otel_logs").as_deref(), Ok("n\n7\n"));
}

/// A table without files, or of a tenant without a directory, has its columns and no rows.
#[test]
fn an_empty_table_has_its_columns() {
    let tier = Tier::new();
    assert_eq!(ask(&tier, "SELECT * FROM otel_empty").as_deref(), Ok("Timestamp,Body,Value,LogAttributes,day,hour\n"));
    assert_eq!(ask(&tier, "SELECT count(*) AS n FROM otel_empty WHERE hour = 5 AND day = '2026-11-22'").as_deref(), Ok("n\n0\n"));
}

/// A file that lacks a column of the table gives null for it.
#[test]
fn older_files_lack_columns() {
    let tier = Tier::new();
    let narrow = rows(&[(MIDNIGHT + 17 * HOUR, "17a")]).project(&[0, 1]).unwrap();
    tier.put("acme", "day=2026-11-22/hour=17", &narrow);
    let sql = "SELECT Body, Value, LogAttributes FROM otel_logs WHERE hour = 17";
    assert_eq!(ask(&tier, sql).as_deref(), Ok("Body,Value,LogAttributes\n17a,,\n"));
}
