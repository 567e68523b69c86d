use super::*;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn raw(text: &str) -> Result<QueryConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("query.yaml");
    std::fs::write(&path, text).unwrap();
    service::config::load_valid(&path, "NONE", |raw: RawQuery| QueryConfig::check(&raw)).map_err(|error| error.to_string())
}

/// Without a word about it, the limits are those that README states, and nobody is known.
#[test]
fn defaults() {
    let config = raw("{}").unwrap();
    assert!(config.tokens.is_empty());
    assert_eq!((config.memory, config.rows, config.time.as_secs(), config.answer, config.concurrent), (256 << 20, 10_000, 30, 16 << 20, 4));
}

/// Each mistake is one line with key, value and what is expected.
#[test]
fn mistakes_name_key_and_remedy() {
    for (text, wanted) in [
        ("tokens: [{tenant: acme, sha256: abc}]", "query.tokens[0].sha256"),
        ("tokens: [{tenant: ACME, sha256: abc}]", "ACME"),
        ("time: 2m", "50s"),
        ("rows: 0", "query.rows: 0: expected"),
        ("memory: 1KiB", "query.memory: 1KiB: expected"),
        ("answer: 1KiB", "query.answer: 1KiB: expected"),
        ("concurrent: 0", "query.concurrent: 0: expected"),
        ("nope: 1", "nope"),
    ] {
        let error = raw(text).expect_err(text);
        assert!(error.contains(wanted) && error.lines().count() == 1, "{text}: {error}");
    }
    let twice = format!("tokens: [{{tenant: acme, sha256: {SECRET}}}, {{tenant: beta, sha256: {}}}]", SECRET.to_uppercase());
    assert!(raw(&twice).is_err());
}

#[cfg(feature = "sql")]
mod over_http {
    use axum::body::Body;
    use axum::extract::{Request, State};
    use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
    use federation_proto::codec::{DecodeLimits, Decoder};
    use federation_proto::identity::Signal;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use prost::Message;

    use super::super::endpoint::{answer, desk};
    use super::*;
    use crate::testing::{batch_id, encoded};
    use crate::tier::local::LocalTier;
    use crate::tier::{Unit, UnitBatch};

    /// SHA-256 of `other`.
    const OTHER: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
    /// 2026-11-22T15:00:00Z.
    const TIME: u64 = 1_795_359_600_000_000_000;

    fn logs(seq: u64, tenant: &str, body: &str) -> UnitBatch {
        let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
        let attributes = vec![KeyValue { key: "http.route".to_owned(), value: text("/pay"), ..KeyValue::default() }];
        let record = LogRecord { time_unix_nano: TIME, body: text(body), attributes, ..LogRecord::default() };
        let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
        let (header, payload) = encoded(batch_id(1, seq), tenant, Signal::Logs, &request.encode_to_vec());
        let columns = Decoder::decode(header.signal, header.encoding, &payload, &DecodeLimits::default()).unwrap();
        UnitBatch { seq, tenant: header.tenant, signal: header.signal, raw_bytes: header.raw_bytes, columns }
    }

