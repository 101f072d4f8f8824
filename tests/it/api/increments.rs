//! Reading on: only what has changed since, nothing twice in effect, nothing left out between two windows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use karez_tests::{ApiServer, Daemon, Folder, Json, Receiver, Reply, Seen, Trouble, eventually, json, never};

use super::{
    EACH_SECOND, QUICK, SINCE, ago, complete, folder, fresh, numbers, once, reading, runs, the_run, to_file,
    to_receiver,
};

const LIST: &str = "/cursor/records";

/// Number and version of each record, as often as it was written.
fn versions(folder: &Folder) -> Vec<(u64, String)> {
    let records = folder.records("api.ndjson");
    let version = |record: &Json| {
        let payload = record["payload"].as_str().unwrap();
        (record["id"].as_u64().unwrap(), payload.split(' ').nth(2).unwrap().to_owned())
    };
    let mut versions: Vec<_> = records.iter().map(version).collect();
    versions.sort_unstable();
    versions
}

/// A stream that is narrowed by the time in `updated_at`, from a day before the server began.
fn changes(more: &str) -> String {
    format!("{SINCE}\nincremental: {{cursor: $.updated_at, start: \"2020-01-01\", safety_lag: 0s{more}}}")
}

/// The windows that were asked for, in order, each once.
fn windows(seen: &[Seen]) -> Vec<(jiff::Timestamp, jiff::Timestamp)> {
    let mut windows: Vec<_> = seen
        .iter()
        .map(|seen| {
            let time = |name: &str| seen.query(name).unwrap().parse().unwrap();
            (time("since"), time("until"))
        })
        .collect();
    windows.dedup();
    windows
}

#[test]
fn only_what_has_changed_is_read_the_second_time() {
    let api = ApiServer::with(30);
    let folder = folder(&api).with("api", &to_file("api", &changes(""), QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=30).collect::<Vec<_>>());
    api.touch("records", 7, 0, fresh());
    api.touch("records", 31, 0, fresh());
    let before = api.count(LIST);
    once(&folder);
    let second = &api.asked(LIST)[before..];
    assert_eq!(second.len(), 1, "one page is enough for what has changed");
    let written = versions(&folder);
    assert_eq!(written.len(), 32, "{written:?}");
    assert!(written.contains(&(7, "v2".into())) && written.contains(&(31, "v1".into())), "{written:?}");
    // Nothing has changed since.
    once(&folder);
    assert_eq!(versions(&folder), written);
}

#[test]
fn a_schedule_asks_again_and_again_and_finds_what_has_changed() {
    let api = ApiServer::with(30);
    let mut daemon = reading(&api, &changes(""), EACH_SECOND);
    complete(&daemon, 1..=30);
    for id in 31..=33 {
        api.touch("records", id, 0, jiff::Timestamp::now());
        complete(&daemon, 1..=id);
    }
    // A restart does not begin anew.
    let asked = api.count(LIST);
    daemon.kill();
    api.touch("records", 34, 0, jiff::Timestamp::now());
    daemon.restart();
    complete(&daemon, 1..=34);
    let since = api.asked(LIST)[asked].query("since").unwrap();
    assert!(since.parse::<jiff::Timestamp>().unwrap() > ago(600), "{since}");
    eventually("runs are told", || {
        runs(&daemon, "api").values().any(|run| run["run"].as_u64() >= Some(2) && run["next_at"].is_u64())
    });
}

#[test]
fn records_on_the_boundary_of_two_runs_come_once_and_none_is_missed() {
    let api = ApiServer::with(5);
    // One that is as new as can be, so that a cursor that was seen is also where the window ends.
    api.touch("records", 5, 0, fresh());
    let folder = folder(&api).with("api", &to_file("api", &changes(""), QUICK));
    once(&folder);
    for id in 6..=8 {
        // It came in late, under the very time up to which everything was read; one is there already.
        let (_, until) = *windows(&api.asked(LIST)).last().unwrap();
        api.touch("records", id, 0, until);
        once(&folder);
        assert_eq!(numbers(&folder, "api"), (1..=id).collect::<Vec<_>>(), "after {until}");
    }
}

#[test]
fn many_records_with_one_time_are_read_once_over_pages_and_runs() {
    let api = ApiServer::start();
    let at = ago(5);
    (1..=35).for_each(|id| api.touch("records", id, 0, at));
    let folder = folder(&api).with("api", &to_file("api", &changes(", order: asc"), QUICK));
    (0..3).for_each(|_| drop(once(&folder)));
    assert_eq!(numbers(&folder, "api"), (1..=35).collect::<Vec<_>>());
}

