use super::*;

const MINIMAL: &str = "
data_dir: /tmp/router
listen: 127.0.0.1:4400
admin: {listen: 127.0.0.1:9400}
tls: {ca: ca.pem, cert: router.pem, key: router.key}
edges: edges.yaml
";
const TIER: &str = "tiers: {parquet: {local: {path: /tmp/parquet}}}\n";

fn load(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("router.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| error.to_string())
}

/// The five keys and one tier that README shows are enough, and what follows from them is stated once, here.
#[test]
fn the_minimal_file_is_enough() {
    let config = load(&format!("{MINIMAL}{TIER}")).unwrap();
    assert_eq!((config.max_batch, config.connections, config.credit), (8 << 20, 64, 16 << 20));
    assert_eq!(config.tiers.len(), 1);
    assert_eq!(config.default_ceiling, None);
}

/// Each mistake is one line that names the file, the key, the value or the remedy.
#[test]
fn mistakes_name_key_and_remedy() {
    for (extra, wanted) in [
        ("tiers: {}\n", vec!["tiers", "expected 1 to 16"]),
        ("tiers: {parquet: {local: {path: /p}}}\nnope: 1\n", vec!["nope"]),
        ("tiers: {parquet: {ftp: {path: /p}}}\n", vec!["ftp"]),
        ("tiers: {parquet: {local: {path: /p, flush_rows: 0}}}\n", vec!["tiers.parquet.local.flush_rows", "expected"]),
        ("tiers: {a: {local: {path: /p}}, b: {local: {path: /p/}}}\n", vec!["tiers.b", "tiers.a", "twice"]),
        ("tiers: {parquet: {local: {path: /p}}}\nmemory: 1MiB\n", vec!["memory", "1MiB", "expected at least"]),
        ("tiers: {parquet: {local: {path: /p}}}\ntenants: {acme: {rate: 1MiB/s, burst: 1MiB}}\n", vec!["tenants.acme.burst", "max_batch"]),
        ("tiers: {parquet: {local: {path: /p}}}\ntenants: {ACME: {rate: 1MiB/s}}\n", vec!["ACME"]),
        ("tiers: {parquet: {local: {path: /p}}}\njournal: {budget: 1MiB}\n", vec!["journal.budget", "expected at least"]),
        ("tiers: {parquet: {local: {path: /p}}}\ndefault_rate: 10B/s\n", vec!["default_rate", "1KiB/s"]),
    ] {
        let error = load(&format!("{MINIMAL}{extra}")).expect_err(extra);
        assert!(error.contains("router.yaml"), "{extra}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        for word in wanted {
            assert!(error.contains(word), "{extra}: {word} is not in: {error}");
        }
    }
}
