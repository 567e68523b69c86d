//! Headers of a tier's requests: secrets from the configuration, the environment and files, marked so that nothing shows them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use federation_proto::identity::TenantId;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::config::{HeaderSource, ValueFile, Variable};

/// A longer value is none.
const MAX_VALUE_BYTES: u64 = 16 << 10;

/// Headers with their values.
#[derive(Debug, Default)]
pub(super) struct Headers {
    fixed: HeaderMap,
    tenant: Vec<HeaderName>,
}

impl Headers {
    /// Reads the values from where the configuration says.
    ///
    /// # Errors
    /// The key, what is wrong and what to do; never the value.
    pub(super) fn resolve(sources: &BTreeMap<String, HeaderSource>) -> Result<Self, String> {
        let mut headers = Self::default();
        for (name, source) in sources {
            let wrong = |why: &str| format!("headers.{name}: {why}");
            let key = HeaderName::try_from(name).map_err(|_| wrong("is no header's name"))?;
            let text = match source {
                HeaderSource::Tenant => {
                    headers.tenant.push(key);
                    continue;
                }
                HeaderSource::Value(secret) => secret.reveal().to_owned(),
                HeaderSource::Env(Variable(variable)) => {
                    std::env::var(variable).map_err(|_| wrong(&format!("the environment has no {variable}: set it for the router")))?
                }
                HeaderSource::File(ValueFile(path)) => read(path).map_err(|why| wrong(&format!("{}: {why}", path.display())))?,
            };
            let mut value =
                HeaderValue::try_from(text.trim()).map_err(|_| wrong("its value is none: expected visible characters in one line"))?;
            value.set_sensitive(true);
            headers.fixed.insert(key, value);
        }
        Ok(headers)
    }

    /// Adds them to a request with records of this tenant.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, tenant: &TenantId) {
        for (name, value) in &self.fixed {
            headers.insert(name, value.clone());
        }
        for name in &self.tenant {
            if let Ok(value) = HeaderValue::try_from(tenant.as_str()) {
                headers.insert(name, value);
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("{error}: check the path and who may read it"))?;
    file.take(MAX_VALUE_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_VALUE_BYTES {
        return Err("larger than 16KiB: this is no header's value".to_owned());
    }
    Ok(text)
}
