use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: Listen,
    #[serde(default)]
    ship: Ship,
    #[serde(default)]
    tiers: Vec<Tier>,
    #[serde(default)]
    tenants: BTreeMap<String, Quota>,
    name: Option<String>,
    #[serde(default)]
    mode: Mode,
}

/// Without `deny_unknown_fields`, on purpose.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Ship {
    link_cap: Option<Rate>,
    segment_bytes: ByteSize,
    drain: Span,
    retries: u16,
    compress: bool,
    ratio: f64,
    workers: Option<NonZeroU32>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Tier {
    path: String,
    #[serde(default)]
    weight: u8,
    #[serde(default)]
    sink: Sink,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Sink {
    #[default]
    Null,
    Local {
        root: String,
    },
    Remote(Rate),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Quota {
    Limited { rate: Rate, burst: ByteSize },
    Open { note: Option<String> },
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Normal,
    DryRun,
}

const FULL: &str = "\
# a comment
listen: 127.0.0.1:4317
ship:
  link_cap: 10Mbit/s
  segment_bytes: 64MiB
  drain: 1m30s
  retries: 5
  compress: true
  ratio: 0.5
tiers:
  - path: /var/a
    weight: 3
  - path: 1.10
    sink:
      local: { root: /srv }
tenants:
  acme: { kind: limited, rate: 4MiB/s, burst: 1MiB }
  e.corp:
    kind: open
mode: dry_run
";

fn document(text: &str, variables: &[(&str, &str)]) -> Result<Document, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Document::from_text("edge.yaml".as_ref(), text, "TRIBUTARY_EDGE", variables)
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    document(text, variables)?.parse()
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    parse(text, variables).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn line<T: Debug>(result: Result<T, ConfigError>) -> String {
    let line = result.expect_err("a wrong configuration").to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

/// The error of `FULL` with one line replaced by another.
#[track_caller]
fn error_with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from} is in the example");
    line(parse(&FULL.replacen(from, to, 1), &[]))
}

/// Every kind of value arrives as what its key wants, a number where text is wanted included.
#[test]
fn a_whole_configuration_is_read() {
    let config = good(FULL, &[]);
    assert_eq!(config.listen.0.port(), 4317);
    assert_eq!(config.ship.link_cap, Some(Rate::mbit(10)));
    assert_eq!(config.ship.segment_bytes, ByteSize::mib(64));
    assert_eq!(config.ship.drain.0, Duration::from_secs(90));
    assert_eq!(config.ship.ratio, 0.5);
    assert!(config.ship.compress);
    assert_eq!(config.tiers[1].path, "1.10", "as written, not 1.1");
    assert_eq!(config.tiers[1].sink, Sink::Local { root: "/srv".into() });
    assert_eq!(config.tenants.len(), 2);
    assert_eq!(config.mode, Mode::DryRun);
}

/// A key that does not exist is an error with its line, its path and the key that was meant,
/// whether the type denies unknown fields (`tiers`) or forgot to (`ship`).
#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    for (from, to, expected) in [
        ("listen:", "lsiten:", "edge.yaml:2:1: lsiten: unknown key: did you mean listen?"),
        ("  link_cap:", "  linkcap:", "edge.yaml:4:3: ship.linkcap: unknown key: did you mean link_cap?"),
        ("    weight: 3", "    wieght: 3", "edge.yaml:12:5: tiers[0].wieght: unknown key: did you mean weight?"),
        ("    weight: 3", "    colour: 3", "edge.yaml:12:5: tiers[0].colour: unknown key: expected one of path, weight, sink"),
        ("{ root: /srv }", "{ root: /srv, rot: 1 }", "edge.yaml:15:28: tiers[1].sink.local.rot: unknown key: did you mean root?"),
    ] {
        assert_eq!(error_with(from, to), expected);
    }
}

