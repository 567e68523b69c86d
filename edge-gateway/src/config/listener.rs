//! Where senders come in: an address alone, or a mapping that says more.
//!
//! ```yaml
//! receive:
//!   grpc: 0.0.0.0:4317                             # in the clear; every identity that is configured is taken
//!   http:
//!     listen: 0.0.0.0:4318
//!     tls: { cert: otlp.pem, key: otlp.key }
//!     accept: [token]
//!   listeners:                                     # as many more as needed; both protocols unless one is named
//!     - unix:/run/tributary/otlp.sock
//!     - listen: 10.0.0.1:4319
//!       protocol: grpc
//!       tls: { cert: otlp.pem, key: otlp.key, client_ca: senders.pem }
//!       accept: [certificate]
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use federation_proto::identity::TenantId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use service::config::{Invalid, Listen};
use service::tls::ListenerTls;

use super::RawIdentity;
use crate::identity::Accepts;

/// The longest path of a Unix socket, in bytes: the kernel takes 107, and a suffix stands behind it until the socket has its mode.
const MAX_SOCKET_PATH: usize = 100;

/// A listener as written: `off`, an address, or a mapping.
#[derive(Debug, Clone)]
pub enum RawEntrance {
    /// `off`: nobody comes in here.
    Off,
    /// Where and how.
    At(RawListener),
}

/// A listener with its settings. In place of the mapping, the address alone will do.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawListener {
    /// An address and port, `0.0.0.0:4317`, or a Unix socket, `unix:/run/tributary/otlp.sock`, for senders on the same node.
    pub listen: Address,
    /// What is spoken: `grpc`, `http`, or `any`: both, told apart by content type. Only in `receive.listeners`; default any.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Who may connect to a Unix socket: its mode in octal. Default 0660: its owner and group.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// The certificate to show, and whether to ask for the senders'. Default: in the clear.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// What tells whose a sender's records are; the first that does: `certificate` (with `tls.client_ca`, by `identity.certificates`),
    /// `token` (by `identity.tokens`), `default` (the default tenant). Default: all that is configured.
    #[serde(default)]
    pub accept: Option<Vec<Credential>>,
    /// The default tenant of this listener. Default: `identity.default_tenant`.
    #[serde(default)]
    pub default_tenant: Option<TenantId>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, protobuf and JSON.
    Http,
    /// Both.
    Any,
}

/// What tells whose a sender's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// Its certificate.
    Certificate,
    /// Its bearer token.
    Token,
    /// Nothing: it is the default tenant's.
    Default,
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

/// Permissions of a file, nine bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

/// A listener that can be opened.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its place in the configuration: `receive.grpc`, `receive.listeners[0]`. Names it in errors and metrics.
    pub key: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is.
    pub address: Address,
    /// The mode of its Unix socket.
    pub mode: Mode,
    /// Its certificate; none: in the clear.
    pub tls: Option<ListenerTls>,
    /// Whom it takes.
    pub accepts: Accepts,
}

impl From<Listen> for RawEntrance {
    fn from(listen: Listen) -> Self {
        Self::At(RawListener::at(Address::Tcp(listen.addr())))
    }
}

impl RawListener {
    fn at(listen: Address) -> Self {
        Self { listen, protocol: None, mode: None, tls: None, accept: None, default_tenant: None }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse::<Listen>().map(|listen| Self::Tcp(listen.addr())).map_err(|error| format!("{error}, or unix:/path"));
        };
        if !path.starts_with('/') || path.ends_with('/') || path.len() > MAX_SOCKET_PATH {
            return Err(format!(
                "{text:?}: expected unix: and an absolute path of at most {MAX_SOCKET_PATH} bytes, such as unix:/run/tributary/otlp.sock"
            ));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// The address and port, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        if let Self::Tcp(address) = self { Some(*address) } else { None }
    }

    /// The path, if it is a Unix socket's.
    #[must_use]
    pub fn unix(&self) -> Option<&Path> {
        if let Self::Unix(path) = self { Some(path) } else { None }
    }

    /// Port 0 may stand there twice: the kernel gives two.
    fn excludes(&self, other: &Self) -> bool {
        self == other && self.tcp().is_none_or(|address| address.port() != 0)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Text)?;
        let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{text:?}: expected a mode in octal, such as 0660 or 0666")))
    }
}

/// Inlined, so that what a field says of itself stands alone.
macro_rules! inline_schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    };
}

inline_schema!(Address, "Address", |_| {
    json_schema!({"type": "string", "title": "listener", "form": "an address such as 0.0.0.0:4317, or unix:/path of a Unix socket"})
});
inline_schema!(Mode, "Mode", |_| {
    json_schema!({"type": ["string", "integer"], "title": "mode", "form": "permissions of a file in octal, such as 0660"})
});
inline_schema!(RawEntrance, "Entrance", |generator| {
    let alone = json_schema!({
        "type": ["string", "boolean"],
        "title": "entrance",
        "form": "a listener, `off`, or a mapping that says more, with the keys of `receive.listeners[]`",
    });
    json_schema!({"anyOf": [alone, generator.subschema_for::<RawListener>()]})
});

