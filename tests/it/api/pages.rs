//! Paging: every style reads every record once, and stops where there is no more.

use karez_tests::{ApiServer, Daemon, Trouble, json};

use super::{BY_CURSOR, QUICK, SINCE, complete, folder, numbers, once, reading, tells, the_run, to_file};

/// Each style as a file says it.
const STYLES: [(&str, &str); 12] = [
    ("cursor", "path: /cursor/records\nrecords: $.items\npage: {cursor: $.next, into: query.cursor}"),
    ("header", "path: /header/records\npage: {cursor: {header: X-Next}, into: query.cursor}"),
    ("last", "path: /last/records\npage: {cursor: {last: $.id}, into: query.after}"),
    (
        "pages0",
        "path: /pages0/records\nrecords: $.items\npage: {number: {from: 0, size: 10}, into: query.page, size_into: query.limit}",
    ),
    (
        "pages1",
        "path: /pages1/records\nrecords: $.items\npage: {number: {from: 1, size: 10, total: $.pages}, into: query.page, size_into: query.limit}",
    ),
    (
        "offset",
        "path: /offset/records\nrecords: $.items\npage: {offset: {size: 10, total: $.total}, into: query.offset, size_into: query.limit}",
    ),
    ("link", "path: /link/records\npage: {link: next}"),
    ("next-url", "path: /next-url/records\nrecords: $.items\npage: {next_url: $.paging.next}"),
    ("in-a-header", "path: /cursor/records\nrecords: $.items\npage: {cursor: $.next, into: header.X-Cursor}"),
    (
        "in-a-body",
        "method: POST\npath: /cursor/records\nbody: {limit: 10}\nrecords: $.items\npage: {cursor: $.next, into: body.$.cursor}",
    ),
    (
        "in-a-form",
        "method: POST\npath: /cursor/records\nform: {limit: 10}\nrecords: $.items\npage: {cursor: $.next, into: form.cursor}",
    ),
    // No `into`: the request says it itself.
    (
        "said-itself",
        "path: /cursor/records\nquery: {limit: \"{{#if page.token}}20{{else}}10{{/if}}\"}\nrecords: $.items\npage: {cursor: $.next, into: query.cursor}",
    ),
];

#[test]
fn every_style_reads_every_record_exactly_once_whatever_the_last_page_is() {
    // Nothing, less than a page, a page, pages and a part, whole pages.
    for count in [0, 1, 10, 25, 30] {
        let api = ApiServer::with(count);
        let folder = folder(&api);
        for (name, keys) in STYLES {
            folder.pipeline(name, &to_file(name, keys, QUICK));
        }
        once(&folder);
        for (name, _) in STYLES {
            let mut records = folder.records(&format!("{name}.ndjson"));
            records.sort_by_key(|record| record["id"].as_u64());
            assert_eq!(records, api.records("records"), "{name}, {count} records");
        }
        let pages = (count as usize).div_ceil(10).max(1);
        for (name, extra) in [
            ("header", 0),
            ("pages1", 0),
            ("offset", 0),
            ("link", 0),
            ("next-url", 0),
            ("last", 1),
            ("pages0", 1),
        ] {
            let asked = api.count(&format!("/{name}/records"));
            assert!((pages..=pages + extra).contains(&asked), "{name}: {asked} requests for {count} records");
        }
    }
}

#[test]
fn an_address_works_as_a_connection_does() {
    let api = ApiServer::with(25);
    let folder = folder(&api);
    let pipeline = to_file("api", BY_CURSOR, QUICK)
        .replace("connection: api", &format!("url: \"{}\"\n    allow_private: [127.0.0.0/8]", api.url("")));
    folder.pipeline("api", &pipeline);
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
}

