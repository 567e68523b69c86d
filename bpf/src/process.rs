//! The start (exec) or end (exit) of a program.

use core::mem::offset_of;

use crate::bytes::{Comm, Fields, Malformed, until_nul};

const PROCESS_EXEC: u32 = 1;
const PROCESS_EXIT: u32 = 2;

/// `struct process_event` of `events.h`. Made by [`ProcessEvent::parse`] alone, so that `kind` is a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessEvent {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub time_ns: u64,
    /// Cgroup v2 id of the process.
    pub cgroup_id: u64,
    /// Process (thread group) id in the initial PID namespace.
    pub pid: u32,
    /// The parent's process id.
    pub parent_pid: u32,
    pub(crate) kind: u32,
    pub(crate) exit_code: u32,
    /// Name of the process; for exec the new one.
    pub comm: Comm,
    pub(crate) path: [u8; 128],
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    /// The process runs a new program.
    Exec,
    /// The process ended.
    Exit(ExitStatus),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It left with this code.
    Code(u8),
    /// A signal of this number ended it.
    Signal(u8),
}

impl ProcessEvent {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Malformed`] where the length or a field is not what the programs write.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::new(bytes, size_of::<Self>())?;
        let event = Self {
            time_ns: fields.u64(offset_of!(Self, time_ns))?,
            cgroup_id: fields.u64(offset_of!(Self, cgroup_id))?,
            pid: fields.u32(offset_of!(Self, pid))?,
            parent_pid: fields.u32(offset_of!(Self, parent_pid))?,
            kind: fields.u32(offset_of!(Self, kind))?,
            exit_code: fields.u32(offset_of!(Self, exit_code))?,
            comm: Comm::new(fields.array(offset_of!(Self, comm))?),
            path: fields.array(offset_of!(Self, path))?,
        };
        if !matches!(event.kind, PROCESS_EXEC | PROCESS_EXIT) {
            return Err(Malformed::Field { name: "kind", value: event.kind });
        }
        Ok(event)
    }

    /// What happened. The exit code is packed as wait(2) has it: code in bits 8-15, signal in bits 0-6.
    pub fn kind(&self) -> ProcessKind {
        let [low, code, ..] = self.exit_code.to_le_bytes();
        match (self.kind, low & 0x7f) {
            (PROCESS_EXEC, _) => ProcessKind::Exec,
            (_, 0) => ProcessKind::Exit(ExitStatus::Code(code)),
            (_, signal) => ProcessKind::Exit(ExitStatus::Signal(signal)),
        }
    }

    /// Exec: the file as it was named to execve, at most 127 bytes of it; exit: empty.
    pub fn path(&self) -> &[u8] {
        until_nul(&self.path)
    }
}
