//! Answers that are no answers. Silence is not success: none of them is taken for "no records".

use std::time::Duration;

use karez_tests::{ApiServer, Daemon, Json, Reply, Trouble, eventually, json};

use super::{
    BY_CURSOR, EACH_SECOND, QUICK, complete, folder, numbers, once, reading, tells, the_run, to_file,
};

/// Something is wrong with the third answer, for as long as the test wants.
fn third(trouble: Trouble) -> ApiServer {
    let api = ApiServer::with(50);
    api.trouble(move |asked| (asked.seen.query("cursor")? == "t0-20").then(|| trouble.clone()));
    api
}

#[test]
fn what_is_not_what_the_file_says_is_an_error_and_not_nothing() {
    type Edit = fn(&mut Json);
    let without: Edit = |body| drop(body.as_object_mut().unwrap().remove("items"));
    for (trouble, told) in [
        (Trouble::html(), ""),
        (Trouble::empty(), ""),
        (Trouble::edit(without), "$.items"),
        (Trouble::status(500), "500"),
    ] {
        let api = third(trouble);
        let daemon = reading(&api, BY_CURSOR, QUICK);
        let asked = "/cursor/records";
        api.sees(asked, 4);
        eventually("it says that it does not work", || {
            let status = daemon.status("api").to_string();
            status.contains("\"down\"") && status.contains(told)
        });
        assert!(numbers(&daemon, "api").len() <= 20, "{told}");
        assert_ne!(daemon.status("api")["state"], "ended", "{told}");
        api.heal();
        complete(&daemon, 1..=50);
    }
}

#[test]
fn an_answer_that_breaks_off_or_never_comes_is_asked_for_again() {
    for trouble in [Trouble::Truncated, Trouble::Instead(Reply::Cut)] {
        let api = ApiServer::with(50);
        api.trouble(move |asked| (asked.nth == 2).then(|| trouble.clone()));
        let daemon = reading(&api, BY_CURSOR, QUICK);
        complete(&daemon, 1..=50);
    }
    let api = third(Trouble::Instead(Reply::Hang));
    let daemon = reading(&api, BY_CURSOR, &format!("{QUICK}\ntimeout: 1s"));
    api.sees("/cursor/records", 4);
    api.heal();
    complete(&daemon, 1..=50);
}

#[test]
fn an_empty_list_and_null_are_no_records() {
    for items in [json!([]), json!(null)] {
        let api = ApiServer::with(5);
        api.trouble(move |_| {
            let items = items.clone();
            Some(Trouble::edit(move |body| body["items"] = items.clone()))
        });
        let folder = folder(&api).with("api", &to_file("api", BY_CURSOR, QUICK));
        once(&folder);
        assert_eq!((numbers(&folder, "api").len(), api.count("/cursor/records")), (0, 1));
    }
}

#[test]
fn one_object_is_one_record() {
    let api = ApiServer::with(1);
    api.trouble(|_| Some(Trouble::edit(|body| body["items"] = body["items"][0].clone())));
    let folder = folder(&api).with("api", &to_file("api", BY_CURSOR, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), [1]);
}

#[test]
fn whoever_says_when_to_come_again_is_left_alone_until_then_and_it_is_told() {
    let api = ApiServer::with(50);
    api.trouble(|asked| (asked.nth == 2).then(|| Trouble::Instead(Reply::RetryAfter(429, 3))));
    let daemon = reading(&api, BY_CURSOR, "retry: {initial: 50ms, max_wait: 10s}");
    api.sees("/cursor/records", 3);
    // While it waits, it says so.
    tells(&daemon, "429");
    tells(&daemon, "resumes_at");
    complete(&daemon, 1..=50);
    let seen = api.asked("/cursor/records");
    assert_eq!(seen.len(), 6, "asked for once more, not more often");
    assert!(seen[3].at - seen[2].at >= Duration::from_secs(3), "{:?}", seen[3].at - seen[2].at);
    eventually("the run is done", || the_run(&daemon)["state"] == "done");
    let run = the_run(&daemon);
    assert_eq!((&run["totals"]["read"], &run["totals"]["emitted"]), (&json!(50), &json!(50)), "{run}");
}

#[test]
fn an_error_rule_decides_by_status_header_or_body() {
    // An error in disguise: status 200, no list.
    let api = third(Trouble::Instead(Reply::Json(200, json!({"error": {"code": "busy"}}))));
    let keys = format!("{BY_CURSOR}\nerrors: [{{body: $.error.code, is: [busy], do: retry}}]");
    let daemon = reading(&api, &keys, QUICK);
    api.sees("/cursor/records", 5);
    api.heal();
    complete(&daemon, 1..=50);

    // A 404 that means: nothing there.
    let api = third(Trouble::status(404));
    let keys = format!("{BY_CURSOR}\nerrors: [{{status: [404], do: ignore}}]");
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_refusal_stops_the_reading_and_is_told_and_mended() {
    let api = third(Trouble::status(403));
    let daemon = reading(&api, BY_CURSOR, QUICK);
    tells(&daemon, "403");
    assert!(numbers(&daemon, "api").len() <= 20);
    api.heal();
    complete(&daemon, 1..=50);
}

#[test]
fn a_page_that_is_refused_for_good_does_not_have_the_pages_before_it_read_again_and_again() {
    for status in [400, 404, 410] {
        let api = third(Trouble::status(status));
        let daemon = reading(&api, BY_CURSOR, QUICK);
        let refused =
            || api.asked("/cursor/records").iter().filter(|seen| seen.query("cursor").is_some()).count();
        eventually("it is tried again and again", || refused() >= 10);
        // A token may have expired, so the window begins anew: once.
        let first = api.asked("/cursor/records").iter().filter(|seen| seen.query("cursor").is_none()).count();
        assert!(first <= 2, "{status}: the first page was read {first} times");
        assert!(numbers(&daemon, "api").len() <= 40, "{status}");
        tells(&daemon, &status.to_string());
        api.heal();
        eventually("all records arrive", || {
            let mut numbers = numbers(&daemon, "api");
            numbers.dedup();
            numbers == (1..=50).collect::<Vec<_>>()
        });
    }
}

#[test]
fn an_answer_that_is_as_before_does_not_come_over_the_wire_again() {
    let api = ApiServer::with(5);
    api.tags();
    let shared = format!("connections: {{api: {{url: \"{}\", cache: {{}}}}}}\n", api.url(""));
    let folder = folder(&api).with("shared", &shared);
    let daemon = Daemon::start(folder.with("api", &to_file("api", BY_CURSOR, EACH_SECOND)));
    api.sees("/cursor/records", 3);
    assert!(api.asked("/cursor/records")[1..].iter().all(|seen| seen.header("if-none-match").is_some()));
    eventually("it is counted", || the_run(&daemon)["totals"]["not_modified"].as_u64() >= Some(1));
    // Each run reads everything, wherever it comes from.
    api.grow("records", 1);
    eventually("the new one arrives", || numbers(&daemon, "api").contains(&6));
    let times = |id: u64| numbers(&daemon, "api").iter().filter(|known| **known == id).count();
    assert!(times(1) >= times(6) + 2);
}