/// A value of the wrong type or out of range is an error with its line, path and what to write.
#[test]
fn a_wrong_value_says_what_is_expected() {
    for (from, to, expected) in [
        ("10Mbit/s", "10 Mbps", "edge.yaml:4:13: ship.link_cap: invalid value \"10 Mbps\": expected a rate such as 10Mbit/s or 4MiB/s"),
        ("10Mbit/s", "10", "edge.yaml:4:13: ship.link_cap: invalid value \"10\": expected a rate such as 10Mbit/s or 4MiB/s"),
        (
            "127.0.0.1:4317",
            "localhost:4317",
            "edge.yaml:2:9: listen: invalid value \"localhost:4317\": expected an IP address and a port such as 127.0.0.1:4317 or [::]:4317",
        ),
        ("retries: 5", "retries: 70000", "edge.yaml:7:12: ship.retries: invalid value 70000: expected a whole number from 0 to 65535"),
        ("retries: 5", "retries: many", "edge.yaml:7:12: ship.retries: invalid value \"many\": expected a whole number from 0 to 65535"),
        ("compress: true", "compress: yes", "edge.yaml:8:13: ship.compress: invalid value \"yes\": expected true or false"),
        ("ratio: 0.5", "workers: 0", "edge.yaml:9:12: ship.workers: invalid value 0: expected a whole number above 0"),
        ("    weight: 3", "    weight: [3]", "edge.yaml:12:13: tiers[0].weight: found a list: expected a whole number from 0 to 255"),
        ("    weight: 3", "    weight:", "edge.yaml:12:11: tiers[0].weight: no value: expected a whole number from 0 to 255"),
        ("path: 1.10", "path: { a: b }", "edge.yaml:13:11: tiers[1].path: found a mapping of keys: expected text"),
        ("dry_run", "dryrun", "edge.yaml:20:7: mode: unknown value \"dryrun\": did you mean dry_run?"),
        (
            "local: { root: /srv }",
            "loca: { root: /srv }",
            "edge.yaml:15:7: tiers[1].sink.loca: unknown value \"loca\": did you mean local?",
        ),
        (
            "local: { root: /srv }",
            "remote: 5",
            "edge.yaml:15:15: tiers[1].sink.remote: invalid value \"5\": expected a rate such as 10Mbit/s or 4MiB/s",
        ),
    ] {
        assert_eq!(error_with(from, to), expected);
    }
}

/// Whole sections of the wrong shape are told from wrong values.
#[test]
fn a_wrong_shape_says_what_is_expected() {
    let listen = "listen: 127.0.0.1:1\n";
    for (section, expected) in [
        (
            "ship: -----BEGIN PRIVATE KEY----- MIGHAgEAMBMGByqGSM49AgEG",
            "ship: invalid value \"-----BEGIN PRIVATE KEY----- MIGHAgEAMBMG…\": expected a mapping of keys",
        ),
        ("ship: fast", "ship: invalid value \"fast\": expected a mapping of keys"),
        ("ship: [1, 2]", "ship: found a list: expected a mapping of keys"),
        ("tiers: { path: /a }", "tiers: found a mapping of keys: expected a list"),
        ("tiers: [/a]", "tiers[0]: invalid value \"/a\": expected a mapping of keys"),
        ("tiers: [{ path: /a, sink: local }]", "tiers[0].sink: local needs values of its own: write it as a key with them below it"),
    ] {
        let line = line(parse(&format!("{listen}{section}\n"), &[]));
        assert!(line.starts_with("edge.yaml:2:"), "{line}");
        assert!(line.ends_with(expected), "{line} ends with {expected}");
    }
}

/// A missing key is reported where its section begins.
#[test]
fn a_missing_key_is_named() {
    assert_eq!(line(parse("name: a\n", &[])), "edge.yaml:1:1: listen: missing: this key is required");
    assert_eq!(line(parse("", &[])), "edge.yaml:1:1: listen: missing: this key is required");
    assert_eq!(
        error_with("  - path: /var/a\n    weight: 3", "  - weight: 3"),
        "edge.yaml:11:5: tiers[0].path: missing: this key is required"
    );
}

/// A section whose keys are all commented out is an empty one, and an empty key is no value.
#[test]
fn empty_sections_and_keys_are_no_values() {
    let config = good("listen: 127.0.0.1:1\nship:\n  # link_cap: 1MiB/s\nname:\n", &[]);
    assert_eq!(config.ship, Ship::default());
    assert_eq!(config.name, None);
}

