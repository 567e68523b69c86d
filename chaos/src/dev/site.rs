//! The folder, the ports and the two configurations; and the page that tells a user where everything is.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Args, TENANT, ports};
use crate::clock;
use crate::stand::layout::{EdgeSpec, Layout, sha256_hex};
use crate::stand::make_certificates;

const EDGE: &str = "edge";

/// Where everything is.
pub(super) struct Site {
    pub(super) layout: Layout,
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) router_admin: SocketAddr,
    pub(super) edge_admin: SocketAddr,
    /// What was not to be had.
    notes: Vec<String>,
    keep: bool,
}

impl Site {
    /// Makes or reopens the folder, and chooses the ports.
    pub(super) fn prepare(args: &Args) -> io::Result<Self> {
        let (mut notes, mut taken) = (Vec::new(), Vec::new());
        let mut choose = |option: &str, what: &str, wanted, usual| {
            let (address, as_usual) = ports::choose(option, wanted, usual, &taken)?;
            taken.push(address);
            if !as_usual {
                notes.push(format!("port {usual} is taken: {what} is on {} this time ({option} names another)", address.port()));
            }
            Ok::<_, io::Error>(address)
        };
        let grpc = choose("--port-grpc", "OTLP/gRPC", args.port_grpc, 4317)?;
        let http = choose("--port-http", "OTLP/HTTP", args.port_http, 4318)?;
        let router_admin = choose("--port-router", "the router's admin endpoint", args.port_router, 9464)?;
        let edge_admin = choose("--port-edge", "the edge's admin endpoint", args.port_edge, 9465)?;
        let layout = match &args.dir {
            Some(dir) => Layout::reopen(dir)?,
            None => Layout::create(&std::env::temp_dir().join(format!("tributary-dev-{:x}", clock::unix_nano() / 1000)))?,
        };
        let site = Self { layout, grpc, http, router_admin, edge_admin, notes, keep: args.dir.is_some() };
        if !site.layout.pki().join("edges.yaml").is_file() {
            let tenants = vec![(TENANT, TENANT.to_owned())];
            let edge = EdgeSpec { name: EDGE, region: "here", tenants, grpc, http, admin: edge_admin };
            make_certificates(&site.layout, &[edge])?;
        }
        Ok(site)
    }

    /// The router's configuration file, written.
    pub(super) fn router_config(&self) -> io::Result<PathBuf> {
        let (pki, data, tier) = (self.layout.pki(), self.layout.data("router"), self.layout.tier());
        let yaml = format!(
            "name: dev-router
data_dir: {data}
listen: 127.0.0.1:0
admin: {{listen: {admin}}}
tls: {{ca: {pki}/ca.pem, cert: {pki}/router.pem, key: {pki}/router.key}}
edges: {pki}/edges.yaml
tiers:
  parquet: {{local: {{path: {tier}, flush_interval: 1s}}}}
query: {{tokens: [{{tenant: {TENANT}, sha256: {token}}}]}}   # the token is: {TENANT}
drain: 10s
",
            admin = self.router_admin,
            data = data.display(),
            pki = pki.display(),
            tier = tier.display(),
            token = sha256_hex(TENANT),
        );
        self.layout.write_config("router", &yaml)
    }

    /// The edge's configuration file for a router that listens there, written.
    pub(super) fn edge_config(&self, router: SocketAddr) -> io::Result<PathBuf> {
        let (pki, data) = (self.layout.pki(), self.layout.data(EDGE));
        let yaml = format!(
            "name: {EDGE}
data_dir: {data}
labels: {{kind: dev}}
admin: {{listen: {admin}}}
receive: {{grpc: \"{grpc}\", http: \"{http}\"}}
identity: {{default_tenant: {TENANT}}}
batch: {{age: 500ms}}
ship:
  endpoints: [\"{router}\"]
  server_name: localhost
  tls: {{ca: {pki}/ca.pem, cert: {pki}/edges/{EDGE}.pem, key: {pki}/edges/{EDGE}.key}}
drain: 10s
",
            admin = self.edge_admin,
            grpc = self.grpc,
            http = self.http,
            data = data.display(),
            pki = pki.display(),
        );
        self.layout.write_config(EDGE, &yaml)
    }

    /// What a user needs to know, with commands that work as they stand.
    pub(super) fn page(&self) -> String {
        let program = std::env::current_exe().map_or_else(|_| "tributary-chaos".to_owned(), |path| quoted(&path));
        let (dir, config) = (quoted(&self.layout.dir), self.layout.config());
        let (router, edge) = (quoted(&config.join("router.yaml")), quoted(&config.join("edge.yaml")));
        let mut page = format!(
            "An edge and a router are up, with one tenant: {TENANT}. Ctrl-C ends them.

send OTLP to
  http://{grpc}   gRPC
  http://{http}   HTTP
  an SDK takes it from:  export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
or let us send some
  {program} load --endpoint http://{grpc} --signal mixed --rows 10000 --rows-per-request 100

watch it come in
  {program} router tail --config {router} --tenant {TENANT}
  curl -N -H 'Authorization: Bearer {TENANT}' http://{admin}/api/v1/tail
read it back (2 s after it was sent)
  {program} look --dir {dir}
  {program} look --dir {dir} traces --limit 5
ask how it is
  {program} edge status --config {edge}
  {program} router ledger --config {router}
with SQL (building it takes some minutes once)
  cargo run --release -p central-router -- query --config {router} --tenant {TENANT} 'SHOW TABLES'
",
            grpc = self.grpc,
            http = self.http,
            admin = self.router_admin,
        );
        if self.keep {
            let _ = writeln!(page, "\nfiles are in {dir}, and stay");
        } else {
            let _ = writeln!(page, "\nfiles are in {dir} until the end (--dir keeps them)");
        }
        for note in &self.notes {
            let _ = writeln!(page, "note: {note}");
        }
        page
    }

    /// Removes what is not to be kept; gives the last word.
    pub(super) fn leave(&self) -> io::Result<String> {
        if self.keep {
            return Ok(format!("stopped; all is kept in {}", self.layout.dir.display()));
        }
        std::fs::remove_dir_all(&self.layout.dir)?;
        Ok("stopped; its files are removed".to_owned())
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path is one word of a shell, whatever it holds.
    #[test]
    fn paths_are_one_word() {
        assert_eq!(quoted(Path::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
        assert_eq!(quoted(Path::new("/tmp/it's $HOME")), "'/tmp/it'\\''s $HOME'");
    }
}
