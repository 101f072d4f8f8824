//! `rate_limit`: what is above it waits, and holds back no other.

use karez_tests::{Daemon, Folder, eventually, json};

#[test]
fn a_key_that_waits_holds_back_only_itself() {
    // A turn an hour: the second record of a key would come after the test.
    let pipeline = "source: {webhook: {path: /in, verify: {none: {reason: test}}}}\n\
                    sink:\n  files: {path: out.ndjson}\n  rate_limit: {rate: 1/h, key: $.tenant}\n";
    let daemon = Daemon::start(Folder::new().with("limited", pipeline));
    for (n, tenant) in ["a", "a", "a", "b", "c", "b"].into_iter().enumerate() {
        daemon.post("/webhooks/in", &json!({"n": n, "tenant": tenant}));
    }
    eventually("three records", || daemon.records("out.ndjson").len() == 3);
    let tenants: Vec<String> =
        daemon.records("out.ndjson").iter().map(|record| record["tenant"].to_string()).collect();
    assert_eq!(tenants, ["\"a\"", "\"b\"", "\"c\""]);
    eventually("the others wait", || daemon.metrics().in_flight("limited") == 3);
}

#[test]
fn a_source_lets_in_what_its_limit_says() {
    let pipeline = "source:\n  generate: {count: 50, template: {n: 1}}\n  rate_limit: {rate: 10/m}\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("slow", pipeline));
    eventually("the first record", || daemon.records("out.ndjson").len() == 1);
    assert!(daemon.records("out.ndjson").len() < 50);
}
