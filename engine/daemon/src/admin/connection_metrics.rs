//! What `/metrics` shows of named connections.

use karez_connectors::net::{CircuitState, ConnectionStatus, ERROR_NAMES};

use super::exposition::Exposition;
use crate::fleet::Fleet;

pub(super) fn render(text: &mut Exposition, fleet: &Fleet) {
    text.counter("karez_api_calls_total", "requests over the wire by connection and result");
    text.counter("karez_api_errors_total", "failed requests by connection and kind of error");
    text.family("karez_api_call_seconds", "histogram", "time from a request to its whole answer");
    text.counter("karez_api_turned_away_total", "calls that were not sent: no turn, open circuit, no log-in");
    text.counter("karez_api_retries_total", "attempts beyond the first of a call");
    text.counter("karez_api_throttled_seconds_total", "time that calls waited for their turn");
    text.counter("karez_api_cache_total", "lookups in a connection's cache by result");
    text.gauge("karez_api_quota_remaining", "what is left of each quota that is known");
    text.gauge("karez_api_circuit_closed", "1 while the connection's circuit is closed");
    text.counter("karez_auth_token_refreshes_total", "tokens that were got or renewed");
    text.counter(
        "karez_auth_failures_total",
        "tokens that could not be got, or credentials that were refused",
    );
    text.counter("karez_auth_token_expirations_total", "tokens that had expired when they were wanted");
    text.gauge("karez_connection_needs_login", "1 while somebody has to log in: karez connect NAME");
    for status in fleet.connections.status() {
        connection(text, &status);
    }
}

fn connection(text: &mut Exposition, status: &ConnectionStatus) {
    let name = ("connection", &*status.name);
    let calls = &status.calls;
    text.sample("karez_api_calls_total", &[name, ("result", "success")], calls.successful);
    text.sample("karez_api_calls_total", &[name, ("result", "failure")], calls.failed);
    for error in ERROR_NAMES {
        let count = calls.failed_by.get(error).copied().unwrap_or_default();
        text.sample("karez_api_errors_total", &[name, ("error", error)], count);
    }
    text.buckets(
        "karez_api_call_seconds",
        &[name],
        &calls.latency.buckets,
        (calls.latency.count, calls.latency.sum_seconds),
    );
    text.sample("karez_api_turned_away_total", &[name], calls.turned_away);
    text.sample("karez_api_retries_total", &[name], calls.retries);
    text.sample("karez_api_throttled_seconds_total", &[name], calls.throttled_seconds);
    let cache = &calls.cache;
    for (result, count) in
        [("hit", cache.hits), ("unchanged", cache.unchanged), ("miss", cache.misses), ("error", cache.errors)]
    {
        text.sample("karez_api_cache_total", &[name, ("result", result)], count);
    }
    for quota in &status.quotas {
        text.sample("karez_api_quota_remaining", &[name, ("quota", &*quota.name)], quota.remaining);
    }
    let tokens = &status.tokens;
    text.sample("karez_auth_token_refreshes_total", &[name], tokens.refreshes);
    text.sample("karez_auth_failures_total", &[name], tokens.failures);
    text.sample("karez_auth_token_expirations_total", &[name], tokens.expirations);
    let needs_login = status.auth.as_ref().is_some_and(|auth| auth.state == "needs_login");
    text.sample("karez_connection_needs_login", &[name], needs_login);
    text.sample("karez_api_circuit_closed", &[name], matches!(status.circuit, CircuitState::Closed));
}
