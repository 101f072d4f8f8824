//! Forms of answers: everything says the same in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use karez_tests::{ApiServer, Daemon, Json, Reply, Trouble, eventually, json};

use super::{QUICK, folder, numbers, once, source, tells, to_file};

#[test]
fn whatever_the_form_the_records_are_the_same() {
    let api = ApiServer::with(25);
    let forms = [
        ("ndjson", "path: /ndjson/records\nformat: ndjson"),
        ("gzip", "path: /gzip/records\ngzip: true"),
        ("encoded", "path: /encoded/records"),
    ];
    let folder = folder(&api);
    for (name, keys) in forms {
        folder.pipeline(name, &to_file(name, keys, QUICK));
    }
    once(&folder);
    for (name, _) in forms {
        assert_eq!(folder.records(&format!("{name}.ndjson")), api.records("records"), "{name}");
    }
}

#[test]
fn a_table_becomes_records_by_its_header() {
    let api = ApiServer::with(5);
    let keys = "path: /csv/records\nformat: {csv: {delimiter: \",\", header: true}}";
    let folder = folder(&api).with("api", &to_file("api", keys, QUICK));
    once(&folder);
    let expected: Vec<Json> = api
        .records("records")
        .into_iter()
        .map(|mut record| {
            for name in ["id", "parent"] {
                record[name] = record[name].to_string().into();
            }
            record
        })
        .collect();
    assert_eq!(folder.records("api.ndjson"), expected);
}

#[test]
fn xml_becomes_records_whose_lists_are_always_lists() {
    let api = ApiServer::with(3);
    let keys = "path: /xml/records\nformat: {xml: {record: /Orders/Order, list: [Line]}}";
    let folder = folder(&api).with("api", &to_file("api", keys, QUICK));
    once(&folder);
    let order = |id: u64, lines: &[&str]| {
        let mut order = json!({"Id": id.to_string(), "Payload": format!("records \"{id}\", v1 <&>")});
        if !lines.is_empty() {
            order["Line"] = json!(lines);
        }
        order
    };
    let expected = [order(1, &["0"]), order(2, &["0", "1"]), order(3, &[])];
    assert_eq!(folder.records("api.ndjson"), expected);
}

#[test]
fn a_body_that_is_cut_or_not_of_its_form_is_an_error_and_yields_nothing() {
    let not_zipped = Reply::Whole(200, vec![("Content-Type", "application/gzip".to_owned())], "plain".into());
    let half =
        Reply::Whole(200, vec![("Content-Type", "text/plain".to_owned())], "{\"id\":1}\n{\"id\":".into());
    for (keys, reply) in [
        ("path: /gzip/records\ngzip: true", not_zipped),
        ("path: /ndjson/records\nformat: ndjson", half),
        (
            "path: /xml/records\nformat: {xml: {record: /Orders/Order, list: [Line]}}",
            Reply::Whole(200, vec![("Content-Type", "application/xml".to_owned())], "<Orders><Order>".into()),
        ),
    ] {
        let api = ApiServer::with(3);
        api.trouble(move |_| Some(Trouble::Instead(reply.clone())));
        let daemon = Daemon::start(folder(&api).with("api", &to_file("api", keys, QUICK)));
        tells(&daemon, "\"down\"");
        assert_eq!(daemon.records("api.ndjson").len(), 0, "{keys}");
        api.heal();
        eventually("the records arrive", || daemon.records("api.ndjson").len() >= 3);
        daemon.drained("api");
        assert_eq!(daemon.records("api.ndjson").len(), 3, "{keys}");
    }
}

/// An answer of many megabytes, which is read while it comes.
fn long(records: u64) -> ApiServer {
    let api = ApiServer::with(records);
    // As slow as a report may be.
    api.pour(Duration::from_millis(20));
    api
}

#[test]
fn a_long_answer_is_read_while_it_comes_and_written_once_though_the_process_is_killed_in_the_middle() {
    for (form, keys, records, requests) in [
        ("ndjson", "path: /ndjson/records\nformat: ndjson\nkey: [id]", 60_000, 1),
        ("csv", "path: /csv/records\nformat: csv\nkey: [id]", 60_000, 1),
        // That it is too long to be held is seen by the first request of a process.
        ("json", "path: /list/records\nrecords: $.items\nkey: [id]", 120_000, 2),
    ] {
        let api = long(records);
        let cast = to_file("api", keys, QUICK).replace("sink:", "steps:\n  - cast: {id: integer}\nsink:");
        let mut daemon = Daemon::start(folder(&api).with("api", &cast));
        for kill in 1..=2 {
            eventually("it is written before it has come whole", || {
                numbers(&daemon, "api").len() > 2_000 * kill
            });
            daemon.kill();
            daemon.restart();
        }
        eventually("all of it arrives", || numbers(&daemon, "api").len() as u64 >= records);
        daemon.drained("api");
        assert!(numbers(&daemon, "api").into_iter().eq(1..=records), "{form}");
        assert!((3..=3 * requests).contains(&api.seen().len()), "{form}");
    }
}

