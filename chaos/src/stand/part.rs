//! One part of a stand: its configuration, log and admin endpoint, and its process while it runs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layout::Layout;
use super::process::{Launch, Process};
use crate::part::Role;

/// A part that may run, be killed, and be started again on what the kill left on its disk.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) admin: SocketAddr,
    role: Role,
    launch: Launch,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Part {
    /// Writes its configuration and starts it.
    pub(crate) fn start(
        layout: &Layout,
        launch: &Launch,
        (role, name): (Role, &'static str),
        admin: SocketAddr,
        yaml: &str,
    ) -> io::Result<Self> {
        let config = layout.write_config(name, yaml)?;
        let mut part = Self { name, admin, role, launch: launch.clone(), config, log: layout.log(name), process: None };
        part.start_again()?;
        Ok(part)
    }

    /// Starts it on its disk as it is; nothing to do while it runs.
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        if self.process.is_none() {
            self.process = Some(Process::launch(&self.launch, self.role, &self.config, &self.log)?);
        }
        Ok(())
    }

    /// Takes the process out, to be killed.
    pub(crate) fn take(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Its process's id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Where it prints.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// An error when it ended by itself; one that was killed has not.
    pub(crate) fn still_running(&mut self) -> io::Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::still_running)
    }

    /// Asks it to drain and end, if it runs.
    pub(crate) async fn stop(&mut self, deadline: Duration) -> io::Result<()> {
        match self.process.take() {
            Some(process) => process.stop(deadline).await,
            None => Ok(()),
        }
    }
}
