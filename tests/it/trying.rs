//! An API that is explained, tried, recorded and replayed: what a source would ask, what it gets, and that nothing of
//! what goes wrong loses a record.

use karez_tests::{ApiServer, Daemon, Folder, Json, Output, json};

/// Issues of projects, in windows of a day, behind a key.
const ISSUES: &str = r#"
source:
  http:
    connection: tracker
    streams:
      projects: {path: /cursor/projects, records: $.items, page: {cursor: $.next, into: query.cursor}}
      issues:
        for_each: projects
        path: "/cursor/projects/{{parent.id}}/issues"
        records: $.items
        key: [id]
        page: {cursor: $.next, into: query.cursor}
        errors: [{status: [403], do: skip_partition}]
      all:
        path: /cursor/records
        query: {since: "{{window.from}}", until: "{{window.to}}"}
        records: $.items
        key: [id]
        page: {cursor: $.next, into: query.cursor}
        incremental: {cursor: $.updated_at, start: START, step: 1d, lookback: 10m}
  schedule: {every: 1h}
sink: {files: {path: out.ndjson}}
"#;

fn folder(api: &ApiServer) -> Folder {
    let connection = format!(
        "connections: {{tracker: {{url: \"{}\", auth: {{bearer: {{token: s3cret-token}}}}, limits: {{concurrency: 8, quotas: [{{rate: 1000/s}}]}}}}}}\n",
        api.url("")
    );
    let start = api.began() - jiff::SignedDuration::from_hours(60);
    Folder::new()
        .with("tracker", &ISSUES.replace("START", &format!("\"{start}\"")))
        .with("shared", &connection)
}

fn api() -> ApiServer {
    let api = ApiServer::with(25);
    api.grow("projects", 12);
    (1..=12).for_each(|project| api.grow_under("issues", project, 3));
    api
}

