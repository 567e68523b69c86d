//! What this process may do, as far as loading programs is concerned.

use std::fmt;
use std::path::Path;

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// The effective capabilities of the process; `None` where they could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    effective: Option<u64>,
}

impl Privileges {
    /// Driver: from `/proc/self/status`.
    pub fn read(proc: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(proc.join("self/status")).unwrap_or_default())
    }

    /// From the text of a `status` file.
    pub fn parse(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self { effective: mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) }
    }

    /// The capabilities that loading tracing programs takes and this process lacks. CAP_SYS_ADMIN stands for both.
    pub fn lacking(&self) -> Vec<&'static str> {
        let Some(effective) = self.effective else { return Vec::new() };
        if effective & CAP_SYS_ADMIN != 0 {
            return Vec::new();
        }
        let wanted = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")];
        wanted.iter().filter(|(bit, _)| effective & bit == 0).map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effective {
            Some(0) => f.write_str("no capabilities"),
            Some(effective) => write!(f, "capabilities 0x{effective:x}"),
            None => f.write_str("unknown capabilities"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is lacking is named; CAP_SYS_ADMIN is enough by itself; what cannot be read lacks nothing.
    #[test]
    fn names_what_is_lacking() {
        let lacking = |mask: &str| Privileges::parse(&format!("Name:\tx\nCapEff:\t{mask}\nCapBnd:\tffffffffffffffff\n")).lacking();
        assert_eq!(lacking("0000000000000000"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(lacking("0000008000000000"), ["CAP_PERFMON"]);
        assert_eq!(lacking("0000004000000000"), ["CAP_BPF"]);
        assert!(lacking("000000c000000000").is_empty());
        assert!(lacking("0000000000200000").is_empty());
        assert!(Privileges::parse("").lacking().is_empty());
    }
}
