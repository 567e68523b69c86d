//! Everything that can grow is bounded, and the error at the bound says what to do.

use std::time::Duration;

use super::*;

fn failure(sql: &str, limits: Limits) -> QueryError {
    ask_with(&Tier::new().queries(), "acme", sql, limits, Format::Json).expect_err(sql)
}

/// The rows given are the limit's, and the answer says whether there were more.
#[test]
fn rows() {
    let tier = Tier::new();
    for (limit, rows, more) in [(3, 3, true), (7, 7, false), (8, 7, false), (0, 0, true)] {
        let limits = Limits { rows: limit, ..Limits::default() };
        let (_, written) = ask_with(&tier.queries(), "acme", "SELECT * FROM otel_logs", limits, Format::Json).unwrap();
        assert_eq!(written, Written { rows, more }, "{limit}");
    }
}

/// A statement that never ends is ended, also when its operators hand on nothing.
#[test]
fn time() {
    let endless = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x FROM n) SELECT max(x) FROM n";
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let error = failure(endless, limits);
    assert_eq!(error, QueryError::Time(limits.time));
    assert!(error.to_string().contains("0.3s") && error.to_string().contains("raise the time limit"), "{error}");
}

/// What collects rows beyond the memory is refused.
#[test]
fn memory() {
    let limits = Limits { memory: 1000, ..Limits::default() };
    let error = failure("SELECT a.Body, count(*) FROM otel_logs a JOIN otel_logs b ON a.hour = b.hour GROUP BY 1 ORDER BY 1", limits);
    assert_eq!(error, QueryError::Memory(1000));
}

/// An answer that its sink does not hold is refused, not cut.
#[test]
fn output() {
    let tier = Tier::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for format in [Format::Table, Format::Json, Format::Csv] {
        let queries = tier.queries();
        let sql = "SELECT * FROM otel_logs".to_owned();
        let answer = runtime.block_on(queries.answer(&tenant("acme"), sql, Limits::default(), format, Bounded::new(100)));
        assert_eq!(answer.unwrap_err(), QueryError::Output(100), "{format:?}");
    }
}

/// One tenant has half of the places, and all tenants together all of them; a statement whose caller went away gives its place back.
#[test]
fn places() {
    let tier = Tier::new();
    let queries = Queries::new(tier.path(), tables(), 3).unwrap();
    let endless = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x FROM n) SELECT max(x) FROM n";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ask = |of: &str, sql: &str| {
        let (queries, of, sql) = (&queries, tenant(of), sql.to_owned());
        async move { queries.answer(&of, sql, Limits::default(), Format::Json, Bounded::new(1000)).await.map(|answer| answer.1.rows) }
    };
    runtime.block_on(async {
        let mut held: Vec<_> = ["acme", "acme", "beta"].into_iter().map(|of| Box::pin(ask(of, endless))).collect();
        for running in &mut held {
            assert!(futures_util::poll!(running).is_pending());
        }
        assert_eq!(ask("beta", "SELECT 1").await, Err(QueryError::Busy(3)));
        held.pop();
        assert_eq!(ask("acme", "SELECT 1").await, Err(QueryError::Busy(3)), "half of three, rounded up, is two");
        let answered = tokio::time::timeout(Duration::from_secs(20), async {
            while ask("beta", "SELECT 1").await != Ok(1) {
                tokio::task::yield_now().await;
            }
        });
        answered.await.expect("the place is free again");
    });
}

/// Statements made to be deep are answered or refused; none overflows a stack.
#[test]
fn deep_statements() {
    let tier = Tier::new();
    let queries = tier.queries();
    let most = crate::engine::MAX_OPERATORS;
    let many = |n: usize, part: &str| part.repeat(n);
    let statements = [
        format!("SELECT 1{}", many(most - 10, "+1")),
        format!("SELECT Value{} FROM otel_logs", many(most - 10, "+Value")),
        format!("SELECT {}1", many(most - 10, "- ")),
        format!("SELECT {}true", many(most - 10, "NOT ")),
        format!("SELECT 1 FROM otel_logs WHERE Value = 0{}", many(most / 2 - 10, " OR Value=2")),
        format!("SELECT 1{}", many(most / 3 - 10, " UNION ALL SELECT 1")),
        format!("SELECT {}1{}", many(5_000, "("), many(5_000, ")")),
        format!("SELECT {}1{}", many(5_000, "abs("), many(5_000, ")")),
        format!("SELECT * FROM {}otel_logs{}", many(100, "(SELECT * FROM "), many(100, ")")),
        format!("SELECT {}1{}", many(100, "CASE WHEN true THEN "), many(100, " END")),
        format!("SELECT 1 FROM otel_logs{}", many(60, " NATURAL JOIN otel_empty")),
        format!("SELECT LogAttributes{} FROM otel_logs", many(200, "['a']")),
        format!("SELECT 'x'{}", many(200, "::text")),
        format!("SELECT {}1{}", many(200, "["), many(200, "]")),
        format!("SELECT 1 IN ({}1)", many(5_000, "1,")),
        "SELECT '".to_owned() + &many(10_000, "x"),
        many(5_000, "EXPLAIN "),
        many(5_000, "/*"),
        many(5_000, "WITH x AS ("),
    ];
    let limits = Limits { time: Duration::from_secs(60), ..Limits::default() };
    for sql in statements {
        let shown = &sql[..40];
        match ask_with(&queries, "acme", &sql, limits, Format::Json) {
            Ok(_) | Err(QueryError::Statement(_)) => {}
            Err(other) => panic!("{shown}: {other:?}"),
        }
    }
    let long = ask_with(&queries, "acme", &format!("SELECT 1{}", many(most + 1, "+1")), limits, Format::Json).unwrap_err().to_string();
    assert!(long.contains("at most 500") && long.contains("IN (...)"), "{long}");
    assert!(ask_with(&queries, "acme", &many(40_000, " "), limits, Format::Json).unwrap_err().to_string().contains("at most 32768"));
}

/// Functions that make much of little are not there.
#[test]
fn functions_that_inflate_are_not_offered() {
    for call in [
        "repeat('x', 1000000000)",
        "lpad('x', 1000000000)",
        "range(0, 1000000000)",
        "array_repeat(1, 1000000000)",
        "arrow_cast('x', 'LargeUtf8')",
    ] {
        let error = failure(&format!("SELECT {call}"), Limits::default());
        assert!(error.to_string().contains("Invalid function"), "{call}: {error}");
    }
}
