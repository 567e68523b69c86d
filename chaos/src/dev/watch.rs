//! One line in ten seconds of what came in and what lies in the tier.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use service::shutdown::Shutdown;
use tokio::time::Instant;

use super::site::Site;
use crate::progress::Progress;
use crate::stand::admin::Admin;
use crate::stand::ledger::accounts;

const EVERY: Duration = Duration::from_secs(10);

/// Reports until `shutdown`.
pub(super) async fn report(site: &Site, shutdown: &Shutdown) {
    let (admin, progress) = (Admin, Progress::new(Instant::now()));
    let mut before = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.requested() => return,
        }
        match (admin.ledger(site.edge_admin).await, admin.ledger(site.router_admin).await) {
            (Ok(edge), Ok(router)) => {
                let (line, received) = line(&edge, &router, before);
                progress.say(&line);
                before = received;
            }
            (Err(error), _) | (_, Err(error)) => progress.say(&error.to_string()),
        }
    }
}

/// The line, and how many rows were received in all.
fn line(edge: &Value, router: &Value, before: u64) -> (String, u64) {
    let mut received = BTreeMap::new();
    for account in accounts(edge) {
        let signal = account["signal"].as_str().unwrap_or_default().to_owned();
        *received.entry(signal).or_insert(0) += account["received"].as_u64().unwrap_or(0);
    }
    let all: u64 = received.values().sum();
    let stored: u64 = accounts(router).iter().filter_map(|account| account["delivered"].as_u64()).sum();
    if all == 0 {
        return ("nothing has come in yet".to_owned(), 0);
    }
    let by_signal: Vec<String> = received.iter().map(|(signal, rows)| format!("{rows} {signal}")).collect();
    (format!("received {} (+{}); {stored} in the tier", by_signal.join(", "), all.saturating_sub(before)), all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The line has all that came, what is new, and what lies in the tier.
    #[test]
    fn the_line_has_what_came() {
        let edge = json!({"tenants": [{"signal": "logs", "received": 5}, {"signal": "traces", "received": 7}]});
        let router = json!({"tiers": [{"tenants": [{"delivered": 4}, {"delivered": 6}]}]});
        assert_eq!(line(&edge, &router, 9), ("received 5 logs, 7 traces (+3); 10 in the tier".to_owned(), 12));
        assert_eq!(line(&json!({"tenants": []}), &router, 0).0, "nothing has come in yet");
    }
}
