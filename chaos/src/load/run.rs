//! Runs a load: connections that take requests off one schedule, until it ends.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::Answer;
use super::connection::{Connection, Target};
use super::pace::Pace;
use super::supply::{Request, Supply};
use super::tally::Tally;
use super::{SILENCE, Shape};
use crate::progress::Progress;
use crate::verify::ack_log::AckLog;
use crate::{clock, usage};

/// What to send, where, and until when.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub target: Target,
    /// What.
    pub shape: Shape,
    /// How long at most.
    pub most: Duration,
    /// How many rows at most, rounded up to whole requests.
    pub rows: Option<u64>,
    /// Where the ids of acknowledged records go.
    pub ack_log: Option<PathBuf>,
    /// Repeat what is not acknowledged.
    pub retry: bool,
    /// Ends the load before its time.
    pub stop: Shutdown,
}

/// How a load went, apart from its [`Tally`].
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// From the first request to the last answer.
    pub took: Duration,
    /// CPU time of this process in between.
    pub own_cpu: Duration,
    /// OTLP bytes of a row, before compression.
    pub otlp_bytes_per_row: f64,
}

/// What the connections share.
struct Shared {
    target: Arc<Target>,
    supply: Supply,
    pace: Pace,
    tally: Arc<Tally>,
    ack_log: Option<Mutex<AckLog>>,
    retry: bool,
}

/// Runs it to its end. Counts into `tally` as it goes; shows progress if it may.
///
/// # Errors
/// When the endpoint cannot be reached at the start, is silent for [`SILENCE`], or the log cannot be written.
pub async fn run(plan: Plan, tally: Arc<Tally>, progress: Option<&Progress>) -> io::Result<Ended> {
    let rows_per_request = plan.shape.rows_per_request;
    let supply = Supply::new(plan.shape.seed, plan.shape.signal, rows_per_request as usize, clock::unix_nano());
    let otlp_bytes_per_row = supply.mean_bytes() as f64 / rows_per_request as f64;
    let ack_log = plan.ack_log.as_deref().map(AckLog::create).transpose()?.map(Mutex::new);
    let target = Arc::new(plan.target);
    let mut connections = Vec::new();
    for _ in 0..plan.shape.connections {
        let mut connection = Connection::new(Arc::clone(&target));
        connection.open().await?;
        connections.push(connection);
    }
    let interval = plan.shape.rate.map(|rate| Duration::from_secs_f64(rows_per_request as f64 / rate as f64));
    let requests = plan.rows.map_or(u64::MAX, |rows| rows.div_ceil(rows_per_request));
    let (began, own_cpu) = (Instant::now(), usage::own_cpu_time());
    let pace = Pace::new(began, began + plan.most, requests, interval, plan.stop);
    let shared = Arc::new(Shared { target, supply, pace, tally, ack_log, retry: plan.retry });
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(drive(connection, Arc::clone(&shared)));
    }
    until_done(&mut tasks, &shared.tally, progress).await?;
    let (took, own_cpu) = (began.elapsed(), usage::own_cpu_time().saturating_sub(own_cpu));
    if let Some(log) = Arc::into_inner(shared).and_then(|shared| shared.ack_log) {
        log.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
    }
    Ok(Ended { took, own_cpu, otlp_bytes_per_row })
}

/// Waits for the connections; ends with the first that fails, or when nothing is heard any more.
async fn until_done(tasks: &mut JoinSet<io::Result<()>>, tally: &Tally, progress: Option<&Progress>) -> io::Result<()> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    let (mut second, mut last, mut heard) = (0, (0, 0), Instant::now());
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(ended) => ended.map_err(io::Error::other)??,
                None => return Ok(()),
            },
            _ = seconds.tick() => {
                second += 1;
                let answers = tally.answers();
                let refused = answers.refused.values().sum::<u64>();
                let now = (tally.acknowledged_rows(), refused);
                if now.0 != last.0 {
                    heard = Instant::now();
                } else if heard.elapsed() > SILENCE {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing acknowledged for {SILENCE:?}; refused so far: {:?}", answers.refused)));
                }
                if let Some(progress) = progress {
                    let p99 = answers.latencies.percentile_ms(0.99);
                    progress.status(second, &format!("{} rows acknowledged, {}/s, {refused} refused, p99 {p99:.2} ms", now.0, now.0 - last.0));
                }
                last = now;
            }
        }
    }
}

/// One connection's work.
async fn drive(mut connection: Connection, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let now = Instant::now();
        let Some(due) = shared.pace.claim(now) else { return Ok(()) };
        // Whoever is free waits for the request's time, and a late timer is not the receiver's fault; whoever comes late has let it wait.
        let began = if due > now {
            sleep_until(due).await;
            Instant::now()
        } else {
            due
        };
        let Request { signal, body, rows, ids } = shared.supply.next(clock::unix_nano(), shared.target.room());
        let body = shared.target.finish(body)?;
        shared.tally.sent(rows);
        loop {
            match connection.send(signal, body.clone()).await {
                Answer::Acknowledged => {
                    shared.tally.acknowledged(rows, began.elapsed());
                    if let Some(log) = &shared.ack_log {
                        log.lock().unwrap_or_else(PoisonError::into_inner).acknowledged(signal, ids.iter())?;
                    }
                    break;
                }
                Answer::Refused { code, wait } => {
                    shared.tally.refused(code, rows);
                    sleep(wait).await;
                    if !shared.retry || shared.pace.over(Instant::now()) {
                        break;
                    }
                    shared.tally.retried();
                }
            }
        }
    }
}