#[test]
fn windows_with_a_step_touch_and_leave_nothing_out() {
    let api = ApiServer::start();
    let start = ago(6 * 3_600 + 1_800);
    // On both sides of every boundary, and on it.
    let mut id = 0;
    for hour in 0..6 {
        for second in [-1, 0, 1] {
            id += 1;
            api.touch("records", id, 0, start + jiff::SignedDuration::from_secs(hour * 3_600 + second));
        }
    }
    let keys = changes(", step: 1h").replace("start: \"2020-01-01\"", &format!("start: \"{start}\""));
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    // The first lies before the start.
    assert_eq!(numbers(&folder, "api"), (2..=id).collect::<Vec<_>>());
    let asked = windows(&api.asked(LIST));
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert!((asked[0].0 - start).as_millis().abs() < 1_000, "{asked:?}");
    for pair in asked.windows(2) {
        let ((_, until), (since, _)) = (pair[0], pair[1]);
        assert!(since <= until, "nobody asked for what lies between {until} and {since}");
    }
    assert!(asked.last().unwrap().1 > ago(600), "{asked:?}");
    let before = api.count(LIST);
    once(&folder);
    let again = windows(&api.asked(LIST)[before..]);
    assert!(again.len() <= 2 && again[0].0 > ago(7_200), "from the last record on: {again:?}");
}

#[test]
fn a_record_that_came_late_arrives_within_the_lookback_and_nothing_else_comes_again_in_effect() {
    let api = ApiServer::with(3);
    api.touch("records", 3, 0, fresh());
    let receiver = Receiver::start();
    let folder = folder(&api).with("api", &to_receiver(&receiver, &changes(", lookback: 10m"), QUICK));
    once(&folder);
    api.touch("records", 4, 0, ago(300));
    once(&folder);
    let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for seen in receiver.seen() {
        keys.entry(seen.id()).or_default().insert(seen.header("idempotency-key").unwrap().to_owned());
    }
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(keys.values().all(|keys| keys.len() == 1), "one effect each: {keys:?}");
}

#[test]
fn what_is_fresh_arrives_at_once_and_what_joins_it_from_below_is_not_missed() {
    let api = ApiServer::with(3);
    api.touch("records", 4, 0, fresh());
    let keys = changes("").replace("safety_lag: 0s", "safety_lag: 60s");
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), [1, 2, 3, 4]);
    // Written by a transaction that began earlier and ended later.
    api.touch("records", 5, 0, ago(30));
    once(&folder);
    once(&folder);
    assert_eq!(numbers(&folder, "api"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_token_that_has_expired_has_its_window_read_again_and_nothing_is_lost() {
    let api = ApiServer::with(100);
    let receiver = Receiver::start();
    api.trouble(|asked| (asked.nth == 5).then_some(Trouble::Instead(Reply::Hang)));
    let keys = changes("");
    let daemon = Daemon::start(folder(&api).with("api", &to_receiver(&receiver, &keys, QUICK)));
    api.sees(LIST, 6);
    api.expire_tokens();
    api.heal();
    eventually("all records arrive", || {
        receiver.taken().iter().map(Seen::id).collect::<BTreeSet<_>>().len() == 100
    });
    daemon.drained("api");
    let keys: BTreeSet<String> =
        receiver.taken().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 100, "one effect each");
    let seen = api.asked(LIST);
    assert!(seen[6..].iter().any(|seen| seen.query("cursor").is_none()), "from the window's beginning");
    assert!(seen.iter().all(|each| each.query("since") == seen[0].query("since")), "the same window");
}

#[test]
fn a_feed_of_the_newest_first_is_read_until_what_is_known() {
    let api = ApiServer::with(45);
    let keys = "path: /link/records\nquery: {order: desc}\nkey: [id]\npage: {link: next}\n\
                incremental: {cursor: $.updated_at, order: desc, filter: client, safety_lag: 0s}";
    let folder = folder(&api).with("api", &to_file("api", keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=45).collect::<Vec<_>>());
    for id in 46..=48 {
        api.touch("records", id, 0, fresh());
    }
    let before = api.seen().len();
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=48).collect::<Vec<_>>());
    assert_eq!(api.seen().len() - before, 1, "the first page holds something that is known");
    // More than a page of them.
    for id in 49..=62 {
        api.touch("records", id, 0, fresh());
    }
    let before = api.seen().len();
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=62).collect::<Vec<_>>());
    assert_eq!(api.seen().len() - before, 2);
}

