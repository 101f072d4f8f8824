//! Reports that are made at the far end: asked for, waited for, fetched, or called off.

use karez_tests::{ApiServer, Daemon, Folder, Reply, Trouble, eventually};

use super::{QUICK, complete, folder, numbers, once, tells, to_file};

const REPORT: &str = "path: \"/reports/{{job.id}}/file\"\nformat: {csv: {header: true}}\nkey: [id]\njob:\n  create: {method: POST, path: /reports, body: {from: 1}}\n  poll: {path: \"/reports/{{job.id}}\", every: 100ms, timeout: 1m, done: \"@.status == 'done'\", failed: \"@.status == 'failed'\"}\n  abort: {method: DELETE, path: \"/reports/{{job.id}}\"}";

/// Numbers of a table are texts.
fn pipeline(engine: &str) -> String {
    to_file("api", REPORT, engine).replace("sink:", "steps:\n  - cast: {id: integer}\nsink:")
}

#[test]
fn a_report_is_made_waited_for_and_fetched() {
    let api = ApiServer::with(25);
    api.reports_take(4);
    let folder = folder(&api).with("api", &pipeline(QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
    assert_eq!((api.reports(), api.count("/reports")), (vec!["done"], 1));
    assert_eq!((api.count("/reports/r0"), api.count("/reports/r0/file")), (4, 1));
    assert_eq!(api.seen()[0].json()["from"], 1);
}

#[test]
fn a_report_is_fetched_from_the_address_that_its_answer_gives() {
    let api = ApiServer::with(25);
    let folder =
        folder(&api).with("api", &pipeline(QUICK).replace("/reports/{{job.id}}/file", "{{job.url}}"));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
}

#[test]
fn a_report_elsewhere_is_fetched_without_saying_who_we_are_and_only_where_the_file_allows_it() {
    let api = ApiServer::with(25);
    api.trouble(|asked| {
        (asked.path == "/reports/r0" || asked.path == "/reports/r1").then(|| {
            Trouble::edit(|body| {
                if let Some(url) = body["url"].as_str() {
                    body["url"] = format!("{}?signed=1", url.replace("127.0.0.1", "localhost")).into();
                }
            })
        })
    });
    let shared = format!(
        "connections: {{api: {{url: \"{}\", headers: {{X-Tenant: acme}}, auth: {{bearer: {{token: s3cret}}}}}}}}\n",
        api.url("")
    );
    let given = pipeline(QUICK).replace("/reports/{{job.id}}/file", "{{job.url}}");
    let given = given.replace("key: [id]", "key: [id]\n    query: {ours: 1}");
    let refused = Daemon::start(Folder::new().with("shared", &shared).with("api", &given));
    tells(&refused, "localhost is not the host of connection api");
    assert_eq!(api.asked("/reports/r0/file").len(), 0);
    drop(refused);

    // The API's own host is never one of these.
    let hosts = "job:\n      hosts: [\"*.example.com\", localhost]\n";
    let allowed = given.replace("job:\n", hosts);
    let folder = Folder::new().with("shared", &shared).with("api", &allowed);
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
    let file = &api.asked("/reports/r1/file")[0];
    assert!(file.path.ends_with("/file?signed=1"), "{}", file.path);
    assert_eq!((file.header("authorization"), file.header("x-tenant")), (None, None));
    assert!(api.asked("/reports/r1").iter().all(|asked| asked.header("authorization").is_some()));
}

#[test]
fn a_report_whose_address_has_expired_is_made_again() {
    let api = ApiServer::with(25);
    api.trouble(|asked| match &*asked.path {
        "/reports/r0/file" => Some(Trouble::status(403)),
        path if path.starts_with("/reports/r") && !path.ends_with("/file") => Some(Trouble::edit(|body| {
            if let Some(url) = body["url"].as_str() {
                body["url"] = url.replace("127.0.0.1", "localhost").into();
            }
        })),
        _ => None,
    });
    let given = pipeline(QUICK).replace("/reports/{{job.id}}/file", "{{job.url}}");
    let given = given.replace("job:\n", "job:\n      hosts: [localhost]\n");
    let daemon = Daemon::start(folder(&api).with("api", &given));
    complete(&daemon, 1..=25);
    assert_eq!(api.reports(), ["done", "done"]);
}

#[test]
fn a_report_that_fails_is_an_error_and_another_one_is_made() {
    let api = ApiServer::with(5);
    api.reports_fail(true);
    let daemon = Daemon::start(folder(&api).with("api", &pipeline(QUICK)));
    tells(&daemon, "\"down\"");
    api.reports_fail(false);
    complete(&daemon, 1..=5);
    let states = api.reports();
    assert_eq!((states.first(), states.last()), (Some(&"failed"), Some(&"done")));
}

#[test]
fn a_report_that_takes_too_long_is_called_off() {
    let api = ApiServer::with(5);
    api.reports_take(1_000_000);
    let folder = folder(&api).with("api", &pipeline(QUICK).replace("timeout: 1m", "timeout: 1s"));
    let daemon = Daemon::start(folder);
    eventually("it is called off", || api.reports().contains(&"aborted"));
    api.reports_take(1);
    complete(&daemon, 1..=5);
}

#[test]
fn a_report_that_is_on_its_way_when_the_process_dies_is_waited_for_by_the_next() {
    let api = ApiServer::with(25);
    api.reports_take(1_000_000);
    let mut daemon = Daemon::start(folder(&api).with("api", &pipeline(QUICK)));
    api.sees("/reports/r0", 2);
    daemon.kill();
    api.reports_take(1);
    daemon.restart();
    complete(&daemon, 1..=25);
    assert_eq!((api.reports(), api.count("/reports")), (vec!["done"], 1), "no other one is made");
}

#[test]
fn a_report_that_is_not_known_any_more_is_made_again() {
    // While it is waited for; and when it is to be fetched.
    for gone in ["/reports/r0", "/reports/r0/file"] {
        let api = ApiServer::with(25);
        api.reports_take(3);
        api.trouble(move |asked| {
            (asked.path == gone && asked.nth == 0).then_some(Trouble::Instead(Reply::Hang))
        });
        let mut daemon = Daemon::start(folder(&api).with("api", &pipeline(QUICK)));
        api.sees(gone, 1);
        daemon.kill();
        api.trouble(|asked| asked.path.starts_with("/reports/r0").then(|| Trouble::status(404)));
        daemon.restart();
        complete(&daemon, 1..=25);
        assert_eq!(api.reports().len(), 2, "{gone}");
    }
}
