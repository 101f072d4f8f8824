//! Streams as lookups: one page of a stream, asked for about a record.

use karez_tests::{ApiServer, Daemon, Trouble, eventually, json};

use super::{QUICK, folder, numbers, once, source};

/// Issues of two projects, some of which have comments: more than a page of them.
fn api() -> ApiServer {
    let api = ApiServer::start();
    api.grow("projects", 2);
    api.grow_under("issues", 1, 12);
    api.grow_under("issues", 2, 3);
    for issue in [1, 13] {
        api.grow_under("comments", issue, 11);
    }
    api
}

const STREAMS: &str = "streams:\n  \
    projects: {path: /cursor/projects, records: $.items, key: [id]}\n  \
    issues:\n    for_each: projects\n    path: \"/cursor/projects/{{parent.id}}/issues\"\n    records: $.items\n    key: [id]\n    page: {cursor: $.next, into: query.cursor}\n  \
    comments:\n    path: \"/cursor/issues/{{parent.id}}/comments\"\n    records: $.items\n    page: {cursor: $.next, into: query.cursor}\n\
    emit: [issues]";

fn pipeline(steps: &str) -> String {
    source("http", STREAMS, QUICK, &format!("steps:\n{steps}\nsink: {{files: {{path: api.ndjson}}}}"))
}

#[test]
fn the_first_page_of_a_stream_is_what_is_found_for_a_record() {
    let api = api();
    let steps = "  - enrich: {stream: comments, into: $.comments}\n  \
                 - enrich: {stream: source/issues, parent: {id: $.parent}, pick: \"$[0].id\", into: $.first, cache: {key: \"{{parent}}\", ttl: 1h}}";
    let folder = folder(&api).with("api", &pipeline(steps));
    once(&folder);
    let mut issues = folder.records("api.ndjson");
    issues.sort_by_key(|issue| issue["id"].as_u64());
    assert_eq!(issues.len(), 15);
    for issue in &issues {
        let id = issue["id"].as_u64().unwrap();
        let comments = issue["comments"].as_array().unwrap();
        // One page, of eleven comments.
        assert_eq!(comments.len(), if [1, 13].contains(&id) { 10 } else { 0 }, "{issue}");
        assert!(comments.iter().all(|comment| comment["parent"] == id), "{issue}");
        assert_eq!(issue["first"], if id <= 12 { 1 } else { 13 }, "{issue}");
        assert_eq!(api.count(&format!("/cursor/issues/{id}/comments")), 1);
    }
    // Two pages and one are read by the source; each first one was looked up once.
    assert_eq!(api.count("/cursor/projects/1/issues"), 2 + 1);
    assert_eq!(api.count("/cursor/projects/2/issues"), 1 + 1);
}

#[test]
fn who_asks_about_something_else_gets_another_answer_and_queries_are_kept_too() {
    let api = api();
    let by = |parent: &str, into: &str| {
        format!(
            "  - enrich: {{stream: issues, parent: {{id: {parent}}}, pick: \"$[0].id\", into: {into}, cache: {{key: \"{{{{id}}}}\", ttl: 1h}}}}"
        )
    };
    let query = "  - enrich: {http: {connection: api, method: POST, path: /cursor/projects, body: {limit: 10}}, pick: \"$.items[0].id\", into: $.asked, cache: {key: all, ttl: 1h}}";
    let steps = format!("{}\n{}\n{query}", by("1", "$.one"), by("2", "$.two"));
    let folder = folder(&api).with("api", &pipeline(&steps));
    once(&folder);
    let issues = folder.records("api.ndjson");
    assert_eq!(issues.len(), 15);
    for issue in issues {
        assert_eq!(
            (&issue["one"], &issue["two"], &issue["asked"]),
            (&json!(1), &json!(13), &json!(1)),
            "{issue}"
        );
    }
    // The source asks for all projects, and the step once.
    assert_eq!(api.count("/cursor/projects"), 2);
}

#[test]
fn a_lookup_that_fails_is_tried_again_and_one_that_finds_nothing_is_missing() {
    let api = api();
    api.trouble(|asked| match &*asked.path {
        "/cursor/issues/1/comments" => (asked.nth < 3).then(|| Trouble::status(503)),
        "/cursor/issues/2/comments" => Some(Trouble::status(404)),
        _ => None,
    });
    let steps = "  - enrich: {stream: comments, into: $.comments, on_missing: \"null\"}\n    retry: {initial: 20ms, max_wait: 50ms}";
    let daemon = Daemon::start(folder(&api).with("api", &pipeline(steps)));
    eventually("all issues arrive", || numbers(&daemon, "api").len() == 15);
    let of = |id: u64| daemon.records("api.ndjson").into_iter().find(|issue| issue["id"] == id).unwrap();
    assert_eq!(of(1)["comments"].as_array().map(Vec::len), Some(10));
    assert_eq!(of(2)["comments"], json!(null));
    assert_eq!(api.count("/cursor/issues/1/comments"), 4);
}

#[test]
fn a_stream_that_changes_in_the_file_is_asked_as_it_is_then() {
    let api = api();
    let steps = "  - enrich: {stream: comments, into: $.comments, on_missing: \"null\"}";
    let text = pipeline(steps).replace(QUICK, "schedule: {every: 1s}");
    let daemon =
        Daemon::start(folder(&api).with("api", &text.replace("/cursor/issues/", "/cursor/nowhere/")));
    eventually("all issues arrive", || numbers(&daemon, "api").len() >= 15);
    assert!(daemon.records("api.ndjson").iter().all(|issue| issue["comments"].is_null()));
    daemon.pipeline("api", &text);
    eventually("the others are looked up", || {
        daemon.records("api.ndjson").iter().any(|issue| issue["comments"].is_array())
    });
}
