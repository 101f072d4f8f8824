//! Each command once as people use it and once as programs do, with its exit codes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use karez_tests::{Daemon, Folder, Json, json};

use crate::webhook_to;

const TESTED: &str = r#"
name: orders
source: {webhook: {path: /orders, verify: {none: {reason: test}}}}
steps:
  - {id: large, filter: "@.total > 10"}
sink: {files: {path: out.ndjson}}
tests:
  - name: small orders are left out
    input: {source: [{total: 1}, {total: 11}]}
    expect: {sink: [{total: 11}]}
"#;

fn good() -> Folder {
    Folder::new().with("orders", TESTED)
}

fn wrong() -> Folder {
    Folder::new().with("orders", &TESTED.replace("files:", "flies:").replace("@.total >", "@.total >>"))
}

#[test]
fn check_reports_every_problem_with_its_place() {
    let fine = good().karez(&["check"]).exits(0);
    assert!(fine.stdout.contains("no problems"), "{}", fine.stdout);
    assert_eq!(good().karez(&["check", "--format", "json"]).exits(0).json()["problems"], json!([]));

    let folder = wrong();
    let text = folder.karez(&["check"]).exits(1).stdout;
    assert!(text.contains("orders.yaml:5:") && text.contains("orders.yaml:6:"), "{text}");
    assert!(text.contains("did you mean"), "{text}");
    let problems = folder.karez(&["check", "pipelines", "--format", "json"]).exits(1).json();
    let problems = problems["problems"].as_array().unwrap().clone();
    let lines: Vec<_> = problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [5, 6], "{problems:?}");
    assert!(problems.iter().all(|problem| problem["code"].is_string() && problem["column"].is_u64()));
}

#[test]
fn check_shows_a_pipeline_as_it_is() {
    let shown = good().karez(&["check", "--show", "orders"]).exits(0);
    assert!(shown.stdout.contains("/orders"), "{}", shown.stdout);
    let nobody = good().karez(&["check", "--show", "oders"]).exits(3);
    assert!(nobody.stderr.contains("did you mean \"orders\"?"), "{}", nobody.stderr);
}

#[test]
fn test_runs_the_cases_of_files() {
    let fine = good().karez(&["test"]).exits(0);
    assert!(fine.stdout.contains("small orders are left out"), "{}", fine.stdout);
    let failing = Folder::new().with("orders", &TESTED.replace("[{total: 11}]}\n", "[{total: 12}]}\n"));
    let text = failing.karez(&["test"]).exits(1).stdout;
    assert!(text.contains("FAILED") && text.contains("1 failed"), "{text}");
    let report = failing.karez(&["test", "--format", "json"]).exits(1).json();
    assert_eq!(report["failed"], 1);
    assert_eq!(report["tests"][0]["test"], "small orders are left out");
    wrong().karez(&["test"]).exits(1);
    let refusing =
        TESTED.replace("steps:\n", "steps:\n  - {id: strict, validate: {schema: {required: [id]}}}\n");
    let text = Folder::new().with("orders", &refusing).karez(&["test"]).exits(1).stdout;
    assert!(text.contains("a record was refused at strict: validation[schema]"), "{text}");
}

#[test]
fn graph_draws_each_pipeline() {
    let mermaid = good().karez(&["graph"]).exits(0).stdout;
    assert!(
        mermaid.contains("flowchart LR") && mermaid.contains("large") && mermaid.contains("-->"),
        "{mermaid}"
    );
    let dot = good().karez(&["graph", "--format", "dot"]).exits(0).stdout;
    assert!(dot.contains("digraph") && dot.contains("->"), "{dot}");
}

#[test]
fn schema_prints_a_schema_that_knows_the_components() {
    let schema = good().karez(&["schema"]).exits(0).json();
    let text = schema.to_string();
    for component in ["webhook", "files", "amqp", "filter", "blackhole"] {
        assert!(text.contains(&format!("\"{component}\"")), "{component}");
    }
}

#[test]
fn new_writes_a_pipeline_that_passes_its_own_tests_and_is_not_written_over() {
    let folder = Folder::new();
    assert!(folder.karez(&["new", "first"]).exits(0).stdout.contains("first.yaml"));
    folder.karez(&["check"]).exits(0);
    folder.karez(&["test"]).exits(0);
    let again = folder.karez(&["new", "first"]).exits(3);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    folder.karez(&["new", "../first"]).exits(3);
}

#[test]
fn status_shows_what_runs_and_needs_a_daemon() {
    let folder = good();
    let nobody = folder.karez(&["status"]).exits(3);
    assert!(nobody.stderr.contains("karez run"), "{}", nobody.stderr);
    let mut daemon = Daemon::start(folder);
    daemon.post("/webhooks/orders", &json!({"total": 20}));
    daemon.drained("orders");
    let text = daemon.karez(&["status"]).exits(0).stdout;
    assert!(text.contains("orders") && text.contains("delivered 1"), "{text}");
    let status = daemon.karez(&["status", "--format", "json"]).exits(0).json();
    let pipeline = &status["pipelines"][0];
    assert_eq!((&pipeline["name"], &pipeline["state"]), (&json!("orders"), &json!("running")));
    assert_eq!(pipeline["counters"]["delivered"], 1);
    daemon.stop();
    daemon.karez(&["status"]).exits(3);
}

