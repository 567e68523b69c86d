//! Reads what `/ledger` of an edge or a router answers.

use serde_json::Value;

/// The accounts of an edge's ledger, or of all tiers of a router's.
#[must_use]
pub fn accounts(ledger: &Value) -> Vec<&Value> {
    let places = ledger.get("tiers").and_then(Value::as_array).map_or_else(|| vec![ledger], |tiers| tiers.iter().collect());
    places.into_iter().filter_map(|place| place.get("tenants")?.as_array()).flatten().collect()
}

/// Does every account of it balance, and is there one?
#[must_use]
pub fn balances(ledger: &Value) -> bool {
    let accounts = accounts(ledger);
    !accounts.is_empty() && accounts.iter().all(|account| account.get("balanced").and_then(Value::as_bool) == Some(true))
}

/// Rows still queued at a place.
#[must_use]
pub fn queued(ledger: &Value) -> u64 {
    sum(ledger, "queued")
}

/// One term of it over all accounts, in rows.
#[must_use]
pub fn sum(ledger: &Value, term: &str) -> u64 {
    accounts(ledger).iter().filter_map(|account| account.get(term)?.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An account that does not balance, or no account at all, is not clean.
    #[test]
    fn reads_ledgers_of_edges_and_routers() {
        let edge = json!({"tenants": [{"tenant": "a", "signal": "logs", "queued": 3, "balanced": true}]});
        let router = json!({"tiers": [{"tier": "local", "tenants": [{"queued": 1, "balanced": true}, {"queued": 4, "balanced": false}]}]});
        assert!(balances(&edge));
        assert!(!balances(&router));
        assert!(!balances(&json!({"tenants": []})));
        assert_eq!((queued(&edge), queued(&router)), (3, 5));
    }
}
