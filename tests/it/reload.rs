//! Files that change while the daemon runs.

use std::fs::{OpenOptions, remove_file};
use std::io::Write as _;
use std::time::Duration;

use karez_tests::{Daemon, Folder, Load, Receiver, Reply, Request, Seen, eventually, json, never};
use rustix::process::Signal;

use crate::webhook_to;

/// From `/orders` to `out.ndjson`, marked with a version.
fn version(n: u64) -> String {
    let rest = format!(
        "dedup: {{key: $.id, ttl: 1h}}\nsteps:\n  - set: {{version: {n}}}\nsink: {{files: {{path: out.ndjson}}}}"
    );
    webhook_to("orders", &rest)
}

fn start() -> Daemon {
    Daemon::start(Folder::new().with("orders", &version(1)))
}

/// Posts events until one comes out marked with this version. Each is accepted.
fn runs(daemon: &Daemon, next: &mut u64, version: u64) {
    eventually("the new version takes over", || {
        daemon.post("/webhooks/orders", &json!({"id": *next}));
        *next += 1;
        daemon.numbers("out.ndjson", "version").last() == Some(&version)
    });
}

const FAILED: &str = "karez_reload_total{result=\"failed\"}";

#[test]
fn a_changed_step_takes_over_under_load_and_nobody_is_refused() {
    let daemon = start();
    let load = Load::start(daemon.ingress(), "/webhooks/orders", 8);
    for n in 2..=6 {
        load.progresses(50);
        daemon.pipeline("orders", &version(n));
        eventually("the new version takes over", || daemon.numbers("out.ndjson", "version").contains(&n));
    }
    let sent = load.finish();
    assert!(sent.refusals.is_empty(), "{:?}", sent.refusals);
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), sent.count);
    assert_eq!(metrics.value(FAILED), 0);
    let mut written = daemon.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, (0..sent.count).collect::<Vec<_>>());
}

#[test]
fn a_wrong_file_leaves_the_last_good_version_running_and_is_shown_everywhere() {
    let daemon = start();
    let mut next = 0;
    runs(&daemon, &mut next, 1);
    daemon.pipeline("orders", &version(2).replace("set:", "sett:"));
    eventually("the failed reload is counted", || daemon.metrics().value(FAILED) >= 1);
    assert!(daemon.metrics().value("karez_file_problems") >= 1);
    let status = daemon.karez(&["status"]).exits(0).stdout;
    assert!(status.contains("orders.yaml:4:5") && status.contains("sett"), "{status}");
    daemon.says("sett");
    assert_eq!(daemon.api("GET", "problems").json()["problems"][0]["line"], 4);
    for _ in 0..5 {
        runs(&daemon, &mut next, 1);
    }
    daemon.pipeline("orders", &version(3));
    runs(&daemon, &mut next, 3);
    assert_eq!(daemon.metrics().value("karez_file_problems"), 0);
}

#[test]
fn a_half_written_file_is_not_taken() {
    let daemon = start();
    let mut next = 0;
    let new = version(2);
    let (half, rest) = new.split_at(new.len() / 2);
    let path = daemon.at("pipelines/orders.yaml");
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    never(Duration::from_millis(1_000), "half a file is taken", || daemon.metrics().value(FAILED) > 0);
    runs(&daemon, &mut next, 1);
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    runs(&daemon, &mut next, 2);
    assert_eq!(daemon.metrics().value(FAILED), 0);
}

#[test]
fn pipelines_come_and_go_with_their_files() {
    let daemon = start();
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.pipeline("more", &webhook_to("more", "sink: {files: {path: more.ndjson}}"));
    let status = |path: &str| daemon.send(&Request::post(path, json!({"id": 2}))).status;
    eventually("the new pipeline answers", || status("/webhooks/more") == 200);
    remove_file(daemon.at("pipelines/orders.yaml")).unwrap();
    eventually("the old one is gone", || status("/webhooks/orders") == 404);
    eventually("it is not shown any more", || daemon.status("orders").is_null());
    assert_eq!(
        daemon.metrics().value("karez_pipeline_reloads_total{pipeline=\"more\"}"),
        0,
        "it is not touched"
    );
    assert_eq!(daemon.numbers("out.ndjson", "id").first(), Some(&1), "it was drained");
    assert_eq!(status("/webhooks/more"), 200);
    daemon.drained("more");
}

