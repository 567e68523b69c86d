use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// Writes an edge's certificate and key, good until that year.
fn issue(dir: &Path, issuer: &Issuer<'_, KeyPair>, last_year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    // Of another length each time: two writes may fall on one tick of the file system's clock.
    let pem = params.signed_by(&key, issuer).unwrap().pem() + &"\n".repeat((last_year as usize - 2000) / 100);
    fs::write(dir.join("edge.pem"), pem).unwrap();
    fs::write(dir.join("edge.key"), key.serialize_pem()).unwrap();
}

fn ship(dir: &Path) -> Ship {
    let yaml = format!(
        "name: eu-1\ndata_dir: {dir}\nidentity: {{ default_tenant: shared }}\nreceive: {{ grpc: \"127.0.0.1:0\" }}\nship:\n  \
         endpoints: [\"localhost:1\"]\n  tls: {{ ca: {dir}/ca.pem, cert: {dir}/edge.pem, key: {dir}/edge.key }}\n",
        dir = dir.display()
    );
    let path = dir.join("edge.yaml");
    fs::write(&path, yaml).unwrap();
    crate::Config::load(&path).unwrap_or_else(|error| panic!("{error}")).ship
}

/// A certificate that was replaced is used; files that do not fit each other, are none, or have expired leave the old in force and say why.
#[test]
fn certificates_are_read_again() {
    service::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    issue(dir.path(), &issuer, 2200);
    let dialer = Dialer::new(&ship(dir.path())).unwrap();
    let first = dialer.expires_unix_seconds();
    assert_eq!(dialer.refresh(), Refresh::Same);
    issue(dir.path(), &issuer, 2300);
    assert_eq!(dialer.refresh(), Refresh::Changed);
    let second = dialer.expires_unix_seconds();
    assert!(second > first);
    issue(dir.path(), &issuer, 2001);
    assert!(matches!(dialer.refresh(), Refresh::Kept(why) if why.contains("edge.pem") && why.contains("expired at")));
    fs::write(dir.path().join("edge.pem"), "nothing").unwrap();
    assert!(matches!(dialer.refresh(), Refresh::Kept(why) if why.contains("edge.pem")));
    fs::remove_file(dir.path().join("edge.key")).unwrap();
    assert!(matches!(dialer.refresh(), Refresh::Kept(why) if why.contains("edge.key")));
    assert_eq!(dialer.expires_unix_seconds(), second);
    issue(dir.path(), &issuer, 2400);
    assert_eq!(dialer.refresh(), Refresh::Changed);
}
