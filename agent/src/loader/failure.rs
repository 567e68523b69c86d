//! aya's errors, reduced to what explains them. Some of aya's variants are transparent, so a walk along `source()` alone would
//! miss their errno.

use std::error::Error;
use std::io;

use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::{BtfError, EbpfError};

/// Why the kernel, or the object, said no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The kernel's answer, where it was asked.
    pub errno: Option<i32>,
    /// All causes in one line, without the verifier's log.
    pub text: String,
    /// What the verifier says against the program.
    pub verifier_log: Option<String>,
    /// The map that could not be created.
    pub map: Option<String>,
    /// A type that the kernel's BTF does not have, so that there is no such tracepoint.
    pub unknown_type: Option<String>,
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let causes: Vec<_> = causes(error).collect();
        let mut text = String::new();
        for cause in &causes {
            let words = cause.to_string();
            if !text.contains(&words) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&words);
            }
        }
        let errno = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error));
        Self { errno, text: text.replace(['\n', '\r'], " "), ..Self::default() }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

impl From<&BtfError> for Failure {
    fn from(error: &BtfError) -> Self {
        let unknown_type = match error {
            BtfError::UnknownBtfTypeName { type_name } => Some(type_name.clone()),
            _ => None,
        };
        Self { unknown_type, ..Self::of(error) }
    }
}

impl From<&MapError> for Failure {
    fn from(error: &MapError) -> Self {
        match error {
            MapError::CreateError { name, .. } => Self { map: Some(name.clone()), ..Self::of(error) },
            MapError::IoError(error) => Self::of(error),
            _ => Self::of(error),
        }
    }
}

impl From<&ProgramError> for Failure {
    fn from(error: &ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                Self { verifier_log: (!log.trim().is_empty()).then_some(log), ..Self::of(io_error) }
            }
            ProgramError::Btf(error) => Self::from(error),
            ProgramError::MapError(error) => Self::from(error),
            ProgramError::IOError(error) => Self::of(error),
            _ => Self::of(error),
        }
    }
}

impl From<&EbpfError> for Failure {
    fn from(error: &EbpfError) -> Self {
        match error {
            EbpfError::MapError(error) => Self::from(error),
            EbpfError::BtfError(error) => Self::from(error),
            EbpfError::ProgramError(error) => Self::from(error),
            _ => Self::of(error),
        }
    }
}
