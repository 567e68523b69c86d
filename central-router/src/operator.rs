//! The operator's token: who may read the router's files may ask the running router for what no tenant's token opens.
//!
//! At each start the router makes a new random token and writes it to `<data_dir>/operator.token`, readable by its own user alone. The
//! commands on the router's machine read it from there. So the admin endpoint, which has no other authentication, gives no tenant's
//! records to whoever can merely reach it, and no secret has to be configured.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::SecureRandom;

use crate::sql::tokens::Secret;

const NAME: &str = "operator.token";

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
        let remedy = "run this as the router's user, on its machine, with the router running; or give a tenant's token in TRIBUTARY_TOKEN";
        format!("{}: {error}; {remedy}", path.display())
    })?;
    Ok(token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::http::{HeaderMap, header};

    use super::*;

    fn with(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
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
