//! What comes of right files.

use std::time::Duration;

use expect_test::expect;
use karez_api::{Backoff, DedupScope, Input, Millis, OnFailure, PipelinePlan, Unrouted, Upstream};

use crate::FileKind;
use crate::testing::{Fixture, registry};

fn plan(text: &str) -> PipelinePlan {
    let mut loaded = Fixture::new().pipeline("p/a.yaml", text).load();
    assert!(!loaded.has_errors(), "{:#?}", loaded.problems);
    loaded.pipelines.remove(0)
}

#[test]
fn the_short_form_is_a_chain() {
    let plan = plan("source: {ticks: {count: 1}}\nsteps:\n  - map: {}\n  - keep: x\nsink: {void: }\n");
    assert_eq!((&*plan.name, &*plan.file), ("a", "p/a.yaml"));
    assert_eq!((&*plan.sources[0].name, &*plan.sinks[0].name), ("source", "sink"));
    assert_eq!(plan.steps.iter().map(|step| &*step.id).collect::<Vec<_>>(), ["map-1", "keep-2"]);
    assert_eq!(plan.steps[0].from, [Input(Upstream::Source(0))]);
    assert_eq!(plan.steps[1].from, [Input(Upstream::Step(0, 0))]);
    assert_eq!(plan.sinks[0].from, [Input(Upstream::Step(1, 0))]);
}

#[test]
fn the_graph_form_follows_from_and_outputs() {
    let plan = plan(
        "sources: {a: {ticks: {count: 1}}, b: {ticks: {count: 1}}}\nsteps:\n  - {id: late, map: {}, from: r.us}\n  - {id: r, fork: {outputs: [eu, us]}, from: [a, b, a]}\nsinks:\n  x: {void: , from: [late, r.eu]}\n",
    );
    assert_eq!(plan.steps.iter().map(|step| &*step.id).collect::<Vec<_>>(), ["r", "late"]);
    assert_eq!(plan.steps[0].from, [Input(Upstream::Source(0)), Input(Upstream::Source(1))]);
    assert_eq!(plan.steps[1].from, [Input(Upstream::Step(0, 2))]);
    assert_eq!(plan.sinks[0].from, [Input(Upstream::Step(1, 0)), Input(Upstream::Step(0, 1))]);
}

#[test]
fn failure_paths_take_only_failures() {
    let plan = plan(
        "on_failure: {to: parking}\nsource: {ticks: {count: 1}}\nsteps: [{map: {}, on_failure: continue}, {id: k, keep: x}]\nsinks:\n  main: {void: , on_failure: block}\n  parking: {void: }\n",
    );
    assert_eq!(plan.steps[0].on_failure, OnFailure::Continue);
    assert_eq!(plan.steps[1].on_failure, OnFailure::ToSink(1));
    assert_eq!(plan.sinks[0].on_failure, OnFailure::Block);
    assert_eq!(plan.sinks[1].on_failure, OnFailure::DeadLetter);
    assert!(plan.sinks[1].from.is_empty());
}

#[test]
fn engine_keys_come_from_the_nearest_place() {
    let shared = "defaults:\n  sink: {timeout: 9s, retry: {initial: 7s}, concurrency: 3}\n  post: {method: PUT, url: http://d}\n";
    let text = "retry: {initial: 2s, backoff: constant}\nunrouted: drop\ndedup: {key: $.id, scope: pipeline}\nsource: {ticks: {count: 1}, max_in_flight: 7, dedup: {key: $.k, ttl: 1h}}\nsink: {post: {url: http://n}, timeout: 1s, batch: {records: 9}, on_error: {service: {retry: {max_attempts: 2}}}}\njournal: {max_bytes: 5MiB}\n";
    let mut loaded = Fixture::new().pipeline("p/s.yaml", shared).pipeline("p/a.yaml", text).load();
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
    let plan = loaded.pipelines.remove(0);
    let sink = &plan.sinks[0];
    assert_eq!((sink.timeout, sink.concurrency), (Duration::from_secs(1), 3));
    assert_eq!(
        (sink.on_error.service.initial, sink.on_error.service.backoff),
        (Duration::from_secs(2), Backoff::Constant)
    );
    assert_eq!(
        (sink.on_error.service.max_attempts, sink.on_error.connection.max_attempts),
        (Some(2), Some(8))
    );
    assert_eq!(sink.on_error.rate_limit.initial, Duration::from_secs(1));
    assert_eq!(sink.batch.map(|batch| (batch.records, batch.bytes)), Some((9, 1 << 20)));
    assert_eq!(
        (plan.max_in_flight.records, plan.journal_max_bytes, plan.unrouted),
        (7, 5 << 20, Unrouted::Drop)
    );
    let dedup = plan.sources[0].dedup.as_ref().unwrap();
    assert_eq!((dedup.ttl, dedup.scope), (Duration::from_secs(3_600), DedupScope::Source));
    assert_eq!(plan.sources[0].retry.max_attempts, None);
}