#[test]
fn a_long_answer_is_judged_by_what_stands_beside_its_records_where_a_rule_looks_there() {
    let api = ApiServer::with(120_000);
    api.trouble(|asked| (asked.nth < 2).then(|| Trouble::edit(|body| body["failed"] = true.into())));
    let rule = "errors: [{status: [200], body: $.failed, is: [true], do: fail}]";
    let keys = format!("path: /list/records\nrecords: $.items\nkey: [id]\n{rule}");
    let daemon = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
    eventually("all of it arrives", || numbers(&daemon, "api").len() >= 120_000);
    daemon.drained("api");
    assert!(numbers(&daemon, "api").into_iter().eq(1..=120_000));
    assert_eq!(api.seen().len(), 3);
}

#[test]
fn a_long_answer_that_breaks_off_is_read_again_and_nothing_is_written_twice() {
    let api = long(60_000);
    api.trouble(|asked| (asked.nth < 2).then_some(Trouble::Truncated));
    let keys = "path: /ndjson/records\nformat: ndjson\nkey: [id]";
    let daemon = Daemon::start(folder(&api).with("api", &to_file("api", keys, QUICK)));
    api.sees("/ndjson/records", 3);
    eventually("all of it arrives", || numbers(&daemon, "api").len() >= 60_000);
    daemon.drained("api");
    assert!(numbers(&daemon, "api").into_iter().eq(1..=60_000));
}

/// A pipeline from a connection of `records`.
fn graph(fields: &str, more: &str) -> String {
    let query = format!(
        "query($first: Int, $after: String, $since: String) {{ records(first: $first, after: $after) {{ {fields} pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let keys = format!(
        "path: /graphql\nquery: \"{query}\"\npage: {{relay: $.data.records, into: after, size: 10, size_into: first}}\nkey: [id]{more}"
    );
    source("graphql", &keys, QUICK, "sink: {files: {path: api.ndjson}}")
}

#[test]
fn a_relay_connection_is_read_through_its_edges_or_its_nodes() {
    let edges = "\nrecords: \"$.data.records.edges[*].node\"";
    for (fields, keys) in [("edges { cursor node { id payload } }", edges), ("nodes { id payload }", "")] {
        for count in [0, 10, 25] {
            let api = ApiServer::with(count);
            let folder = folder(&api).with("api", &graph(fields, keys));
            once(&folder);
            assert_eq!(numbers(&folder, "api"), (1..=count).collect::<Vec<_>>(), "{fields}");
            assert_eq!(api.count("/graphql"), (count as usize).div_ceil(10).max(1), "{fields}");
        }
    }
}

#[test]
fn a_page_that_takes_too_long_is_asked_for_in_half_the_size() {
    let api = ApiServer::with(25);
    api.trouble(|asked| {
        let first = asked.seen.json()["variables"]["first"].as_u64();
        (first > Some(10)).then(|| Trouble::status(504))
    });
    let pipeline = graph("nodes { id }", "").replace("size: 10", "size: 40");
    let daemon = Daemon::start(folder(&api).with("api", &pipeline));
    super::complete(&daemon, 1..=25);
    let sizes: Vec<_> =
        api.asked("/graphql").iter().map(|seen| seen.json()["variables"]["first"].as_u64()).collect();
    // Those behind it are asked for in that size, too.
    assert_eq!(sizes, [40, 20, 10, 10, 10].map(Some));
}

#[test]
fn errors_of_graphql_under_status_200_are_errors() {
    let api = ApiServer::with(25);
    api.trouble(|asked| {
        let error = json!([{"message": "the database sleeps", "extensions": {"code": "INTERNAL"}}]);
        (asked.nth >= 1).then(|| Trouble::edit(move |body| body["errors"] = error.clone()))
    });
    let daemon = Daemon::start(folder(&api).with("api", &graph("nodes { id }", "\non_errors: fail")));
    tells(&daemon, "the database sleeps");
    assert!(numbers(&daemon, "api").len() <= 10);
    api.heal();
    super::complete(&daemon, 1..=25);

    // What there is beside the errors is taken, where the file says so.
    let api = ApiServer::with(25);
    api.trouble(|_| {
        Some(Trouble::edit(|body| body["errors"] = json!([{"message": "one field is missing"}])))
    });
    let folder = folder(&api).with("api", &graph("nodes { id }", "\non_errors: partial"));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
}

#[test]
fn a_query_that_costs_more_than_is_left_waits() {
    let api = ApiServer::with(50);
    api.budget(20.0, 10.0);
    let daemon = Daemon::start(folder(&api).with("api", &graph("nodes { id }", "")));
    super::complete(&daemon, 1..=50);
    let seen = api.asked("/graphql");
    let took = seen.last().unwrap().at - seen[0].at;
    assert!(took >= Duration::from_millis(2_800), "{took:?}");
    assert!(seen.len() <= 20, "{} requests for five pages", seen.len());
    let cursors: BTreeSet<_> =
        seen.iter().map(|seen| seen.json()["variables"]["after"].to_string()).collect();
    assert_eq!(cursors.len(), 5);
}
