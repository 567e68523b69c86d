//! What is missing, in a sentence that names the program, the kernel's answer and the remedy. Pure.

use std::fmt;

use super::failure::Failure;
use super::privileges::Privileges;
use crate::export::errno_name;
use crate::probe::ProgramSpec;

/// How much of the verifier's log goes into the message: its end, where the reason stands.
const LOG_LINES: usize = 6;
const LOG_BYTES: usize = 600;

/// Where it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading the kernel's type information.
    ReadBtf,
    /// Opening the object: relocation and creation of its maps.
    Open,
    /// `BPF_PROG_LOAD`: the verifier.
    Load,
    /// Attaching to the tracepoint.
    Attach,
    /// Mapping the ring into our memory.
    MapRing,
}

/// Something that does not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which probe lacks it.
    pub probe: &'static str,
    /// Which program, or all of the probe's.
    pub program: Option<&'static str>,
    /// Where the program would have been attached.
    tracepoint: Option<&'static str>,
    /// Where it went wrong.
    pub step: Step,
    /// What the kernel or the object said.
    pub failure: Failure,
    privileges: Privileges,
}

impl Missing {
    /// From what is known after a failure.
    pub fn new(probe: &'static str, program: Option<&ProgramSpec>, step: Step, failure: Failure, privileges: Privileges) -> Self {
        Self {
            probe,
            program: program.map(|program| program.name),
            tracepoint: program.map(|program| program.tracepoint),
            step,
            failure,
            privileges,
        }
    }

