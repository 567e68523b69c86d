//! A scenario file that says nothing, or something else than is done, would prove nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// With what every scenario must expect.
fn parse(text: &str) -> Result<Scenario, String> {
    let text = if text.contains("expect:") { text.to_owned() } else { format!("{text}expect: {{recovery: 5s, rss: 160MiB}}\n") };
    let text = text.as_str();
    let document = service::config::Document::from_text(std::path::Path::new("s.yaml"), text, "TRIBUTARY_LAB", []).unwrap();
    let raw = document.parse::<Raw>().map_err(|error| error.to_string())?;
    raw.check("s").map_err(|invalid| document.error(invalid).to_string())
}

/// Every file of the folder is in the library, and every one of the library is a scenario, also in its quick form.
#[test]
fn the_library_is_the_folder() {
    let known: BTreeSet<String> = library::all().unwrap().into_iter().map(|scenario| scenario.name).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert_eq!(known, files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect());
    for scenario in library::all().unwrap() {
        let Some(factor) = scenario.quick else { continue };
        let quick = scenario.scaled(factor);
        let last = timeline(&quick.faults).last().map_or(Duration::ZERO, |event| event.at);
        assert!(last < Duration::from_secs(quick.load.seconds), "{}: its load ends before its last fault", quick.name);
    }
}

/// Mistakes are told with their key: unknown ones, two things in one fault, hosts that do not stand there.
#[test]
fn mistakes_are_told() {
    for (text, told) in [
        ("about: x\nload: {rate: 1000, seconds: 9}\nfault: []\n", "fault"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, cut: west, kill: west}]\n", "exactly one"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, cut: east}]\n", "does not stand"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, for: 9s, cut: west}]\n", "load.seconds"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, fill: west}]\n", "topology.disks"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, clock: {of: west, offset: 1h}}]\n", "+1h"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, for: 2s, around: true, cut: west}]\n", "faults[0].around"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nfaults: [{at: 1s, for: 2s, around: true, block_udp: west}]\n", "meanwhile_percent"),
        ("about: x\nload: {rate: 1000, seconds: 9}\nexpect: {recovery: 5s}\n", "rss"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

/// A fault that comes several times is broken and whole in turn; shorter times keep their order.
#[test]
fn faults_become_moments() {
    let text = "about: x\nload: {rate: 1000, seconds: 60}\nfaults:\n  - {at: 10s, for: 1s, every: 4s, times: 3, cut: west}\n  - {at: 12s, kill: r1}\n";
    let scenario = parse(text).unwrap();
    let at = |scenario: &Scenario| timeline(&scenario.faults).iter().map(|event| event.at.as_secs()).collect::<Vec<_>>();
    assert_eq!(at(&scenario), [10, 11, 12, 14, 15, 18, 19]);
    assert_eq!(timeline(&scenario.faults)[2].fault, 1);
    assert_eq!(at(&scenario.scaled(0.5)), [5, 6, 6, 9, 10]);
}
