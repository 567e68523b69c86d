//! `tributary-chaos dev`: an edge and a router on defaults, one tenant, until Ctrl-C. The shortest way to try Tributary.
//!
//! Both run in this process, over real sockets and a real disk, with their own configuration files in the folder, so that every other
//! command works on them as on any installation. Batches close after half a second and the tier writes every second: what was sent can be
//! read two seconds later. Ctrl-C drains: edge first, then router.

mod ports;
mod site;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use central_router::Ready;
use edge_gateway::Edge;
use serde_json::json;
use service::shutdown::Shutdown;
use service::terminal;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::site::Site;

/// The one tenant; its token for `query` and `tail` is the same word.
pub const TENANT: &str = "dev";

/// Below the options in `--help`.
pub const HELP: &str = "Senders need no token. TRIBUTARY_LOG=info shows what both say.\n\n\
Examples:\n  tributary-chaos dev\n  tributary-chaos dev --dir ./try --port-grpc 14317 --port-http 14318";

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder for all files, kept afterwards and gone on with the next time. Default: a new one, removed at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Port for OTLP/gRPC. Default: 4317, or a free one if that is taken.
    #[arg(long)]
    port_grpc: Option<u16>,
    /// Port for OTLP/HTTP. Default: 4318, or a free one.
    #[arg(long)]
    port_http: Option<u16>,
    /// Port of the router's admin endpoint. Default: 9464, or a free one.
    #[arg(long)]
    port_router: Option<u16>,
    /// Port of the edge's admin endpoint. Default: 9465, or a free one.
    #[arg(long)]
    port_edge: Option<u16>,
    /// Say where everything is as one JSON object on standard output, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs until Ctrl-C.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    service::observe::init_tracing_at(false, "warn");
    let ran = tokio::runtime::Builder::new_multi_thread().enable_all().build().and_then(|runtime| runtime.block_on(run(args)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When a part does not start, or ends by itself.
async fn run(args: &Args) -> io::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    service::tls::install_provider();
    let site = Site::prepare(args)?;
    let result = live(args, &site, &shutdown).await;
    let kept = site.leave();
    result?;
    eprintln!("{}", kept?);
    Ok(())
}

async fn live(args: &Args, site: &Site, shutdown: &Shutdown) -> io::Result<()> {
    let stop_router = Shutdown::new();
    let (ready, mut router) = start_router(site, stop_router.clone()).await?;
    let config = edge_gateway::Config::load(&site.edge_config(ready.listen)?).map_err(io::Error::other)?;
    let edge = match Edge::start(config).await {
        Ok(edge) => edge,
        Err(error) => {
            stop_router.request();
            ended(router.await)?;
            return Err(io::Error::other(error));
        }
    };
    let text = if args.json { format!("{}\n", site.as_json()) } else { site.page() };
    let stop_edge = Shutdown::new();
    let edge = tokio::spawn(edge.run(stop_edge.clone()));
    terminal::print(&text)?;
    let unasked = tokio::select! {
        () = watch::report(site, shutdown) => None,
        router = &mut router => Some(router),
    };
    stop_edge.request();
    edge.await.map_err(io::Error::other)?;
    stop_router.request();
    match unasked {
        Some(router) => ended(router).and(Err(io::Error::other("the router has ended by itself"))),
        None => ended(router.await),
    }
}

type RouterEnd = Result<Result<(), central_router::RunError>, tokio::task::JoinError>;

fn ended(router: RouterEnd) -> io::Result<()> {
    router.map_err(io::Error::other)?.map_err(io::Error::other)
}

async fn start_router(site: &Site, stop: Shutdown) -> io::Result<(Ready, JoinHandle<Result<(), central_router::RunError>>)> {
    let config = central_router::config::Config::load(&site.router_config()?).map_err(io::Error::other)?;
    let (tell, told) = oneshot::channel();
    let router = tokio::spawn(central_router::run_with(config, stop, move |ready| {
        // Nobody waits for a router that was given up meanwhile.
        let _ = tell.send(ready);
    }));
    match told.await {
        Ok(ready) => Ok((ready, router)),
        Err(_) => Err(ended(router.await).err().unwrap_or_else(|| io::Error::other("the router did not start"))),
    }
}

impl Site {
    /// What `--json` prints.
    fn as_json(&self) -> serde_json::Value {
        json!({
            "grpc": format!("http://{}", self.grpc),
            "http": format!("http://{}", self.http),
            "router_admin": format!("http://{}", self.router_admin),
            "edge_admin": format!("http://{}", self.edge_admin),
            "tenant": TENANT,
            "token": TENANT,
            "dir": self.layout.dir,
            "router_config": self.layout.config().join("router.yaml"),
            "edge_config": self.layout.config().join("edge.yaml"),
        })
    }
}