/// The short form, as defaults are shown.
impl Serialize for RawEntrance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::At(listener) => serializer.collect_str(&listener.listen),
        }
    }
}

impl<'de> Deserialize<'de> for RawEntrance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entrance;

        impl<'de> Visitor<'de> for Entrance {
            type Value = RawEntrance;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as 0.0.0.0:4317 or unix:/path, a mapping with listen, or off")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawEntrance, E> {
                match text {
                    "off" => Ok(RawEntrance::Off),
                    address => address.parse().map(|at| RawEntrance::At(RawListener::at(at))).map_err(E::custom),
                }
            }

            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<RawEntrance, E> {
                if on { Err(E::invalid_type(serde::de::Unexpected::Bool(on), &self)) } else { Ok(RawEntrance::Off) }
            }

            fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<RawEntrance, A::Error> {
                RawListener::deserialize(MapAccessDeserializer::new(keys)).map(RawEntrance::At)
            }
        }

        deserializer.deserialize_any(Entrance)
    }
}

/// All listeners, checked one by one and against each other.
///
/// # Errors
/// The key and what is expected there.
pub(super) fn listeners(receive: &super::RawReceive, identity: &RawIdentity) -> Result<Vec<Listener>, Invalid> {
    let mut all: Vec<Listener> = Vec::new();
    let more = receive.listeners.iter().enumerate().map(|(index, raw)| (format!("receive.listeners[{index}]"), None, raw));
    let named = [("receive.grpc", Protocol::Grpc, &receive.grpc), ("receive.http", Protocol::Http, &receive.http)];
    for (key, fixed, raw) in named.into_iter().map(|(key, fixed, raw)| (key.to_owned(), Some(fixed), raw)).chain(more) {
        let RawEntrance::At(raw) = raw else { continue };
        let listener = listener(key, fixed, raw, identity)?;
        if let Some(other) = all.iter().find(|other| other.address.excludes(&listener.address)) {
            let message = format!("{} is {}'s address: expected another", listener.address, other.key);
            return Err(Invalid::new(listener.key, message));
        }
        all.push(listener);
    }
    if all.is_empty() {
        return Err(Invalid::new("receive", "no listener: expected receive.grpc, receive.http or one of receive.listeners not to be off"));
    }
    let asks = |listener: &Listener| listener.accepts.certificate;
    if !identity.certificates.is_empty() && !all.iter().any(asks) {
        return Err(Invalid::new("identity.certificates", "no listener asks for certificates: expected one with tls.client_ca"));
    }
    Ok(all)
}

fn listener(key: String, fixed: Option<Protocol>, raw: &RawListener, identity: &RawIdentity) -> Result<Listener, Invalid> {
    let invalid = |name: &str, message: &str| Err(Invalid::new(format!("{key}.{name}"), message));
    if fixed.is_some() && raw.protocol.is_some() {
        return invalid("protocol", "is what the key above says: remove it, or write the listener into receive.listeners");
    }
    if raw.address_is_unix() {
        if raw.tls.is_some() {
            return invalid("tls", "a Unix socket does not leave the node: remove it; its mode says who may connect");
        }
    } else if raw.mode.is_some() {
        return invalid("mode", "only a Unix socket has one: remove it");
    }
    let accepts = accepts(&key, raw, identity)?;
    let mode = raw.mode.unwrap_or(Mode(0o660));
    let protocol = fixed.or(raw.protocol).unwrap_or(Protocol::Any);
    Ok(Listener { key, protocol, address: raw.listen.clone(), mode, tls: raw.tls.clone(), accepts })
}

impl RawListener {
    fn address_is_unix(&self) -> bool {
        self.listen.unix().is_some()
    }
}

fn accepts(key: &str, raw: &RawListener, identity: &RawIdentity) -> Result<Accepts, Invalid> {
    let invalid = |message: &str| Err(Invalid::new(format!("{key}.accept"), message));
    let asks = raw.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let default_tenant = raw.default_tenant.as_ref().or(identity.default_tenant.as_ref());
    let Some(accept) = &raw.accept else {
        let certificate = asks && !identity.certificates.is_empty();
        return Ok(Accepts { certificate, token: !identity.tokens.is_empty(), default_tenant: default_tenant.cloned() });
    };
    let [certificate, token, default] =
        [Credential::Certificate, Credential::Token, Credential::Default].map(|credential| accept.contains(&credential));
    if !(certificate || token || default) {
        return invalid("nobody could send here: expected some of certificate, token, default");
    }
    if certificate && !asks {
        return invalid("certificate: nobody is asked for one: expected tls.client_ca beside it");
    }
    if certificate && identity.certificates.is_empty() {
        return invalid("certificate: it names no tenant: expected some identity.certificates");
    }
    if token && identity.tokens.is_empty() {
        return invalid("token: none is known: expected some identity.tokens");
    }
    if default && default_tenant.is_none() {
        return invalid("default: there is no default tenant: expected default_tenant here or in identity");
    }
    if !default && raw.default_tenant.is_some() {
        return Err(Invalid::new(format!("{key}.default_tenant"), "is not in accept: add default there, or remove this"));
    }
    Ok(Accepts { certificate, token, default_tenant: default_tenant.filter(|_| default).cloned() })
}