    /// A tier as the router writes it, and a desk over it: `secret` is acme's token, `other` beta's.
    async fn ask(extra: &str, headers: &[(header::HeaderName, &'static str)], uri: &str, body: &str) -> (StatusCode, HeaderMap, String) {
        let dir = tempfile::tempdir().unwrap();
        let tier = format!("{{local: {{path: {}}}}}", dir.path().display());
        let config = dir.path().join("tier.yaml");
        std::fs::write(&config, tier).unwrap();
        let TierConfig::Local(local) = service::config::load_file::<TierConfig>(&config).unwrap() else { panic!("a local tier") };
        let batches = vec![logs(1, "acme", "acme's"), logs(2, "beta", "beta's")];
        LocalTier::open(&local, [1; 16]).unwrap().write_now(&Unit { journal: [1; 16], range: 1..=2, batches }).unwrap();

        let tokens = format!("tokens: [{{tenant: acme, sha256: {SECRET}}}, {{tenant: beta, sha256: {OTHER}}}]\n{extra}");
        let desk = desk(dir.path(), &raw(&tokens).unwrap()).unwrap();
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(name, HeaderValue::from_static(value));
        }
        let response = answer(State(desk), request.body(Body::from(body.to_owned())).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    const ACME: (header::HeaderName, &str) = (header::AUTHORIZATION, "Bearer secret");
    const BETA: (header::HeaderName, &str) = (header::AUTHORIZATION, "bearer other");
    const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json; charset=utf-8");

    /// The token names the tenant: the same statement gives each its own rows, as the tier wrote them.
    #[tokio::test]
    async fn the_token_names_the_tenant() {
        let sql = "SELECT Body, LogAttributes['http.route'] AS route, hour FROM otel_logs WHERE Timestamp = '2026-11-22T15:00:00Z'";
        let (status, headers, body) = ask("", &[ACME], "/api/v1/query", sql).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "[{\"Body\":\"acme's\",\"route\":\"/pay\",\"hour\":15}]\n"));
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(headers["x-tributary-more"], "false");
        let (_, _, body) = ask("", &[BETA], "/api/v1/query?format=csv", sql).await;
        assert_eq!(body, "Body,route,hour\nbeta's,/pay,15\n");
    }

    /// Every table of the tier can be asked, files or not.
    #[tokio::test]
    async fn every_table_is_there() {
        for table in crate::tier::local::tables::Table::ALL {
            let sql = format!("{{\"sql\": \"SELECT * FROM {} WHERE hour = 3\", \"format\": \"json\"}}", table.name());
            let (status, _, body) = ask("", &[ACME, JSON], "/api/v1/query", &sql).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "[]\n"), "{}", table.name());
        }
    }

    /// Who has no token of a tenant is told nothing else.
    #[tokio::test]
    async fn unknown_tokens_are_refused() {
        for headers in [
            &[][..],
            &[(header::AUTHORIZATION, "Bearer wrong")],
            &[(header::AUTHORIZATION, "Basic secret")],
            &[(header::AUTHORIZATION, "Bearer ")],
        ] {
            let (status, answer, body) = ask("", headers, "/api/v1/query", "SELECT 1").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}: {body}");
            assert_eq!(answer[header::WWW_AUTHENTICATE], "Bearer");
        }
    }

    /// What is wrong is said in one line, with a status by whose it is.
    #[tokio::test]
    async fn mistakes_and_limits_have_their_status() {
        let endless = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x FROM n) SELECT max(x) FROM n";
        let long = "SELECT Body FROM otel_logs, otel_logs, otel_logs";
        for (extra, headers, uri, sql, status) in [
            ("", &[ACME][..], "/", "SELEC 1", StatusCode::BAD_REQUEST),
            ("", &[ACME], "/", long, StatusCode::BAD_REQUEST),
            ("", &[ACME], "/", "DROP TABLE otel_logs", StatusCode::BAD_REQUEST),
            ("", &[ACME], "/?format=xml", "SELECT 1", StatusCode::BAD_REQUEST),
            ("", &[ACME], "/?nope=1", "SELECT 1", StatusCode::BAD_REQUEST),
            ("", &[ACME, JSON], "/", "SELECT 1", StatusCode::BAD_REQUEST),
            ("", &[ACME, JSON], "/", "{\"sql\": \"SELECT 1\", \"tenant\": \"beta\"}", StatusCode::BAD_REQUEST),
            ("time: 200ms", &[ACME], "/", endless, StatusCode::REQUEST_TIMEOUT),
        ] {
            let (found, _, body) = ask(extra, headers, uri, sql).await;
            assert_eq!((found, body.lines().count()), (status, 1), "{sql}: {body}");
        }
    }

    /// The answer says whether the limit of rows cut it; a request cannot raise the configured one.
    #[tokio::test]
    async fn cut_answers_say_so() {
        for (uri, extra) in [("/?limit=1&format=csv", ""), ("/?limit=9&format=csv", "rows: 1")] {
            let (status, headers, body) = ask(extra, &[ACME], uri, "VALUES (1), (2)").await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "column1\n1\n"), "{uri}");
            assert_eq!(headers["x-tributary-more"], "true", "{uri}");
        }
    }
}
