//! No statement reaches another tenant, and none changes anything.

use super::*;

/// A tenant sees its own rows of a table, and the other's statement over the same table sees the other's.
#[test]
fn the_same_statement_sees_only_its_own_tenant() {
    let (tier, sql) = (Tier::new(), "SELECT Body FROM otel_logs ORDER BY Body");
    let of = |name| ask_with(&tier.queries(), name, sql, Limits::default(), Format::Csv).unwrap().0;
    assert_eq!(of("acme"), "Body\n14a\n14b\n15a\n15b\n16a\n16b\nnone\n");
    assert_eq!(of("beta"), format!("Body\n{SECRET}\n"));
    assert_eq!(of("nobody"), "Body\n");
}

/// Whatever names another place is refused as a statement: paths, addresses, functions that read files, other catalogs.
#[test]
fn no_name_leads_out() {
    let tier = Tier::new();
    let file = tier.dir("beta", "day=2026-11-22/hour=15").join("0-1-2.parquet");
    let (file, root) = (file.display(), tier.path().display());
    let names = [
        format!("'{file}'"),
        format!("\"{file}\""),
        format!("'file://{file}'"),
        format!("\"file://{root}/tenant=beta/table=otel_logs/\""),
        "'../tenant=beta/table=otel_logs/'".to_owned(),
        "\"tier://tenant/../tenant=beta/table=otel_logs/\"".to_owned(),
        "'tier://tenant/table=otel_logs/'".to_owned(),
        "'https://localhost/x.parquet'".to_owned(),
        "\"tenant=beta\".otel_logs".to_owned(),
        "beta.otel_logs".to_owned(),
        "tributary.beta.otel_logs".to_owned(),
        "datafusion.public.otel_logs".to_owned(),
        "\"../tenant=beta/table=otel_logs\"".to_owned(),
        format!("read_parquet('{file}')"),
        format!("parquet_scan('{file}')"),
        format!("parquet_metadata('{file}')"),
        "read_csv('/etc/hostname')".to_owned(),
        "read_text('/etc/hostname')".to_owned(),
        "generate_series(1, 10)".to_owned(),
    ];
    for name in names {
        let error = ask(&tier, &format!("SELECT * FROM {name}")).expect_err(&name);
        assert!(matches!(error, QueryError::Statement(_)), "{name}: {error:?}");
        assert!(!error.to_string().contains(SECRET) && !error.to_string().contains('\n'), "{name}: {error}");
    }
}

/// What the session says about itself names the tenant's tables, and neither another tenant nor a directory of this machine.
#[test]
fn the_catalog_knows_one_tenant() {
    let tier = Tier::new();
    let root = tier.path().display().to_string();
    assert_eq!(
        ask(&tier, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'tenant' ORDER BY 1").unwrap(),
        "table_name\notel_empty\notel_logs\n"
    );
    for sql in [
        "SHOW TABLES",
        "SHOW COLUMNS FROM otel_logs",
        "DESCRIBE otel_logs",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.schemata",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM information_schema.routines",
        "EXPLAIN SELECT * FROM otel_logs",
        "EXPLAIN ANALYZE VERBOSE SELECT * FROM otel_logs",
    ] {
        let text = ask(&tier, sql).unwrap();
        assert!(text.lines().count() > 1 || sql.ends_with("views"), "{sql}: {text}");
        assert!(!text.contains("beta") && !text.contains(&root), "{sql}: {text}");
    }
}

/// Everything but a question is refused in one line that says what is expected, and the tier is as it was.
#[test]
fn nothing_can_be_changed() {
    let tier = Tier::new();
    let out = tier.path().join("out.csv");
    let beta = tier.dir("beta", "");
    for sql in [
        format!("COPY otel_logs TO '{}'", out.display()),
        format!("COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'", beta.display()),
        format!("EXPLAIN CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'", beta.display()),
        "EXPLAIN COPY otel_logs TO 'x.csv'".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "CREATE SCHEMA beta".to_owned(),
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN x".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "INSERT INTO otel_logs SELECT * FROM otel_logs".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO otel_logs SELECT * FROM otel_logs".to_owned(),
        "WITH x AS (SELECT 1) INSERT INTO otel_logs SELECT * FROM x".to_owned(),
        "DELETE FROM otel_logs".to_owned(),
        "UPDATE otel_logs SET Body = 'x'".to_owned(),
        "TRUNCATE TABLE otel_logs".to_owned(),
        "DROP TABLE otel_logs".to_owned(),
        "ALTER TABLE otel_logs ADD COLUMN x INT".to_owned(),
        "SET datafusion.catalog.location = '/'".to_owned(),
        "RESET datafusion.catalog.location".to_owned(),
        "BEGIN".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELECT 1; DROP TABLE otel_logs".to_owned(),
        String::new(),
    ] {
        let error = ask(&tier, &sql).expect_err(&sql);
        assert!(matches!(error, QueryError::Statement(_)), "{sql}: {error:?}");
        assert_eq!(error.to_string().lines().count(), 1, "{sql}: {error}");
    }
    assert!(!out.exists() && !Path::new("x.csv").exists());
    assert_eq!(ask(&tier, "SELECT count(*) AS n FROM otel_logs").unwrap(), "n\n7\n");
}

/// A tenant's name cannot be a path: it is of an alphabet without separators, and stands behind `tenant=`.
#[test]
fn names_of_tenants_are_not_paths() {
    for bad in ["../beta", "beta/..", "a/../../tenant=beta", "..", ".", "", "beta\0", "%2e%2e", "acme/../beta"] {
        assert!(TenantId::new(bad).is_err(), "{bad:?}");
    }
}
