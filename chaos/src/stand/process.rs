//! Parts of the federation as real processes: `tributary-chaos`, started in the part of a router, an edge or an agent.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::part::Role;

/// A started part. Killed when dropped, so that nothing outlives the demo.
#[derive(Debug)]
pub struct Process {
    role: Role,
    log: PathBuf,
    child: Child,
}

/// How `tributary-chaos` is started in a part: as it is, or by another program and with another environment.
#[derive(Debug, Clone)]
pub struct Launch {
    /// `tributary-chaos`, behind what starts it, if anything does: `nsenter --net=... --`.
    words: Vec<OsString>,
    /// Beside our own environment.
    environment: Vec<(OsString, OsString)>,
}

impl Launch {
    /// The program as it is.
    #[must_use]
    pub fn of(program: &Path) -> Self {
        Self { words: vec![program.into()], environment: Vec::new() }
    }

    /// Started by `starter`, which must become the program (exec), so that its process id is the part's.
    #[must_use]
    pub fn by(mut self, starter: &[&str]) -> Self {
        self.words.splice(0..0, starter.iter().map(OsString::from));
        self
    }

    /// With this variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.words.first().map_or_else(OsString::new, Clone::clone));
        command.args(self.words.iter().skip(1)).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Process {
    /// Starts a part with its configuration; what it prints goes to `log`, behind what is there.
    ///
    /// # Errors
    /// When the program cannot be started or the log not be opened.
    pub fn start(program: &Path, role: Role, config: &Path, log: &Path) -> io::Result<Self> {
        Self::launch(&Launch::of(program), role, config, log)
    }

    /// The same, started in a way of one's own.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn launch(launch: &Launch, role: Role, config: &Path, log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = launch
            .command()
            .args(["part", role.as_str(), "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { role, log: log.to_owned(), child })
    }

    /// Ends it at once, as a power cut of the process alone: no handler runs, nothing is flushed.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_9(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Sends it SIGKILL and does not wait; [`Process::kill_9`] then does.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn send_kill(&mut self) -> io::Result<()> {
        self.child.start_kill()
    }

    /// Its id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error when the process has ended by itself: says where its log lies.
    ///
    /// # Errors
    /// When it has ended.
    pub fn still_running(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Asks it to drain and end (SIGTERM), and waits.
    ///
    /// # Errors
    /// When it does not end within the deadline, or ends with an error.
    pub async fn stop(mut self, deadline: Duration) -> io::Result<()> {
        self.still_running()?;
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.ok_or_else(|| io::Error::other("process has no id"))?, Signal::TERM)?;
        let status = timeout(deadline, self.child.wait()).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("{} did not drain within {deadline:?}: see {}", self.role, self.log.display()))
        })??;
        if status.success() { Ok(()) } else { Err(self.ended(status)) }
    }

    fn ended(&self, status: ExitStatus) -> io::Error {
        let tail = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = tail.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n  ");
        io::Error::other(format!("{} ended with {status}: see {}\n  {last}", self.role, self.log.display()))
    }
}
