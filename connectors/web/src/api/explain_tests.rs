use karez_api::SourcePlan;

use super::super::spec::ApiSpec;
use super::super::state::{Known, Mark, lane};
use super::*;
use crate::testing::{NOW, source};

const DAY: u64 = 86_400_000;

fn plan(incremental: Json) -> Box<dyn SourcePlan> {
    let settings = json!({
        "url": "https://ada:s3cret@api.example.com/v2", "path": "/items", "key": ["id"],
        "query": {"since": "$.window.from", "until": "$.window.to", "api_key": "k-12345"},
        "page": {"number": {"size": 50}, "into": "query.page"}, "incremental": incremental,
    });
    source::<ApiSpec>(settings).unwrap()
}

fn daily() -> Box<dyn SourcePlan> {
    plan(json!({"cursor": "$.at", "start": "2026-11-20", "step": "1d", "lookback": "1h", "retention": "30d"}))
}

fn told(plan: &dyn SourcePlan, known: BTreeMap<Lane, Position>) -> Json {
    plan.explain(&known, NOW).unwrap()["streams"][0].clone()
}

fn saved(run: RunState, part: PartState) -> BTreeMap<Lane, Position> {
    [(lane("records", ""), State::new(Some(run), Some(part)).position())].into()
}

fn days_ago(days: u64) -> Point {
    Point::time(Millis(NOW.0 - days * DAY))
}

fn done(run: u64) -> RunState {
    RunState { number: run, good: run, done: true, ..RunState::default() }
}

fn marked(run: u64, at: Point) -> PartState {
    PartState { run, mark: Some(Mark { at, known: Known::default() }), ..PartState::default() }
}

#[test]
fn a_first_run_begins_where_the_file_says() {
    let told = told(&*daily(), BTreeMap::new());
    assert_eq!((&told["begins"]["why"], &told["mark"]), (&json!("start"), &Json::Null));
    assert_eq!(told["windows"]["count"], 5);
    assert_eq!(told["windows"]["first"], json!(["2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"]));
    assert_eq!(told["windows"]["last"], json!(["2026-11-24T00:00:00Z", "2026-11-24T10:15:00Z"]));
    let target = "/v2/items?since=2026-11-20T00%3A00%3A00Z&until=2026-11-21T00%3A00%3A00Z&page=1";
    assert_eq!(told["request"], json!({"method": "GET", "target": target}), "without the key");
    assert_eq!(told["paging"], "numbered from 1, 50 records each -> query.page");
}

#[test]
fn a_later_run_begins_at_its_mark_or_says_why_not() {
    let begins = |run: RunState, part: PartState| told(&*daily(), saved(run, part))["begins"].clone();
    let mark = begins(done(4), marked(4, days_ago(1)));
    assert_eq!(mark["why"], "saved_mark");
    assert_eq!(mark["text"], "2026-11-23T09:15:00Z, the saved mark 2026-11-23T10:15:00Z less 1h of lookback");
    assert_eq!(begins(done(4), marked(4, days_ago(31)))["why"], "full_resync");
    let part = PartState { before: marked(3, days_ago(2)).mark, ..marked(4, days_ago(1)) };
    let doubtful = RunState { good: 3, ..done(4) };
    assert_eq!(begins(doubtful, part)["why"], "suspicious");
}

#[test]
fn a_run_that_was_cut_off_goes_on_at_its_page_even_where_that_is_not_told() {
    let run = RunState { to: Some(Point::time(NOW)), done: false, ..done(4) };
    let open = Open {
        from: Some(days_ago(2)),
        to: Some(days_ago(1)),
        token: Token::Number(3),
        pages: 2,
        ..Open::default()
    };
    let mut known = saved(run, PartState { open: Some(open), ..marked(4, days_ago(3)) });
    let told_of = |known: &BTreeMap<Lane, Position>| told(&*daily(), known.clone());
    let goes_on = told_of(&known);
    assert_eq!(goes_on["run"], json!({"number": 4, "resumed": true}));
    assert_eq!(
        goes_on["begins"]["text"],
        "run 4 goes on at page 3 of the window up to 2026-11-23T10:15:00Z; 2 of its pages are through"
    );
    assert!(goes_on["request"]["target"].as_str().unwrap().ends_with("page=3"), "{goes_on}");
    // As a daemon tells it.
    for position in known.values_mut() {
        let mut state: Json = serde_json::from_slice(&position.0).unwrap();
        state["part"]["open"]["token"] = REDACTED.into();
        *position = Position(state.to_string().into());
    }
    assert!(told_of(&known)["begins"]["text"].as_str().unwrap().contains("at a saved page"));
}

#[test]
fn a_rewind_that_waits_is_told() {
    let mut known = saved(done(4), marked(4, days_ago(1)));
    known.insert(Lane::new("rewind/records"), Position(r#"{"to": "2026-11-21T00:00:00Z"}"#.into()));
    let told = told(&*daily(), known);
    assert_eq!((&told["begins"]["why"], &told["run"]["number"]), (&json!("rewound"), &json!(5)));
}

#[test]
fn what_is_damaged_is_told_and_no_secret_is() {
    let known = [(Lane::new("records"), Position("{".into()))].into();
    let whole = daily().explain(&known, NOW).unwrap();
    assert!(whole["streams"][0]["problem"].as_str().unwrap().contains("records"));
    let whole = daily().explain(&BTreeMap::new(), NOW).unwrap().to_string();
    assert!(!whole.contains("s3cret") && !whole.contains("k-12345"), "{whole}");
}
