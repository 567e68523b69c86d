//! A certificate authority for one federation, enough to start with: `pki init` and `pki issue`.
//!
//! ```text
//! DIR/ca.pem, ca.key           the authority (keep ca.key off the routers)
//! DIR/router.pem, router.key   a router: spiffe://tributary/router/<name>, its DNS names and addresses
//! DIR/edges/<name>.pem, .key   an edge: spiffe://tributary/edge/<name>
//! DIR/edges.yaml               the allow-list: which edges may connect, with which tenants
//! ```
//!
//! Keys are ECDSA P-256, written 0600. Nothing is overwritten without being told to. Each file appears whole or not at all.
//! The identity in a certificate is its SPIFFE URI; what it may do stands in the allow-list, so that a change of tenants needs no
//! new certificate. Any other authority that puts these URIs into certificates (SPIRE, cert-manager) serves as well.

mod files;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use federation_proto::identity::{EdgeName, TenantId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use service::config::ConfigError;

use crate::civil::{DAY_SECONDS, Date};
use crate::edges::{Edge, Edges};

/// Trust domain of the SPIFFE ids.
pub const TRUST_DOMAIN: &str = "tributary";
/// Names that a router's certificate is for when none are given.
pub const DEFAULT_ROUTER_NAMES: &[&str] = &["localhost", "127.0.0.1", "router.tributary.internal"];
/// Lifetime of the authority, in days.
pub const CA_DAYS: u32 = 3_650;
/// Default lifetime of the certificates it issues, in days.
pub const LEAF_DAYS: u32 = 365;

/// Why a file of the authority was not made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Something is there already.
    #[error("{} exists; nothing was written. Give --force to replace it: what it signed or identified is then no longer trusted", .0.display())]
    Exists(PathBuf),
    /// There is no authority in the directory.
    #[error("{} cannot be read: {error}. Run `tributary-router pki init {}` first", path.display(), dir.display())]
    NoAuthority {
        /// The file looked for.
        path: PathBuf,
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A name that no certificate can carry, or a damaged authority.
    #[error("{what}: {error}")]
    Certificate {
        /// The value or file at fault.
        what: String,
        /// What the certificate library says.
        error: rcgen::Error,
    },
    /// The allow-list is not as it should be.
    #[error("{0}")]
    AllowList(#[source] ConfigError),
}

/// What `pki init` makes.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The router's name, in its SPIFFE id.
    pub router: EdgeName,
    /// DNS names and addresses of the router.
    pub names: Vec<String>,
    /// Lifetime of the router's certificate, in days.
    pub days: u32,
    /// Replace what is there.
    pub force: bool,
}

/// What `pki issue` makes.
#[derive(Debug, Clone)]
pub struct IssueOptions {
    /// The edge.
    pub edge: EdgeName,
    /// Whose records it may carry.
    pub tenants: Vec<TenantId>,
    /// Lifetime of its certificate, in days.
    pub days: u32,
    /// Replace what is there.
    pub force: bool,
}

/// The three files that a peer needs to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The peer's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The authority and router that [`init`] made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The router's identity.
    pub router: Identity,
    /// The authority's key.
    pub ca_key: PathBuf,
    /// The allow-list.
    pub edges: PathBuf,
}

/// Path of the allow-list in an authority's directory.
#[must_use]
pub fn edges_file(dir: &Path) -> PathBuf {
    dir.join("edges.yaml")
}

/// Paths of an edge's identity in an authority's directory, whether or not they exist.
#[must_use]
pub fn edge_identity(dir: &Path, edge: &EdgeName) -> Identity {
    let edges = dir.join("edges");
    Identity { ca: dir.join("ca.pem"), cert: edges.join(format!("{edge}.pem")), key: edges.join(format!("{edge}.key")) }
}

/// Makes an authority, a router's certificate and an empty allow-list in `dir`.
///
/// # Errors
/// [`PkiError::Exists`] when one of the files is there and `force` is not set: nothing is written then.
pub fn init(dir: &Path, options: &InitOptions) -> Result<Initialised, PkiError> {
    let made = Initialised {
        router: Identity { ca: dir.join("ca.pem"), cert: dir.join("router.pem"), key: dir.join("router.key") },
        ca_key: dir.join("ca.key"),
        edges: edges_file(dir),
    };
    let all = [&made.router.ca, &made.ca_key, &made.router.cert, &made.router.key, &made.edges];
    files::refuse_existing(&all, options.force)?;
    let (ca_cert, ca_key, issuer) = authority()?;
    let (cert, key) = sign(&issuer, router_params(options)?)?;
    files::make_dir(dir)?;
    files::write(&made.ca_key, ca_key.as_bytes(), files::Access::Secret)?;
    files::write(&made.router.ca, ca_cert.as_bytes(), files::Access::Public)?;
    files::write(&made.router.key, key.as_bytes(), files::Access::Secret)?;
    files::write(&made.router.cert, cert.as_bytes(), files::Access::Public)?;
    files::write(&made.edges, Edges::default().to_yaml().as_bytes(), files::Access::Public)?;
    Ok(made)
}