#[test]
fn a_schedule_is_a_timetable_and_part_of_its_sources_fingerprint() {
    let source =
        |text: &str| plan(&format!("source: {{list: {{}}{text}}}\nsink: {{void: }}\n")).sources.remove(0);
    let (never, often) = (source(""), source(", schedule: {every: 5m}"));
    assert!(never.timetable.is_none());
    let table = often.timetable.as_ref().unwrap();
    assert_eq!(table.after(Millis(300_001)), Some(Millis(600_000)));
    let seldom = source(", schedule: {every: 1h}");
    assert!(never.fingerprint != often.fingerprint && often.fingerprint != seldom.fingerprint);
}

#[test]
fn anchors_merge_keys_and_variables_work() {
    let text = "vars: {base: &b {count: 2}}\nsource: {ticks: {<<: *b, follow: \"${F}\"}}\nsink: {post: {port: \"${P}\", timeout_after: \"${T:-5s}\"}}\n";
    let fixture = Fixture::new().var("P", "80").var("F", "true").pipeline("p/a.yaml", text);
    assert_eq!(fixture.problems(), "");
    assert_eq!(fixture.load().pipelines.len(), 1);
    let text = text.replace("count: 2", "count: many");
    expect![[r#"
        p/a.yaml:1:25: error[wrong-type] source.ticks.<<.count: expected a whole number, found the string "many"
    "#]].assert_eq(&Fixture::new().var("P", "80").var("F", "true").pipeline("p/a.yaml", &text).problems());
}

#[test]
fn shared_steps_are_put_in_place() {
    let shared = "steps:\n  norm:\n    - {id: one, map: {}}\n    - {keep: x, from: one}\n";
    let text = "source: {ticks: {count: 1}}\nsteps: [{use: norm}, map: {}]\nsink: {void: }\n";
    let loaded = Fixture::new().pipeline("p/s.yaml", shared).pipeline("p/a.yaml", text).load();
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
    let steps = &loaded.pipelines[0].steps;
    assert_eq!(steps.iter().map(|step| &*step.id).collect::<Vec<_>>(), ["norm/one", "norm/keep-2", "map-3"]);
}

#[test]
fn a_later_path_overlays_an_earlier_one() {
    let base = "name: a\nsource: {ticks: {count: 1}}\nsink: {post: {url: x}, timeout: 1s}\n";
    let over = "name: a\noverlay: true\nsink: {post: {url: BAD}, timeout: null}\n";
    let fixture = Fixture::new().layered(0, "p/a.yaml", base).layered(1, "env/a.yaml", over);
    expect![[r#"
        env/a.yaml:3:20: error[bad-expression] sink.post.url: unexpected BAD
    "#]]
    .assert_eq(&fixture.problems());
    let fixture =
        Fixture::new().layered(0, "p/a.yaml", base).layered(1, "env/a.yaml", &over.replace("BAD", "y"));
    assert_eq!(fixture.load().pipelines[0].sinks[0].timeout, Duration::from_secs(30));
}

#[test]
fn equal_settings_have_equal_fingerprints() {
    let text = "source: {ticks: {count: 1}}\nsteps: [checked: s]\nsink: {post: {connection: c, password: \"${P}\"}}\n";
    let load = |password: &str, token: &str, schema: &str, text: &str| {
        let shared = format!("connections: {{c: {{token: {token}}}}}\n");
        let fixture = Fixture::new().var("P", password).file("schemas/s.schema.json", schema);
        let mut loaded = fixture.pipeline("p/s.yaml", &shared).pipeline("p/a.yaml", text).load();
        let plan = loaded.pipelines.remove(0);
        (plan.fingerprint, plan.sources[0].fingerprint, plan.sinks[0].fingerprint)
    };
    let base = load("p", "t", "{}", text);
    assert_eq!(base, load("p", "t", "{}", &format!("# words\n{text}")));
    let (password, token, schema) =
        (load("q", "t", "{}", text), load("p", "u", "{}", text), load("p", "t", "true", text));
    assert!(password.0 != base.0 && password.1 == base.1 && password.2 != base.2);
    assert!(token.0 != base.0 && token.1 == base.1 && token.2 != base.2);
    assert!(schema.0 != base.0 && schema.1 == base.1 && schema.2 == base.2);
}

#[test]
fn a_bad_file_does_not_stop_a_good_one() {
    let good = "source: {ticks: {count: 1}}\nsink: {void: }\n";
    let loaded =
        Fixture::new().pipeline("p/a.yaml", good).pipeline("p/b.yaml", "name: bee\nsource: [\n").load();
    assert_eq!(loaded.pipelines.len(), 1);
    let report = |path: &str| loaded.files.iter().find(|file| file.path == path).unwrap().clone();
    assert!(!report("p/a.yaml").in_error && report("p/b.yaml").in_error);
    assert_eq!(
        (report("p/b.yaml").pipeline.as_deref(), report("p/b.yaml").kind),
        (Some("bee"), FileKind::Pipeline)
    );
}

#[test]
fn of_two_that_claim_one_path_the_first_file_runs() {
    let text = "source: {hook: {path: /x, verify: {none: {reason: test}}}}\nsink: {void: }\n";
    let loaded = Fixture::new().pipeline("p/b.yaml", text).pipeline("p/a.yaml", text).load();
    assert_eq!(loaded.pipelines.iter().map(|plan| &*plan.name).collect::<Vec<_>>(), ["a"]);
    let in_error: Vec<_> = loaded.files.iter().map(|file| (file.path.as_str(), file.in_error)).collect();
    assert_eq!(in_error, [("p/a.yaml", false), ("p/b.yaml", true)]);
}

#[test]
fn connections_are_fixed_and_what_variables_bring_into_them_is_text() {
    let shared = "connections:\n  good: {token: \"${T}\"}\n  bad: {token: \"{{secret}}\"}\n";
    let fixture = Fixture::new().var("T", "{{not a template}}").pipeline("p/s.yaml", shared);
    let problems = fixture.problems();
    assert!(
        problems.starts_with("p/s.yaml:3:17: error[template-in-fixed] connections.bad.token"),
        "{problems}"
    );
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn what_depends_on_a_bad_shared_file_is_held_back() {
    let user = |connection: &str| {
        format!("source: {{ticks: {{count: 1}}}}\nsink: {{post: {{connection: {connection}}}}}\n")
    };
    let shared = "connections:\n  good: {}\n  bad: {token: \"${NONE}\"}\n";
    let fixture = Fixture::new().pipeline("p/s.yaml", shared);
    let loaded = fixture.pipeline("p/a.yaml", &user("good")).pipeline("p/b.yaml", &user("bad")).load();
    assert_eq!(loaded.pipelines.iter().map(|plan| &*plan.name).collect::<Vec<_>>(), ["a"]);
    assert!(loaded.files.iter().find(|file| file.path == "p/b.yaml").unwrap().in_error);
    let broken = Fixture::new()
        .pipeline("p/s.yaml", "defaults: {\n")
        .pipeline("p/a.yaml", "source: {ticks: {count: 1}}\nsink: {void: }\n");
    assert!(broken.load().pipelines.is_empty());
}

#[test]
fn tests_are_read() {
    let plan = plan(
        "source: {ticks: {count: 1}}\nsink: {void: }\ntests:\n  - {input: [{a: 1}], expect: {sink: [], filtered: 1}, now: 2026-01-01T00:00:00Z, seed: 3, exact: true}\n",
    );
    let test = &plan.tests[0];
    assert_eq!((test.name.as_str(), test.seed, test.exact), ("case 1", 3, true));
    assert_eq!(test.now.map(|now| now.0), Some(1_767_225_600_000));
    assert_eq!(&*test.input[0].0, "source");
}

#[test]
fn a_pipeline_is_shown_with_origins_and_without_secrets() {
    let shared = "defaults: {sink: {timeout: 9s}}\n";
    let text =
        "source: {ticks: {count: 1}}\nsink:\n  post:\n    url: \"x ${secret:S} y\"\n    password: \"${P}\"\n";
    let fixture = Fixture::new()
        .var("P", "pass")
        .secret("S", "hush")
        .pipeline("p/s.yaml", shared)
        .pipeline("p/a.yaml", text);
    expect![[r#"
        source:                                                      # p/a.yaml:1
          ticks:                                                     # p/a.yaml:1
            count: 1                                                 # p/a.yaml:1
        sink:                                                        # p/a.yaml:2
          post:                                                      # p/a.yaml:3
            url: "x [redacted] y"                                    # p/a.yaml:4
            password: "[redacted]"                                   # p/a.yaml:5
          timeout: "9s"                                              # p/s.yaml:1
    "#]]
    .assert_eq(&fixture.load().show("a").unwrap());
}

#[test]
fn what_hangs_on_a_secret_that_is_not_at_hand_is_not_judged() {
    let load = |count: &str, value: &str| {
        let text = format!("source: {{ticks: {{count: \"{count}\"}}}}\nsink: {{void: }}\n");
        Fixture::new().secret("N", value).pipeline("p/a.yaml", &text).load()
    };
    let stored = load("${secret:N}", "");
    assert_eq!((stored.problems.len(), stored.files[0].in_error), (0, false), "{:?}", stored.problems);
    assert_eq!(load("${secret:N}", "3").pipelines.len(), 1);
    assert!(load("${secret:N}", "many").files[0].in_error);
    let beside = load("${secret:N}${secret:M}", "");
    assert_eq!(beside.problems.len(), 1);
    let said = beside.problems[0].to_string();
    assert!(said.contains("no secret is called \"M\"; `karez secrets set M` stores it"), "{said}");
}

#[test]
fn the_editor_schema_describes_components_and_engine_keys() {
    let schema = crate::pipeline_schema(&registry());
    let defs = &schema["$defs"];
    assert_eq!(schema["properties"]["source"]["$ref"], "#/$defs/source");
    assert_eq!(defs["sink"]["properties"]["post"]["$ref"], "#/$defs/sink.post");
    assert!(defs["sink"]["properties"]["batch"].is_object());
    let text = schema.to_string();
    for target in text.split("\"$ref\":\"#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(defs.get(target).is_some(), "{target}");
    }
}