/// serde buffers internally tagged enums and loses their places; they are found again by the key
/// or the value that the error names.
#[test]
fn errors_within_tagged_enums_are_placed() {
    for (from, to, expected) in [
        ("burst: 1MiB", "brust: 1MiB", "edge.yaml:17:40: tenants.acme.brust: unknown key: did you mean burst?"),
        (
            "rate: 4MiB/s",
            "rate: 4 mbps",
            "edge.yaml:17:32: tenants.acme.rate: invalid value \"4 mbps\": expected a rate such as 10Mbit/s or 4MiB/s",
        ),
        ("kind: open", "kind: opne", "edge.yaml:19:11: tenants.\"e.corp\".kind: unknown value \"opne\": did you mean open?"),
        ("    kind: open", "    note: open", "edge.yaml:19:5: tenants.\"e.corp\".kind: missing: this key is required"),
    ] {
        assert_eq!(error_with(from, to), expected);
    }
}

/// Text that is not YAML, or YAML that cannot be right, has its line and fits one line itself.
#[test]
fn broken_yaml_has_its_line() {
    for (text, expected) in [
        ("listen: [1,\n", "edge.yaml:"),
        ("a: b: c\n", "edge.yaml:1:"),
        ("listen: x\nlisten: y\n", "edge.yaml:2:1: not valid YAML: duplicate"),
        ("listen: *nowhere\n", "edge.yaml:1:9: not valid YAML: "),
        ("a: 1\n--- \nb: 2\n", "edge.yaml:"),
        ("\tlisten: x\n", "edge.yaml:1:"),
    ] {
        let line = line(parse(text, &[]));
        assert!(line.starts_with(expected), "{line} starts with {expected}");
        assert_eq!(line.matches(" line ").count(), 0, "the place is said once: {line}");
    }
}