#[test]
fn tap_shows_records_as_they_pass() {
    let daemon = Daemon::start(good());
    let mut tap = daemon.command(["tap", "orders.large"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tap.stdout.take().unwrap());
    let (mut line, mut total) = (String::new(), 100);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| lines.read_line(&mut line).unwrap());
        // It shows what passes once it listens.
        karez_tests::eventually("a record is shown", || {
            daemon.post("/webhooks/orders", &json!({"total": total}));
            total += 1;
            first.is_finished()
        });
    });
    let shown: Json = serde_json::from_str(&line).unwrap();
    assert!(shown.to_string().contains("\"total\":1"), "{shown}");
    tap.kill().unwrap();
    tap.wait().unwrap();
    for (target, said) in [
        ("oders", "no pipeline \"oders\" is running; did you mean \"orders\"?"),
        ("orders.larg", "the pipeline has no node \"larg\"; did you mean \"large\"?"),
        ("a b/c?", "no pipeline \"a b/c?\" is running; there are: orders"),
    ] {
        let refused = daemon.karez(&["tap", target]).exits(3);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}

#[test]
fn store_verify_reads_a_folder_that_nobody_holds() {
    let mut daemon =
        Daemon::start(Folder::new().with("orders", &webhook_to("orders", "sink: {blackhole: {}}")));
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    let held = daemon.karez(&["store", "verify"]).exits(3);
    assert!(held.stderr.contains("stop it"), "{}", held.stderr);
    daemon.stop();
    assert!(daemon.karez(&["store", "verify"]).exits(0).stdout.contains("whole"));
    let report = daemon.karez(&["store", "verify", "--format", "json"]).exits(0).json();
    assert_eq!(report["damage"], json!([]), "{report}");
}

#[test]
fn a_journal_without_its_pipeline_is_kept_until_it_is_dropped() {
    let receiver = karez_tests::Receiver::start_with(|_| karez_tests::Reply::Hang);
    let sink = format!("sink: {{http: {{url: \"{}\"}}}}", receiver.url("/"));
    let mut daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", &sink)));
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.kill();
    std::fs::remove_file(daemon.at("pipelines/orders.yaml")).unwrap();
    daemon.restart();
    assert!(daemon.karez(&["status"]).exits(0).stdout.contains("store drop"));
    assert_eq!(daemon.metrics().value("karez_orphaned_streams"), 1);
    daemon.stop();
    let asked = daemon.karez(&["store", "drop", "orders"]).exits(3);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    daemon.karez(&["store", "drop", "orders", "--yes"]).exits(0);
    daemon.restart();
    assert_eq!(daemon.metrics().value("karez_orphaned_streams"), 0);
}

#[test]
fn a_run_with_an_end_is_not_in_the_way_of_a_daemon() {
    let folder = good();
    folder.write(
        "other/lines.yaml",
        "source: {files: {paths: [\"in.ndjson\"]}}\nsink: {files: {path: lines.ndjson}}\n",
    );
    folder.write("in.ndjson", "{\"n\": 1}\n");
    let daemon = Daemon::start(folder);
    let mut once = daemon.command(["run", "--once", "other", "--data-dir", "elsewhere"]);
    // Nobody posts to it, so the address of the daemon does not matter.
    let output = once.env("KAREZ_LISTEN", daemon.ingress().to_string()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("webhooks") && !said.contains(":7071"), "{said}");
    assert_eq!(daemon.numbers("lines.ndjson", "n"), [1]);
}

#[test]
fn nothing_is_left_of_a_dropped_pipeline_and_looking_makes_no_store() {
    let orders = webhook_to("orders", "dedup: {key: $.id}\nsink: {files: {path: out.ndjson}}");
    let mut daemon = Daemon::start(Folder::new().with("orders", &orders));
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.drained("orders");
    daemon.stop();
    let defined = daemon.karez(&["store", "drop", "orders", "--yes"]).exits(3);
    assert!(defined.stderr.contains("remove the file first"), "{}", defined.stderr);
    std::fs::remove_file(daemon.at("pipelines/orders.yaml")).unwrap();
    daemon.karez(&["store", "drop", "orders", "--yes"]).exits(0);
    daemon.pipeline("orders", &orders);
    daemon.restart();
    // Its key is not known any more.
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.drained("orders");
    assert_eq!(daemon.numbers("out.ndjson", "id"), [1, 1]);
    daemon.stop();
    for arguments in [&["dead-letters", "list"][..], &["store", "drop", "x", "--yes"]] {
        std::fs::create_dir_all(daemon.at("empty")).unwrap();
        let arguments = [arguments, &["--data-dir", "empty"]].concat();
        let refused = daemon.karez(&arguments).exits(3);
        assert!(refused.stderr.contains("holds no store"), "{}", refused.stderr);
        assert_eq!(std::fs::read_dir(daemon.at("empty")).unwrap().count(), 0);
    }
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    for arguments in [
        vec!["--nonsense"],
        vec!["fly"],
        vec!["run", "--listen", "nowhere"],
        vec!["check", "--config", "missing.yaml"],
        vec!["check", "--format", "xml"],
        vec!["new"],
    ] {
        good().karez(&arguments).exits(2);
    }
    let help = good().karez(&["--help"]).exits(0).stdout;
    for command in [
        "run",
        "check",
        "test",
        "graph",
        "schema",
        "new",
        "dead-letters",
        "tap",
        "status",
        "secrets",
        "store",
        "connections",
        "webhooks",
    ] {
        assert!(help.contains(&format!("\n  {command}")), "{command}: {help}");
    }
    assert!(good().karez(&["--version"]).exits(0).stdout.starts_with("karez "));
}