#[test]
fn an_order_that_is_not_as_declared_is_counted_and_loses_nothing() {
    let api = ApiServer::with(45);
    api.trouble(|asked| {
        (asked.nth == 1).then(|| Trouble::edit(|body| body["items"].as_array_mut().unwrap().reverse()))
    });
    let daemon = reading(&api, &changes(", order: asc"), QUICK);
    complete(&daemon, 1..=45);
    eventually("it is told", || the_run(&daemon)["anomalies"].to_string().contains("regressed"));
}

#[test]
fn a_record_without_a_cursor_is_read_and_counted() {
    let api = ApiServer::with(25);
    api.trouble(|asked| {
        (asked.nth == 1).then(|| {
            Trouble::edit(|body| drop(body["items"][3].as_object_mut().unwrap().remove("updated_at")))
        })
    });
    let folder = folder(&api).with("api", &to_file("api", &changes(""), QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=25).collect::<Vec<_>>());
}

#[test]
fn a_run_that_is_not_as_expected_is_suspicious_and_moves_nothing() {
    let api = ApiServer::with(5);
    let keys = format!("{}\nexpect: {{min_records: 1}}", changes(""));
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    let asked = |api: &ApiServer| api.asked(LIST).last().unwrap().query("since").unwrap();
    // The API has lost its data, or says so.
    api.trouble(|_| Some(Trouble::edit(|body| body["items"] = json!([]))));
    once(&folder);
    let since = asked(&api);
    once(&folder);
    assert_eq!(asked(&api), since, "the watermark stays");
    api.heal();
    api.touch("records", 6, 0, fresh());
    once(&folder);
    assert_eq!(asked(&api), since);
    assert_eq!(numbers(&folder, "api"), (1..=6).collect::<Vec<_>>());
    once(&folder);
    assert_ne!(asked(&api), since, "and goes on once all is well");
    assert_eq!(numbers(&folder, "api"), (1..=6).collect::<Vec<_>>());
}

#[test]
fn a_suspicious_run_is_told() {
    let api = ApiServer::start();
    let keys = format!("{}\nexpect: {{min_records: 1}}", changes(""));
    let daemon = reading(&api, &keys, EACH_SECOND);
    eventually("it is told", || runs(&daemon, "api").values().any(|run| run["state"] == "suspicious"));
    api.grow("records", 3);
    complete(&daemon, 1..=3);
    eventually("and that it is over", || {
        runs(&daemon, "api").values().any(|run| run["run"].as_u64() > Some(2))
    });
}

#[test]
fn a_number_is_as_good_a_cursor_as_a_time() {
    let api = ApiServer::with(25);
    let keys = "path: /cursor/records\nquery: {from: \"{{window.from}}\"}\nrecords: $.items\nkey: [id]\n\
                page: {cursor: $.next, into: query.cursor}\n\
                incremental: {cursor: $.id, start: 3, format: integer, order: asc}";
    let daemon = reading(&api, keys, EACH_SECOND);
    complete(&daemon, 3..=25);
    let asked = api.count(LIST);
    api.grow("records", 1);
    complete(&daemon, 3..=26);
    let since = api.asked(LIST)[asked..].iter().map(|seen| seen.query("from").unwrap()).collect::<Vec<_>>();
    assert!(since.iter().all(|from| from.parse::<u64>().unwrap() >= 25), "{since:?}");
    never(Duration::from_millis(1_500), "the last one comes again", || numbers(&daemon, "api").len() > 24);
}

#[test]
fn times_are_sent_as_the_api_wants_them() {
    for (format, digits) in [("epoch", 10), ("epoch_ms", 13)] {
        let api = ApiServer::with(5);
        let keys = changes(&format!(", format: {format}"));
        api.trouble(move |_| {
            Some(Trouble::edit(move |body| {
                for item in body["items"].as_array_mut().unwrap() {
                    let at: jiff::Timestamp = item["updated_at"].as_str().unwrap().parse().unwrap();
                    let number = if digits == 10 { at.as_second() } else { at.as_millisecond() };
                    item["updated_at"] = json!(number);
                }
            }))
        });
        let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
        (0..2).for_each(|_| drop(once(&folder)));
        assert_eq!(numbers(&folder, "api"), [1, 2, 3, 4, 5], "{format}");
        let until = api.asked(LIST)[0].query("until").unwrap();
        assert!(until.len() == digits && until.parse::<u64>().is_ok(), "{format}: {until}");
    }
}