/// A short file cannot become a large tree.
#[test]
fn nesting_and_aliases_are_bounded() {
    let deep = "[".repeat(1_000);
    assert!(line(parse(&deep, &[])).starts_with("edge.yaml:1:"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let alias = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", alias.trim_end_matches(", ")));
    }
    assert!(line(parse(&bomb, &[])).starts_with("edge.yaml:"));
}

/// Aliases and merges are expanded, and an error within one is placed where it is used.
#[test]
fn aliases_are_placed_where_they_are_used() {
    let text = "listen: 127.0.0.1:1\nname: &n ten\nship:\n  retries: *n\n";
    let line = line(parse(text, &[]));
    assert_eq!(line, "edge.yaml:4:12: ship.retries: invalid value \"ten\": expected a whole number from 0 to 65535");
}

/// The environment overrides values, makes what is missing, and is read as what the key wants.
#[test]
fn overrides_replace_and_add() {
    let config = good(
        FULL,
        &[
            ("TRIBUTARY_EDGE__SHIP__LINK_CAP", "4MiB/s"),
            ("TRIBUTARY_EDGE__ship__Retries", "9"),
            ("TRIBUTARY_EDGE__SHIP__COMPRESS", "false"),
            ("TRIBUTARY_EDGE__SHIP__RATIO", "0.25"),
            ("TRIBUTARY_EDGE__SHIP__WORKERS", "2"),
            ("TRIBUTARY_EDGE__NAME", "007"),
            ("TRIBUTARY_EDGE__TIERS__0__PATH", "/var/b"),
            ("TRIBUTARY_EDGE__TIERS__2__PATH", "/var/c"),
            ("TRIBUTARY_EDGE__TIERS__2__SINK__REMOTE", "1MB/s"),
            ("TRIBUTARY_EDGE__TENANTS__E_CORP__NOTE", "hello"),
            ("TRIBUTARY_EDGE__MODE", "normal"),
            ("TRIBUTARY_EDGE_LISTEN", "not an override: one underscore"),
            ("TRIBUTARY_EDGEWARE__LISTEN", "another program's"),
        ],
    );
    assert_eq!(config.ship.link_cap, Some(Rate(4 << 20)));
    assert_eq!((config.ship.retries, config.ship.compress), (9, false));
    assert_eq!((config.ship.ratio, config.ship.workers), (0.25, NonZeroU32::new(2)));
    assert_eq!(config.name.as_deref(), Some("007"));
    let paths: Vec<&str> = config.tiers.iter().map(|tier| tier.path.as_str()).collect();
    assert_eq!(paths, ["/var/b", "1.10", "/var/c"]);
    assert_eq!(config.tiers[2].sink, Sink::Remote(Rate(1_000_000)));
    let note = Some("hello".to_owned());
    assert_eq!(config.tenants["e.corp"], Quota::Open { note });
    assert_eq!(config.mode, Mode::Normal);
}

/// Lists and sections can come from the environment alone, ten items and more in their order; an
/// empty value is no value.
#[test]
fn overrides_alone_make_a_configuration() {
    let names: Vec<String> = (0..12).map(|n| format!("TRIBUTARY_EDGE__TIERS__{n}__PATH")).collect();
    let paths: Vec<String> = (0..12).map(|n| format!("/{n}")).collect();
    let mut variables: Vec<(&str, &str)> = names.iter().zip(&paths).map(|(name, path)| (name.as_str(), path.as_str())).collect();
    variables.push(("TRIBUTARY_EDGE__LISTEN", "[::1]:80"));
    variables.push(("TRIBUTARY_EDGE__NAME", ""));
    let config = good("", &variables);
    let read: Vec<&String> = config.tiers.iter().map(|tier| &tier.path).collect();
    assert_eq!(read, paths.iter().collect::<Vec<_>>());
    assert_eq!(config.name, None);
}

/// A wrong override names its variable instead of a line of the file.
#[test]
fn a_wrong_override_names_its_variable() {
    for (name, value, expected) in [
        ("TRIBUTARY_EDGE__SHIP__LINK_CAP", "fast", ": ship.link_cap: invalid value \"fast\": expected a rate such as 10Mbit/s or 4MiB/s"),
        ("TRIBUTARY_EDGE__SHIP__RETRIES", "70000", ": ship.retries: invalid value 70000: expected a whole number from 0 to 65535"),
        ("TRIBUTARY_EDGE__SHPI__RETRIES", "1", ": shpi: unknown key: did you mean ship?"),
        ("TRIBUTARY_EDGE__SHIP__RETRIS", "1", ": ship.retris: unknown key: did you mean retries?"),
        ("TRIBUTARY_EDGE__SHIP", "1", ": ship: invalid value 1: expected a mapping of keys"),
        ("TRIBUTARY_EDGE__TIERS__0__WEIGHT__MORE", "1", ": tiers.0.weight: is a single value, it has no keys"),
        ("TRIBUTARY_EDGE__TIERS__7__PATH", "/a", ": tiers.7: the list has 2 items: expected an index from 0 to 2"),
        ("TRIBUTARY_EDGE__TIERS__X__PATH", "/a", ": tiers.X: expected the index of a list's item, 0 to 2"),
        ("TRIBUTARY_EDGE__SHIP____RETRIES", "1", ": names no key: expected a name such as TRIBUTARY_EDGE__SECTION__KEY"),
        ("TRIBUTARY_EDGE__TIERS__2__WEIGHT", "1", ": tiers[2].path: missing: this key is required"),
        (
            "TRIBUTARY_EDGE__TENANTS__ACME__RATE",
            "4 mbps",
            ": tenants.acme.rate: invalid value \"4 mbps\": expected a rate such as 10Mbit/s or 4MiB/s",
        ),
    ] {
        assert_eq!(line(parse(FULL, &[(name, value)])), format!("{name}{expected}"));
    }
    let large = "x".repeat(overrides::MAX_VALUE_BYTES + 1);
    let line = line(parse(FULL, &[("TRIBUTARY_EDGE__NAME", &large)]));
    assert!(line.contains("at most 65536 are accepted"), "{line}");
}

/// An override whose value is not UTF-8 is refused, not replaced by something else.
#[test]
fn an_override_must_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let variables = [(OsString::from("TRIBUTARY_EDGE__NAME"), value)];
    let document = Document::from_text("edge.yaml".as_ref(), FULL, "TRIBUTARY_EDGE", variables);
    assert_eq!(line(document), "TRIBUTARY_EDGE__NAME: the value is not UTF-8");
}

