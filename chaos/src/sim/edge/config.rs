//! The configuration of a simulated edge, as its plan has it.

use std::collections::HashMap;
use std::time::Duration;

use edge_gateway::batcher::Limits as BatchLimits;
use edge_gateway::config::{Config, Connections, Endpoint, Inbox, RawIdentity, Receive, Ship, Spool, WhenFull};
use edge_gateway::identity::Identities;
use federation_proto::identity::{Class, EdgeName, TenantId};
use service::tls::TlsFiles;

use crate::sim::faults::Plan;

/// Requests whose repetition an edge knows.
pub const RECENT: u64 = 256;
/// Age at which a batch is dropped, where the world has such a policy.
const MAX_AGE: Duration = Duration::from_secs(20);

pub(super) fn config(name: &EdgeName, plan: &Plan, tenants: &[TenantId]) -> Config {
    let class = |n: usize| [Class::High, Class::Medium, Class::Low][n % 3];
    let classes = tenants.iter().enumerate().map(|(n, tenant)| (tenant.clone(), class(n))).collect();
    #[expect(clippy::expect_used, reason = "nothing in it can be wrong")]
    let identities = Identities::from_raw(&RawIdentity::default(), classes).expect("identities");
    let long = Duration::from_secs(60);
    let endpoint = |n: usize| Endpoint { address: format!("router-{n}:1"), server_name: String::new() };
    Config {
        name: name.clone(),
        data_dir: "/nonexistent".into(),
        labels: HashMap::new(),
        receive: Receive {
            listeners: Vec::new(),
            max_request_bytes: 64 << 10,
            memory_bytes: 16 << 20,
            wait: long,
            connections: Connections {
                handshake: long,
                idle: long,
                body: long,
                answer: long,
                keep_alive: long,
                max_age: long,
                grace: long,
                memory_bytes: 1 << 20,
            },
        },
        identities,
        batch: BatchLimits { rows: plan.batch_rows, raw_bytes: 16 << 10, age: plan.batch_age, open_bytes: 64 << 10 },
        workers: 1,
        inbox: Inbox {
            budget_bytes: plan.budget_bytes[0],
            segment_bytes: plan.segment_bytes,
            commit_wait: Duration::ZERO,
            recent: RECENT as usize,
        },
        spool: Spool {
            budget_bytes: plan.budget_bytes[1],
            segment_bytes: plan.segment_bytes,
            rejected_bytes: 0,
            when_full: if plan.policy { WhenFull::DropOldest } else { WhenFull::Refuse },
            max_age: plan.policy.then_some(MAX_AGE),
            tenant_bytes: None,
        },
        ship: Ship {
            transport: None,
            quic_retry: Duration::from_secs(60),
            return_after: Duration::from_secs(30),
            endpoints: (0..plan.routers).map(endpoint).collect(),
            link_cap: None,
            tls: TlsFiles { ca: "/nonexistent".into(), cert: "/nonexistent".into(), key: "/nonexistent".into() },
            in_flight: 16,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
        },
        admin: ([127, 0, 0, 1], 0).into(),
        drain: long,
        log_json: false,
    }
}