#[test]
fn a_schema_that_changes_takes_effect() {
    let folder = Folder::new();
    let schema = |kind: &str| format!("{{\"properties\": {{\"id\": {{\"type\": \"{kind}\"}}}}}}");
    folder.write("schemas/order.schema.json", schema("string"));
    folder.pipeline(
        "orders",
        &webhook_to("orders", "steps:\n  - validate: order\nsink: {files: {path: out.ndjson}}"),
    );
    let daemon = Daemon::start(folder);
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    assert_eq!(daemon.drained("orders").outcome("orders", "dead_lettered"), 1);
    daemon.write("schemas/order.schema.json", schema("integer"));
    let mut next = 2;
    eventually("the new schema counts", || {
        daemon.post("/webhooks/orders", &json!({"id": next}));
        next += 1;
        daemon.drained("orders").outcome("orders", "delivered") > 0
    });
}

/// A daemon whose token stands in a file that is not watched.
fn with_secret() -> (Daemon, impl Fn(&Daemon, &str) -> u16) {
    let folder = Folder::new();
    folder.write("secrets/token", "first");
    let token = folder.at("secrets/token");
    folder.pipeline(
        "signed",
        &format!(
            "source: {{webhook: {{path: /signed, verify: {{token: {{header: X-Token, token: \"${{file:{}}}\"}}}}}}}}\nsink: {{blackhole: {{}}}}\n",
            token.display()
        ),
    );
    let post = |daemon: &Daemon, token: &str| {
        daemon.send(&Request::post("/webhooks/signed", "{}").header("X-Token", token)).status
    };
    let daemon = Daemon::start(folder);
    assert_eq!((post(&daemon, "first"), post(&daemon, "second")), (200, 401));
    daemon.write("secrets/token", "second");
    (daemon, post)
}

#[test]
fn a_hangup_reads_secrets_again() {
    let (daemon, post) = with_secret();
    daemon.signal(Signal::HUP);
    eventually("the new token counts", || post(&daemon, "second") == 200);
    assert_eq!(post(&daemon, "first"), 401);
}

#[test]
fn a_reload_can_be_asked_for_and_reports_what_it_did() {
    let (daemon, post) = with_secret();
    let report = daemon.api("POST", "reload");
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(report.json()["reloaded"], json!(["signed"]), "{}", report.text());
    assert_eq!((post(&daemon, "first"), post(&daemon, "second")), (401, 200));
    let again = daemon.api("POST", "reload").json();
    assert_eq!((&again["reloaded"], &again["unchanged"]), (&json!([]), &json!(1)), "{again}");
}

#[test]
fn values_of_the_environment_file_are_read_again() {
    let folder = Folder::new();
    folder.write(".env", "PLACE=here.ndjson\n");
    folder.pipeline("orders", &webhook_to("orders", "sink: {files: {path: \"${PLACE}\"}}"));
    let daemon = Daemon::start(folder);
    daemon.post("/webhooks/orders", &json!({"id": 0}));
    daemon.write(".env", "PLACE=there.ndjson\n");
    let mut next = 1;
    eventually("records go to the new place", || {
        daemon.post("/webhooks/orders", &json!({"id": next}));
        next += 1;
        !daemon.numbers("there.ndjson", "id").is_empty()
    });
    daemon.drained("orders");
    let mut written = [daemon.numbers("here.ndjson", "id"), daemon.numbers("there.ndjson", "id")].concat();
    written.sort_unstable();
    assert_eq!(written, (0..next).collect::<Vec<_>>());
}

#[test]
fn a_new_address_is_taken_by_what_waits_for_the_old_one() {
    let old = Receiver::start_with(|_| Reply::Status(503));
    let new = Receiver::start();
    let to = |receiver: &Receiver| {
        let sink = format!(
            "sink: {{http: {{url: \"{}\"}}, retry: {{initial: 50ms, max_wait: 500ms}}}}",
            receiver.url("/")
        );
        webhook_to("orders", &sink)
    };
    let daemon = Daemon::start(Folder::new().with("orders", &to(&old)));
    for id in 0..10 {
        daemon.post("/webhooks/orders", &json!({"id": id}));
    }
    old.sees(5);
    daemon.pipeline("orders", &to(&new));
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), 10);
    let mut arrived: Vec<u64> = new.taken().iter().map(Seen::id).collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..10).collect::<Vec<_>>());
    assert!(old.taken().is_empty());
}
