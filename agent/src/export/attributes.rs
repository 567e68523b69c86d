//! Attributes by the semantic conventions.

use std::net::SocketAddr;

use bpf::Outcome;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::identity::{CgroupId, CgroupIdentity, Cgroups};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(super) fn integer(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

pub(super) fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// The cgroup, and the container and pod that its path names. `process.linux.cgroup` is written as `/proc/PID/cgroup` has it.
pub(super) fn cgroup(attributes: &mut Vec<KeyValue>, id: CgroupId, cgroups: &Cgroups) {
    attributes.push(integer("linux.cgroup.id", id.0.cast_signed()));
    let Some(CgroupIdentity { path, container_id, pod_uid }) = cgroups.get(id) else { return };
    attributes.push(text("process.linux.cgroup", format!("0::{path}")));
    if let Some(container) = container_id {
        attributes.push(text("container.id", container.clone()));
    }
    if let Some(uid) = pod_uid {
        attributes.push(text("k8s.pod.uid", uid.clone()));
    }
}

pub(super) fn peer(attributes: &mut Vec<KeyValue>, remote: SocketAddr) {
    attributes.push(text("network.transport", "tcp"));
    attributes.push(text("network.type", if remote.is_ipv4() { "ipv4" } else { "ipv6" }));
    attributes.push(text("network.peer.address", remote.ip().to_string()));
    attributes.push(integer("network.peer.port", remote.port()));
}

/// `error.type`: the errno's name, `aborted` where the connecting side gave up first; nothing on success.
pub(super) fn error_type(attributes: &mut Vec<KeyValue>, outcome: Outcome) {
    match outcome {
        Outcome::Established => {}
        Outcome::Failed(errno) => attributes.push(text("error.type", errno_name(errno))),
        Outcome::Aborted => attributes.push(text("error.type", "aborted")),
    }
}

/// The name of an errno that a connect or a BPF call may end with; `_OTHER`, the conventions' word, for the rest.
pub fn errno_name(errno: u32) -> &'static str {
    const NAMES: [(i32, &str); 28] = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EINTR, "EINTR"),
        (libc::EIO, "EIO"),
        (libc::E2BIG, "E2BIG"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EPIPE, "EPIPE"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::EPROTO, "EPROTO"),
        (libc::ENOPROTOOPT, "ENOPROTOOPT"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::ENETDOWN, "ENETDOWN"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EHOSTDOWN, "EHOSTDOWN"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    ];
    let name = NAMES.iter().find(|(number, _)| u32::try_from(*number) == Ok(errno));
    name.map_or("_OTHER", |(_, name)| name)
}