/// What a binary's own validation finds has the place of its key, or of the section it is missing
/// from, or of the variable that set it.
#[test]
fn own_validation_is_placed_too() {
    let variables = [("TRIBUTARY_EDGE__SHIP__RETRIES", "9")];
    let document = document(FULL, &variables).expect("parses");
    for (key_path, at) in [
        ("tiers[1].path", "edge.yaml:13:11"),
        ("tiers[1]", "edge.yaml:13:5"),
        ("tenants.\"e.corp\".kind", "edge.yaml:19:11"),
        ("ship.link_cap", "edge.yaml:4:13"),
        ("ship.absent", "edge.yaml:4:3"),
        ("nowhere", "edge.yaml:2:1"),
        ("ship.retries", "TRIBUTARY_EDGE__SHIP__RETRIES"),
    ] {
        let error = document.error(Invalid::new(key_path, "is impossible"));
        assert_eq!(error.to_string(), format!("{at}: {key_path}: is impossible"));
        assert_eq!(error.key_path(), key_path);
        assert_eq!(error.message(), "is impossible");
    }
}

/// A file is read with its path in every error, and validation sees what was read.
#[test]
fn files_are_loaded_and_validated() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("edge.yaml");
    std::fs::write(&path, FULL).expect("written");
    let prefix = "TRIBUTARY_TEST_SETS_NO_SUCH_VARIABLE";
    let config: Config = load(&path, prefix).expect("loads");
    assert_eq!(config, good(FULL, &[]));
    assert_eq!(load_file::<Config>(&path).expect("loads"), config);
    let refused = load_valid(&path, prefix, |config: Config| match config.ship.retries {
        5 => Err(Invalid::new("ship.retries", "5 is one too many")),
        retries => Ok(retries),
    });
    let expected = format!("{}:7:12: ship.retries: 5 is one too many", path.display());
    assert_eq!(line(refused), expected);
}

/// A file that cannot be read, or is none of ours, says so with its path and a remedy.
#[test]
fn an_unreadable_file_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let large = vec![b'#'; MAX_FILE_BYTES as usize + 1];
    for (path, expected) in [
        (dir.path().join("absent.yaml"), "check the path given to --config"),
        (dir.path().to_path_buf(), "check the path given to --config"),
        (file("large.yaml", &large), "larger than 1MiB"),
        (file("latin1.yaml", b"a: b\nname: caf\xe9\n"), "not UTF-8 on line 2"),
    ] {
        let error = load::<Config>(&path, "X").expect_err("unreadable");
        let line = error.to_string();
        assert!(line.starts_with(&format!("{}: ", path.display())), "{line}");
        assert!(line.contains(expected), "{line}");
        assert_eq!((error.origin(), error.key_path()), (None, ""));
    }
}

proptest! {
    /// No text and no override makes loading panic, or an error of more than one line.
    #[test]
    fn anything_is_parsed_or_refused_in_one_line(
        text in "(\\PC|\n|\t|- |: |[a-z]: |[\\[\\]{}&*!|>'\"#]){0,60}",
        step in "(__|[A-Z0-9_]){0,12}",
        value in "\\PC{0,20}",
    ) {
        let name = format!("TRIBUTARY_EDGE__{step}");
        if let Err(error) = parse(&text, &[(&name, &value)]) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    /// A known configuration with any one line damaged is parsed, or refused in one line.
    #[test]
    fn a_damaged_configuration_is_parsed_or_refused(
        at in 0..FULL.len(),
        damage in "\\PC{0,4}",
    ) {
        let mut text = FULL.to_owned();
        text.insert_str(at, &damage);
        if let Err(error) = parse(&text, &[]) {
            let line = error.to_string();
            prop_assert!(line.starts_with("edge.yaml:") && !line.contains('\n'), "{}", line);
        }
    }
}