#[test]
fn a_page_of_which_every_record_is_left_out_is_not_the_last() {
    let api = ApiServer::with(30);
    // Left out by the source.
    let start = api.records("records")[20]["updated_at"].clone();
    let keys = format!(
        "{BY_CURSOR}\nincremental: {{cursor: $.updated_at, start: {start}, filter: client, safety_lag: 0s}}"
    );
    // Left out by a step.
    let step = "steps:\n  - filter: \"@.id > 20\"\nsink:";
    let folder = folder(&api)
        .with("source", &to_file("source", &keys, QUICK))
        .with("step", &to_file("step", BY_CURSOR, QUICK).replace("sink:", step));
    once(&folder);
    for name in ["source", "step"] {
        assert_eq!(numbers(&folder, name), (21..=30).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_token_does_not_lead_on_where_the_answer_says_that_there_is_no_more() {
    for (more, page) in [("\"@.more == true\"", "pick"), ("$.more", "condition")] {
        let api = ApiServer::with(40);
        // There is a token on the last page, too.
        api.trouble(|asked| {
            let nth = asked.nth;
            Some(Trouble::edit(move |body| body["more"] = json!(nth < 2)))
        });
        let keys = BY_CURSOR.replace("into:", &format!("more: {more}, into:"));
        let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
        once(&folder);
        assert_eq!(numbers(&folder, "api"), (1..=30).collect::<Vec<_>>(), "{page}");
        assert_eq!(api.count("/cursor/records"), 3);
    }
}

#[test]
fn an_empty_token_is_the_end() {
    for token in [json!(""), json!(null)] {
        let api = ApiServer::with(30);
        api.trouble(move |asked| (asked.nth == 1).then(|| Trouble::token(token.clone())));
        let folder = folder(&api).with("api", &to_file("api", BY_CURSOR, QUICK));
        once(&folder);
        assert_eq!((numbers(&folder, "api").len(), api.count("/cursor/records")), (20, 2));
    }
}

#[test]
fn a_cursor_s_first_value_is_sent_where_the_file_gives_one() {
    let api = ApiServer::with(25);
    let keys = BY_CURSOR.replace("into:", "start: t0-10, into:");
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (11..=25).collect::<Vec<_>>());
    assert_eq!(api.seen()[0].query("cursor").as_deref(), Some("t0-10"));
}

#[test]
fn the_same_token_twice_is_an_error_and_nothing_is_lost_or_repeated_once_it_is_mended() {
    // What is remembered of records that were read, too, is not what was given out.
    let window = "incremental: {cursor: $.updated_at, start: \"2020-01-01\", safety_lag: 0s, lookback: 2d}";
    for keys in [BY_CURSOR.to_owned(), format!("{SINCE}\n{window}")] {
        // A leads to A; A leads to B and B to A.
        for repeats in [["t0-10", "t0-10"], ["t0-20", "t0-10"]] {
            let api = ApiServer::with(50);
            api.trouble(move |asked| {
                let token = match asked.seen.query("cursor").as_deref() {
                    Some("t0-10") => repeats[0],
                    Some("t0-20") => repeats[1],
                    _ => return None,
                };
                Some(Trouble::token(token))
            });
            let daemon = reading(&api, &keys, QUICK);
            tells(&daemon, "read already");
            let asked = api.count("/cursor/records");
            api.sees("/cursor/records", asked + 3);
            tells(&daemon, "read already");
            assert!(numbers(&daemon, "api").len() <= 30, "{repeats:?}");
            api.heal();
            complete(&daemon, 1..=50);
        }
    }
}

#[test]
fn more_pages_than_there_may_be_are_an_error() {
    let api = ApiServer::with(100);
    let daemon = reading(&api, &format!("{BY_CURSOR}\nmax_pages: 5"), QUICK);
    tells(&daemon, "max_pages");
    assert!(numbers(&daemon, "api").len() <= 50);
}

#[test]
fn a_run_tells_what_it_did_and_it_adds_up() {
    let api = ApiServer::with(45);
    let daemon = reading(&api, BY_CURSOR, QUICK);
    complete(&daemon, 1..=45);
    karez_tests::eventually("the run is done", || the_run(&daemon)["state"] == "done");
    let run = the_run(&daemon);
    let count = |name: &str| run[name].as_u64().unwrap();
    assert_eq!((count("run"), count("pages"), count("read"), count("emitted")), (1, 5, 45, 45), "{run}");
    assert_eq!(count("read"), count("deduped") + count("outside") + count("emitted"));
    assert_eq!((count("requests"), count("retries")), (5, 0));
    assert!(count("bytes") > 45 * 50, "{run}");
}

#[test]
fn a_run_once_says_where_every_record_went_that_was_read() {
    let api = ApiServer::with(45);
    let start = api.records("records")[9]["updated_at"].clone();
    let keys = format!(
        "{BY_CURSOR}\nincremental: {{cursor: $.updated_at, start: {start}, filter: client, safety_lag: 0s}}"
    );
    let step = "steps:\n  - filter: \"@.id > 20\"\nsink:";
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK).replace("sink:", step));
    // Nine lie before the start, eleven are left out by the step; the second time all but the last one are known to be old.
    for parts in [["outside 9", "filtered 11", "delivered 25"], ["outside 44", "deduped 1", "delivered 0"]] {
        let said = once(&folder);
        let line =
            said.lines().find(|line| line.starts_with("api: read ")).unwrap_or_else(|| panic!("{said}"));
        let numbers: Vec<u64> =
            line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        assert_eq!((numbers[0], numbers[1..].iter().sum()), (45, 45), "{line}");
        let holds = |part: &str| part.ends_with(" 0") || line.contains(part);
        assert!(parts.iter().all(|part| holds(part)), "{line}");
    }
    assert_eq!(numbers(&folder, "api"), (21..=45).collect::<Vec<_>>());
}

#[test]
fn what_was_read_to_the_end_without_a_schedule_is_not_read_again() {
    let api = ApiServer::with(25);
    let folder = folder(&api).with("api", &to_file("api", BY_CURSOR, QUICK));
    let said = once(&folder);
    assert!(said.contains("25"), "{said}");
    let asked = api.seen().len();
    let mut daemon = Daemon::start(folder);
    karez_tests::eventually("it has come to its end", || daemon.status("api")["state"] == "ended");
    daemon.stop();
    assert_eq!((numbers(&daemon, "api").len(), api.seen().len()), (25, asked));
}
