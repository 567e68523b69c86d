//! The operator's token: who may read a process's files may ask the running process for what nobody else may.
//!
//! At each start an edge and a router make a new random token and write it to `<data_dir>/operator.token`, readable by their own user
//! alone. The commands on that machine read it from there. So the admin endpoint, which has no other authentication, neither gives a
//! tenant's records to whoever can merely reach it, nor drops batches for them, and no secret has to be configured.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;

/// A SHA-256.
pub type Digest = [u8; 32];

const NAME: &str = "operator.token";

/// One token, by its hash.
#[derive(Debug, Clone)]
pub struct Secret(Digest);

impl Secret {
    /// The token itself is not kept.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut hash = Digest::default();
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Does a request's `Authorization: Bearer <token>` have it?
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| same(&self.0, digest(&SHA256, token).as_ref()))
    }
}

/// The token of a request's `Authorization: Bearer <token>`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Equal, in a time that does not tell where they differ.
#[must_use]
pub fn same(one: &Digest, other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b)));
    one.len() == other.len() && differs == 0
}

fn place(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Makes a new token, in force until the next.
///
/// # Errors
/// No randomness, or the file cannot be written.
pub fn renew(data_dir: &Path) -> io::Result<Secret> {
    let mut random = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system has no randomness"))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (path, new) = (place(data_dir), data_dir.join(format!("{NAME}.new")));
    // Made anew, so that its mode is ours.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{token}")?;
    fs::rename(&new, &path)?;
    Ok(Secret::of(&token))
}

/// The token in force.
///
/// # Errors
/// One line with the path and the remedy.
pub fn read(data_dir: &Path) -> Result<String, String> {
    let path = place(data_dir);
    let token = fs::read_to_string(&path).map_err(|error| {
        let remedy = "run this as the user of the process, on its machine, with the process running";
        format!("{}: {error}; {remedy}", path.display())
    })?;
    Ok(token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn with(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    /// Only its own user reads the token, and each start makes the one before worthless.
    #[test]
    fn the_token_is_private_and_new_at_each_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().contains("operator.token"));
        let first = renew(dir.path()).unwrap();
        let old = read(dir.path()).unwrap();
        assert_eq!(fs::metadata(place(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.is_in(&with(&old)) && !first.is_in(&with("")) && !first.is_in(&HeaderMap::new()));
        let second = renew(dir.path()).unwrap();
        assert!(!second.is_in(&with(&old)) && second.is_in(&with(&read(dir.path()).unwrap())));
    }
}
