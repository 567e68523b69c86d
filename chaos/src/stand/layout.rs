//! Where a run's files lie, which ports its parts use, and the configuration of each: what an operator would write.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use service::tls::TlsFiles;

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct Layout {
    /// All else is below it.
    pub dir: PathBuf,
}

impl Layout {
    /// Makes the folder. It must be new or empty: a demo never writes into someone's data.
    ///
    /// # Errors
    /// When it cannot be made or holds files.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        if std::fs::read_dir(dir)?.next().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{}: not empty: name a new folder with --dir", dir.display()),
            ));
        }
        Self::with_folders(dir)
    }

    /// Makes the folder, or goes on in one that an earlier run made. It must be new, empty, or such a one.
    ///
    /// # Errors
    /// As [`Layout::create`].
    pub fn reopen(dir: &Path) -> io::Result<Self> {
        let ours = Self { dir: dir.to_owned() };
        if ours.config().is_dir() && ours.pki().is_dir() { Self::with_folders(dir) } else { Self::create(dir) }
    }

    fn with_folders(dir: &Path) -> io::Result<Self> {
        let layout = Self { dir: std::path::absolute(dir)? };
        for folder in [layout.config(), layout.logs(), layout.acknowledged()] {
            std::fs::create_dir_all(folder)?;
        }
        Ok(layout)
    }

    /// Certificates and the router's allow-list.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// The parts' configuration files.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// What the parts print.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// What that part prints.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    /// The senders' logs of what was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> PathBuf {
        self.dir.join("acknowledged")
    }

    /// The local tier: Parquet.
    #[must_use]
    pub fn tier(&self) -> PathBuf {
        self.dir.join("tier")
    }

    /// The router's certificate.
    #[must_use]
    pub fn router_tls(&self) -> TlsFiles {
        let pki = self.pki();
        TlsFiles { ca: pki.join("ca.pem"), cert: pki.join("router.pem"), key: pki.join("router.key") }
    }

    /// An edge's certificate.
    #[must_use]
    pub fn edge_tls(&self, edge: &str) -> TlsFiles {
        let edges = self.pki().join("edges");
        TlsFiles { ca: self.pki().join("ca.pem"), cert: edges.join(format!("{edge}.pem")), key: edges.join(format!("{edge}.key")) }
    }

    /// A part's working data: inbox, spool, journal.
    #[must_use]
    pub fn data(&self, part: &str) -> PathBuf {
        self.dir.join("data").join(part)
    }

    /// Writes a part's configuration and names the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, part: &str, yaml: &str) -> io::Result<PathBuf> {
        let path = self.config().join(format!("{part}.yaml"));
        std::fs::write(&path, yaml)?;
        Ok(path)
    }
}

/// A loopback port that is free for TCP and UDP now. Nothing holds it until the part starts; on a machine of our own that is enough.
///
/// # Errors
/// When none is free.
pub fn free_address() -> io::Result<SocketAddr> {
    for _ in 0..64 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no loopback port is free for both TCP and UDP"))
}

/// An edge.
#[derive(Debug, Clone)]
pub struct EdgeSpec {
    /// Its name, also in its certificate.
    pub name: &'static str,
    /// Its region.
    pub region: &'static str,
    /// Tenants that send through it, with their bearer tokens.
    pub tenants: Vec<(&'static str, String)>,
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// Admin endpoint.
    pub admin: SocketAddr,
}

impl EdgeSpec {
    /// An edge on free ports; each tenant's token is `token-of-<tenant>`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(name: &'static str, region: &'static str, tenants: &[&'static str]) -> io::Result<Self> {
        let tenants = tenants.iter().map(|&tenant| (tenant, format!("token-of-{tenant}"))).collect();
        Ok(Self { name, region, tenants, grpc: free_address()?, http: free_address()?, admin: free_address()? })
    }
}