fn karez(folder: &Folder, arguments: &[&str]) -> Output {
    let output = folder.command(arguments).env("KAREZ_ALLOW_PRIVATE", "127.0.0.0/8").output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn streams(told: &Json) -> Vec<Json> {
    told["sources"][0]["streams"].as_array().unwrap().clone()
}

#[test]
fn explain_tells_what_would_be_asked_and_asks_nothing() {
    let api = api();
    let folder = folder(&api);
    let told = karez(&folder, &["explain", "tracker", "--format", "json"]).exits(0).json();
    let [all, issues] = &streams(&told)[..] else { panic!("{told}") };
    assert_eq!((&all["stream"], &all["begins"]["why"]), (&json!("all"), &json!("start")));
    assert_eq!((&all["windows"]["count"], &all["windows"]["step"]), (&json!(3), &json!("1d")));
    let target = all["request"]["target"].as_str().unwrap();
    assert!(target.starts_with("/cursor/records?since=") && target.contains("&until="), "{target}");
    assert_eq!(issues["partitions"]["stream"], "projects");
    assert_eq!(issues["request"]["template"], "/cursor/projects/{{parent.id}}/issues");
    assert_eq!(issues["errors"], json!(["403 -> skip_partition"]));
    assert_eq!(told["sources"][0]["schedule"].as_array().unwrap().len(), 3);
    let page = karez(&folder, &["explain", "tracker"]).exits(0).stdout;
    for part in
        ["8 calls at once", "3 of 1d", "each record of projects (by id)", "cursor $.next -> query.cursor"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.lines().count() < 30, "{page}");
    assert!(api.seen().is_empty() && !page.contains("s3cret"));
    let nobody = karez(&folder, &["explain", "trcker"]).exits(2);
    assert!(nobody.stderr.contains("did you mean \"tracker\"?"), "{}", nobody.stderr);
}

#[test]
fn explain_knows_where_a_daemon_or_a_run_has_left_a_stream() {
    let api = api();
    let mut daemon = Daemon::start(folder(&api));
    daemon.drained("tracker");
    karez_tests::eventually("all runs are done", || {
        let told = karez(&daemon, &["explain", "tracker", "--format", "json"]).exits(0).json();
        streams(&told).iter().all(|stream| stream["run"] == json!({"number": 2, "resumed": false}))
    });
    daemon.stop();
    let told = karez(&daemon, &["explain", "tracker", "--format", "json"]).exits(0).json();
    let [all, issues] = &streams(&told)[..] else { panic!("{told}") };
    assert_eq!(all["begins"]["why"], "saved_mark");
    assert!(all["begins"]["text"].as_str().unwrap().contains("less 10m of lookback"), "{all}");
    assert_eq!(issues["run"]["number"], 2);
    let fresh = karez(&daemon, &["explain", "tracker", "--fresh", "--format", "json"]).exits(0).json();
    assert_eq!(streams(&fresh)[0]["begins"]["why"], "start");
}

#[test]
fn a_try_fetches_one_page_and_saves_nothing() {
    let api = api();
    let folder = folder(&api);
    let told = karez(&folder, &["explain", "tracker", "--try", "--format", "json"]).exits(0).json();
    let tried = &told["sources"][0]["tried"];
    assert!(tried["records"].as_u64() > Some(0) && tried["first"].as_array().unwrap().len() <= 3, "{tried}");
    assert!(tried["position"].is_object() && !tried.to_string().contains("s3cret"), "{tried}");
    let exchanges = tried["exchanges"].as_array().unwrap();
    assert!(exchanges.iter().any(|one| one["status"] == 200 && one["body"].as_str().unwrap().len() <= 500));
    // One more may have gone out beside the last one, for whose answer nobody waits any more.
    let asked = api.seen().len();
    assert!((exchanges.len()..=exchanges.len() + 1).contains(&asked), "{asked} requests, {exchanges:?}");
    assert!(exchanges.len() <= 4, "{exchanges:?}");
    assert!(!folder.at(".karez").exists());

    api.trouble(|_| Some(karez_tests::Trouble::status(403)));
    let failed = karez(&folder, &["explain", "tracker", "--try"]).exits(3).stdout;
    assert!(failed.contains("problem") && failed.contains("403"), "{failed}");
}

#[test]
fn a_daemon_tries_and_records_with_the_secrets_that_it_holds() {
    let api = api();
    let connection = format!(
        "connections: {{tracker: {{url: \"{}\", auth: {{bearer: {{token: \"${{secret:tracker}}\"}}}}}}}}\n",
        api.url("")
    );
    let start = api.began() - jiff::SignedDuration::from_hours(60);
    let folder = crate::secrets::keyed()
        .with("tracker", &ISSUES.replace("START", &format!("\"{start}\"")))
        .with("shared", &connection);
    crate::secrets::set(&folder, "tracker", "st0red-token").exits(0);
    let daemon = Daemon::start(folder);
    daemon.drained("tracker");
    let before = api.seen().len();
    let told = karez(&daemon, &["explain", "tracker", "--try", "--fresh", "--format", "json"]).exits(0);
    let tried = &told.json()["sources"][0]["tried"];
    assert!(tried["records"].as_u64() > Some(0) && !tried.to_string().contains("st0red"), "{tried}");
    let said = karez(&daemon, &["record", "tracker", "--pages", "3"]).exits(0).stdout;
    assert!(said.contains("3 exchanges in pipelines/fixtures/tracker.json, cut short"), "{said}");
    let fixture = daemon.read("pipelines/fixtures/tracker.json");
    assert!(!fixture.contains("st0red") && !fixture.contains("authorization"), "{fixture}");
    karez(&daemon, &["record", "tracker"]).exits(2);
    let sent = api.seen().split_off(before);
    assert!(
        sent.len() >= 4
            && sent.iter().all(|seen| seen.header("authorization") == Some("Bearer st0red-token"))
    );
    // Nothing of it has moved what is saved.
    let told = karez(&daemon, &["explain", "tracker", "--format", "json"]).exits(0).json();
    assert_eq!(streams(&told)[0]["begins"]["why"], "saved_mark");

    let elsewhere = karez(&daemon, &["explain", "tracker", "pipelines", "--try"]).exits(2).stderr;
    assert!(elsewhere.contains("leave the paths out"), "{elsewhere}");
    for command in [&["explain", "trcker", "--try"][..], &["record", "trcker"]] {
        let nobody = karez(&daemon, command).exits(2).stderr;
        assert!(nobody.contains("did you mean \"tracker\"?"), "{nobody}");
    }
}

#[test]
fn what_was_recorded_is_replayed_with_every_fault_and_loses_nothing() {
    let api = api();
    let folder = folder(&api);
    let said = karez(&folder, &["record", "tracker"]).exits(0).stdout;
    assert!(said.contains("pipelines/fixtures/tracker.json"), "{said}");
    let fixture = folder.read("pipelines/fixtures/tracker.json");
    assert!(!fixture.contains("s3cret") && !fixture.contains("authorization"), "{fixture}");
    karez(&folder, &["record", "tracker"]).exits(2);
    karez(&folder, &["record", "tracker", "--force"]).exits(0);
    let asked = api.seen().len();
    drop(api);

    let pipeline = folder.read("pipelines/tracker.yaml");
    let case = |expect: &str, more: &str| {
        let case =
            format!("tests:\n  - {{name: all, replay: fixtures/tracker.json, expect: {expect}{more}}}\n");
        folder.pipeline("tracker", &format!("{pipeline}{case}"));
    };
    case("{filtered: 0}", "");
    let told = folder.karez(&["test", "--format", "json"]).exits(0).json();
    assert_eq!(told["tests"][0]["exchanges"].as_u64().map(|n| n * 2), Some(asked as u64), "{told}");
    assert!(told["tests"][0]["faults"].as_u64() > Some(asked as u64 * 2), "{told}");
    case("{filtered: 0}", ", faults: false");
    assert!(folder.karez(&["test"]).exits(0).stdout.contains("0 faults tried"));
    case("{sink: []}", ", faults: false");
    let wrong = folder.karez(&["test"]).exits(1).stdout;
    assert!(wrong.contains("expected 0 records, got 61 records"), "{wrong}");
    case("{filtered: 0}", ", now: \"2020-01-01T00:00:00Z\"");
    let other = folder.karez(&["test"]).exits(1).stdout;
    assert!(other.contains("is not in the fixture"), "{other}");
}

#[test]
fn a_recording_that_is_cut_short_ends_where_it_was_cut() {
    let api = api();
    let folder = folder(&api);
    let said = karez(&folder, &["record", "tracker", "--pages", "3", "--to", "short.json"]).exits(0).stdout;
    assert!(said.contains("3 exchanges in short.json, cut short by --pages"), "{said}");
    assert_eq!(api.seen().len(), 3);
    let pipeline = folder.read("pipelines/tracker.yaml");
    folder.pipeline(
        "tracker",
        &format!("{pipeline}tests: [{{replay: ../short.json, expect: {{filtered: 0}}}}]\n"),
    );
    let said = folder.karez(&["test"]).exits(0).stdout;
    assert!(said.contains("3 exchanges") && !said.contains("0 faults"), "{said}");
}