/// Issues an edge's certificate and puts the edge on the allow-list of `dir`.
///
/// # Errors
/// [`PkiError::NoAuthority`] without [`init`]; [`PkiError::Exists`] when the edge has a certificate and `force` is not set.
pub fn issue(dir: &Path, options: &IssueOptions) -> Result<Identity, PkiError> {
    let identity = edge_identity(dir, &options.edge);
    files::refuse_existing(&[&identity.cert, &identity.key], options.force)?;
    let issuer = read_authority(dir)?;
    let mut edges = Edges::load(&edges_file(dir)).map_err(PkiError::AllowList)?;
    let (cert, key) = sign(&issuer, edge_params(options)?)?;
    files::make_dir(&dir.join("edges"))?;
    files::write(&identity.key, key.as_bytes(), files::Access::Secret)?;
    files::write(&identity.cert, cert.as_bytes(), files::Access::Public)?;
    edges.edges.insert(options.edge.clone(), Edge { tenants: options.tenants.iter().cloned().collect() });
    files::write(&edges_file(dir), edges.to_yaml().as_bytes(), files::Access::Public)?;
    Ok(identity)
}

fn authority() -> Result<(String, String, Issuer<'static, KeyPair>), PkiError> {
    let mut params = params("Tributary CA", CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed("key of the authority"))?;
    let cert = params.self_signed(&key).map_err(failed("certificate of the authority"))?;
    Ok((cert.pem(), key.serialize_pem(), Issuer::new(params, key)))
}

fn read_authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).map_err(|error| PkiError::NoAuthority { path, dir: dir.to_owned(), error })
    };
    let (cert, key) = (read("ca.pem")?, read("ca.key")?);
    let key = KeyPair::from_pem(&key).map_err(failed(dir.join("ca.key").display()))?;
    Issuer::from_ca_cert_pem(&cert, key).map_err(failed(dir.join("ca.pem").display()))
}

fn router_params(options: &InitOptions) -> Result<CertificateParams, PkiError> {
    let mut names = Vec::with_capacity(options.names.len() + 1);
    for name in &options.names {
        let san = CertificateParams::new([name.clone()]).map_err(failed(format!("--name {name}")))?;
        names.extend(san.subject_alt_names);
    }
    let mut params = leaf(&format!("router {}", options.router), options.days, ExtendedKeyUsagePurpose::ServerAuth);
    params.subject_alt_names = names;
    params.subject_alt_names.push(spiffe("router", options.router.as_str())?);
    Ok(params)
}

fn edge_params(options: &IssueOptions) -> Result<CertificateParams, PkiError> {
    let mut params = leaf(&format!("edge {}", options.edge), options.days, ExtendedKeyUsagePurpose::ClientAuth);
    params.subject_alt_names.push(spiffe("edge", options.edge.as_str())?);
    Ok(params)
}

fn spiffe(kind: &str, name: &str) -> Result<SanType, PkiError> {
    let uri = format!("spiffe://{TRUST_DOMAIN}/{kind}/{name}");
    Ok(SanType::URI(uri.clone().try_into().map_err(failed(uri))?))
}

fn leaf(common_name: &str, days: u32, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = params(common_name, days);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Valid from yesterday (clocks differ) and for `days` from today, whole days in UTC.
fn params(common_name: &str, days: u32) -> CertificateParams {
    let today = today();
    let date = |date: Date| date_time_ymd(date.year, date.month, date.day);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(Date::from_unix_days(today.saturating_sub(1)));
    params.not_after = date(Date::from_unix_days(today + 1 + u64::from(days)));
    params
}

#[expect(clippy::disallowed_methods, reason = "driver: a certificate is valid from the day it is made")]
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY_SECONDS)
}

fn sign(issuer: &Issuer<'_, KeyPair>, params: CertificateParams) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(failed("key"))?;
    let cert = params.signed_by(&key, issuer).map_err(failed("certificate"))?;
    Ok((cert.pem(), key.serialize_pem()))
}

fn failed(what: impl ToString) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |error| PkiError::Certificate { what: what.to_string(), error }
}

#[cfg(test)]
mod tests;