    fn subject(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "probe {}: ", self.probe)?;
        match (self.program, self.tracepoint) {
            (Some(program), Some(tracepoint)) => write!(f, "program {program} (tp_btf/{tracepoint}): "),
            _ => Ok(()),
        }
    }

    fn what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.step, &self.failure.map) {
            (Step::ReadBtf, _) => f.write_str("cannot read the kernel's BTF")?,
            (_, Some(map)) => write!(f, "cannot create map {map}")?,
            (Step::Open, None) => f.write_str("cannot open the object")?,
            (Step::Load, None) => f.write_str("cannot load")?,
            (Step::Attach, None) => f.write_str("cannot attach")?,
            (Step::MapRing, None) => f.write_str("cannot map the ring buffer")?,
        }
        match self.failure.errno.and_then(|errno| u32::try_from(errno).ok()) {
            Some(errno) => write!(f, ": {} ({})", errno_name(errno), self.failure.text),
            None => write!(f, ": {}", self.failure.text),
        }
    }

    fn remedy(&self) -> String {
        let refused = matches!(self.failure.errno, Some(libc::EPERM | libc::EACCES));
        let lacking = self.privileges.lacking();
        if let Some(name) = &self.failure.unknown_type {
            let tracepoint = name.strip_prefix("btf_trace_").unwrap_or(name);
            return format!("this kernel has no tracepoint {tracepoint}; it runs without, or needs a kernel that has it");
        }
        if refused && !lacking.is_empty() && self.failure.verifier_log.is_none() {
            return format!(
                "missing {} (the process has {}); run as root, or give it AmbientCapabilities=CAP_BPF CAP_PERFMON (systemd) \
                 or securityContext.capabilities.add: [BPF, PERFMON] (Kubernetes)",
                lacking.join(" and "),
                self.privileges
            );
        }
        if self.failure.verifier_log.is_some() {
            return "the kernel's verifier rejected it; report this with the kernel's version".to_owned();
        }
        if refused && self.failure.map.is_some() {
            return "the capabilities are there: before Linux 5.11 raise RLIMIT_MEMLOCK, else look for lockdown or an LSM policy \
                    that forbids bpf(2)"
                .to_owned();
        }
        if refused {
            return "the capabilities are there: the kernel itself does not permit this program type (lockdown, or an LSM policy)"
                .to_owned();
        }
        match self.step {
            Step::ReadBtf => "needs a kernel with CONFIG_DEBUG_INFO_BTF=y (/sys/kernel/btf/vmlinux) and /sys mounted".to_owned(),
            _ if self.failure.errno == Some(libc::ENOMEM) => "lower limits.ring".to_owned(),
            _ => "needs Linux 5.8 or later with BTF".to_owned(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject(f)?;
        self.what(f)?;
        write!(f, "; {}", self.remedy())?;
        if let Some(log) = &self.failure.verifier_log {
            write!(f, "; verifier: {}", end_of(log))?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

/// The log's last lines but for the verifier's statistics, in one line.
fn end_of(log: &str) -> String {
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("processed ") && !line.starts_with("verification time");
    let lines: Vec<&str> = log.lines().filter(told).filter(|line| !is_statistics(line)).collect();
    let text = lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ");
    let mut from = text.len().saturating_sub(LOG_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

fn is_statistics(line: &str) -> bool {
    ["stack depth ", "insns processed ", "max_states_per_insn "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "CapEff:\t0000000000000000\n";
    const ROOT: &str = "CapEff:\t000001ffffffffff\n";
    const PROGRAM: ProgramSpec = ProgramSpec { name: "tcp_connect", tracepoint: "inet_sock_set_state" };

    fn says(step: Step, failure: Failure, status: &str) -> String {
        let program = matches!(step, Step::Load | Step::Attach).then_some(&PROGRAM);
        Missing::new("tcp_connect", program, step, failure, Privileges::parse(status)).to_string()
    }

    fn eperm() -> Failure {
        Failure { errno: Some(libc::EPERM), text: "Operation not permitted (os error 1)".to_owned(), ..Failure::default() }
    }

    /// Without capabilities the message names map, errno, capabilities and where to give them.
    #[test]
    fn names_the_capabilities() {
        assert_eq!(
            says(Step::Open, Failure { map: Some("events".to_owned()), ..eperm() }, NONE),
            "probe tcp_connect: cannot create map events: EPERM (Operation not permitted (os error 1)); missing CAP_BPF and \
             CAP_PERFMON (the process has no capabilities); run as root, or give it AmbientCapabilities=CAP_BPF CAP_PERFMON \
             (systemd) or securityContext.capabilities.add: [BPF, PERFMON] (Kubernetes)"
        );
    }

    /// With them, EPERM and an empty log is the kernel's own refusal: the program and its hook are named.
    #[test]
    fn names_the_kernels_refusal() {
        let message = says(Step::Load, eperm(), ROOT);
        assert!(
            message.starts_with("probe tcp_connect: program tcp_connect (tp_btf/inet_sock_set_state): cannot load: EPERM"),
            "{message}"
        );
        assert!(message.contains("the kernel itself does not permit"), "{message}");
    }

    /// A rejection shows the end of the verifier's log, without its statistics, in one line of bounded length.
    #[test]
    fn shows_the_verifiers_reason() {
        let log =
            format!("{}R0 invalid mem access 'map_value_or_null'\nprocessed 9 insns (limit 1000000)\n", "0: (b7) r0 = 0\n".repeat(999));
        let failure = Failure { errno: Some(libc::EACCES), verifier_log: Some(log), ..eperm() };
        let message = says(Step::Load, failure, NONE);
        assert!(message.contains("verifier rejected it"), "{message}");
        assert!(message.ends_with("| R0 invalid mem access 'map_value_or_null'"), "{message}");
        assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
    }

    /// A tracepoint that the kernel does not have is named as such, capabilities or not.
    #[test]
    fn names_the_tracepoint() {
        let failure =
            Failure { text: "x".to_owned(), unknown_type: Some("btf_trace_inet_sock_set_state".to_owned()), ..Failure::default() };
        assert!(says(Step::Load, failure, NONE).contains("no tracepoint inet_sock_set_state;"));
    }

    /// A kernel without BTF is told from one that refuses.
    #[test]
    fn names_btf() {
        let failure = Failure { errno: Some(libc::ENOENT), text: "No such file".to_owned(), ..Failure::default() };
        assert!(says(Step::ReadBtf, failure, ROOT).contains("CONFIG_DEBUG_INFO_BTF"));
    }

    /// A log of any length in any alphabet is cut without a panic.
    #[test]
    fn cuts_anywhere() {
        for length in 590..620 {
            assert!(end_of(&"\u{e9}".repeat(length)).len() <= LOG_BYTES);
        }
        assert_eq!(end_of(""), "");
    }
}