/// Options of the local tier that write what comes within seconds.
pub const PROMPT_TIER: &str = "flush_interval: 2s";
/// Options of the local tier that write nothing before an hour or [`IDLE_TIER_RAW_BYTES`]: a router without the cost of its tier.
pub const IDLE_TIER: &str = "flush_interval: 1h, flush_bytes: 4GiB, flush_rows: 100000000";
/// OTLP bytes that a tier with [`IDLE_TIER`] lets wait.
pub const IDLE_TIER_RAW_BYTES: u64 = 4 << 30;

/// Settings beside those that every stand has.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Options of the router's local tier.
    pub tier: &'static str,
    /// More lines for the router's configuration.
    pub router: &'static str,
    /// More lines for every edge's configuration.
    pub edge: &'static str,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { tier: PROMPT_TIER, router: "", edge: "" }
    }
}

/// The router's configuration, with options of its local tier.
#[must_use]
pub fn router_yaml(layout: &Layout, listen: SocketAddr, admin: SocketAddr, tier_options: &str) -> String {
    router_yaml_at(layout, ("router", &layout.tier()), (listen, admin), tier_options)
}

/// The same for one of several routers: its part's name, its local tier's folder.
#[must_use]
pub fn router_yaml_at(
    layout: &Layout,
    (part, tier): (&str, &Path),
    (listen, admin): (SocketAddr, SocketAddr),
    tier_options: &str,
) -> String {
    let (pki, data) = (layout.pki(), layout.data(part));
    let name = if part == "router" { "router-1" } else { part };
    format!(
        "name: {name}
data_dir: {data}
listen: {listen}
admin: {{listen: {admin}}}
tls:
  ca: {pki}/ca.pem
  cert: {pki}/router.pem
  key: {pki}/router.key
edges: {pki}/edges.yaml
tiers:
  parquet:
    local: {{path: {tier}, {tier_options}}}
",
        data = data.display(),
        pki = pki.display(),
        tier = tier.display(),
    )
}

/// An edge's configuration. `router` is where it connects to: its relay.
#[must_use]
pub fn edge_yaml(layout: &Layout, edge: &EdgeSpec, router: SocketAddr) -> String {
    edge_yaml_to(layout, edge, &[router])
}

/// The same with several routers, in the order of preference.
#[must_use]
pub fn edge_yaml_to(layout: &Layout, edge: &EdgeSpec, routers: &[SocketAddr]) -> String {
    let routers = routers.iter().map(|router| format!("\"{router}\"")).collect::<Vec<_>>().join(", ");
    let (pki, data) = (layout.pki(), layout.data(edge.name));
    let mut tokens = String::new();
    for (tenant, token) in &edge.tenants {
        // Writing to a String cannot fail.
        let _ = writeln!(tokens, "    - {{tenant: {tenant}, sha256: {}}}", sha256_hex(token));
    }
    format!(
        "name: {name}
data_dir: {data}
labels: {{cloud: demo, region: {region}, kind: process}}
admin: {{listen: {admin}}}
receive: {{grpc: \"{grpc}\", http: \"{http}\"}}
identity:
  tokens:
{tokens}batch: {{age: 2s}}
ship:
  endpoints: [{routers}]
  server_name: localhost
  backoff: {{max: 1s}}
  tls:
    ca: {pki}/ca.pem
    cert: {pki}/edges/{name}.pem
    key: {pki}/edges/{name}.key
",
        name = edge.name,
        region = edge.region,
        data = data.display(),
        admin = edge.admin,
        grpc = edge.grpc,
        http = edge.http,
        pki = pki.display(),
    )
}

/// The agent's configuration. `endpoint` takes its OTLP/gRPC.
#[must_use]
pub fn agent_yaml(endpoint: SocketAddr, token: &str, admin: SocketAddr) -> String {
    format!(
        "node: {{name: demo-node}}
interval: 1s
admin: {{listen: {admin}}}
edge:
  endpoint: http://{endpoint}
  token: {token}
"
    )
}

pub(crate) fn sha256_hex(token: &str) -> String {
    digest(&SHA256, token.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with someone's files is refused, and the message says what to do.
    #[test]
    fn never_writes_into_a_used_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "x").unwrap();
        let error = Layout::create(dir.path()).unwrap_err();
        assert!(error.to_string().contains("--dir"), "{error}");
    }
}
