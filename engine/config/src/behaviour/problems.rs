//! Wrong files and what is said about them. `UPDATE_EXPECT=1 cargo test` rewrites the texts.

use expect_test::{Expect, expect};

use crate::testing::Fixture;

fn check(text: &str, said: Expect) {
    said.assert_eq(&Fixture::new().pipeline("p/a.yaml", text).problems());
}

/// A pipeline with this sink.
fn sink(text: &str) -> String {
    format!("source: {{ticks: {{count: 1}}}}\nsink:\n{text}")
}

#[test]
fn a_good_file_has_no_problems() {
    check(&sink("  void:\n"), expect![[""]]);
}

#[test]
fn what_is_no_yaml_is_placed() {
    check(
        "source: [",
        expect![[r#"
        p/a.yaml:1:10: error[yaml-syntax] did not find expected node content
    "#]],
    );
    check(
        "a: 1\na: 2\n",
        expect![[r#"
            p/a.yaml:2:1: error[duplicate-key] key "a" stands twice in one map; take one of them out
        "#]],
    );
    check(
        "source: !tag x\n",
        expect![[r#"
            p/a.yaml:1:9: error[yaml-tag] YAML tags (`!name`) are not used here; `${NAME}` reads a variable
        "#]],
    );
    check(
        "a: 1\n---\nb: 1\n",
        expect![[r#"
        p/a.yaml:2:1: error[several-documents] a file holds one document; put each pipeline into a file of its own
    "#]],
    );
    check(
        "",
        expect![[r#"
        p/a.yaml:1:1: error[empty-file] the file is empty; remove it, or write a pipeline: `karez new` makes one
    "#]],
    );
    check(
        "# only words\n",
        expect![[r#"
        p/a.yaml:1:1: error[empty-file] the file is empty; remove it, or write a pipeline: `karez new` makes one
    "#]],
    );
    check(
        "- a\n",
        expect![[r#"
        p/a.yaml:1:1: error[wrong-type] expected a map of keys like `source:`, found a list
    "#]],
    );
    check(
        "a: *b\n",
        expect![[r#"
        p/a.yaml:1:4: error[unknown-anchor] this alias names an anchor that does not stand above it
    "#]],
    );
    check(
        "a: 123456789012345678901\n",
        expect![[r#"
        p/a.yaml:1:4: error[bad-number] a number needs more than 64 bits; write it in quotes
    "#]],
    );
    check(
        "a: \u{1}\n",
        expect![[r#"
        p/a.yaml:1:4: error[yaml-syntax] control character U+0001; write it as an escape in double quotes
    "#]],
    );
}

#[test]
fn mistakes_that_yaml_reads_differently_have_messages_of_their_own() {
    check(
        "steps:\n  - map: {a: {{name}}}\n",
        expect![[r#"
        p/a.yaml:2:14: error[unquoted-template] YAML reads `{{` without quotes as a map; write the template in quotes: "{{name}}"
    "#]],
    );
    check(
        "steps:\n  - map:\n      label: {{a}} <{{b}}>\n",
        expect![[r#"
        p/a.yaml:3:14: error[unquoted-template] YAML reads `{{` without quotes as a map; write the template in quotes: "{{name}}"
    "#]],
    );
    check(
        "steps:\n  - map: {a: $.items[0].id, b: 1}\n",
        expect![[r#"
        p/a.yaml:2:14: error[unquoted-pick] YAML reads `[` inside { } or [ ] as its own; write the pick in quotes: "$.items[0]"
    "#]],
    );
}

#[test]
fn fields_are_checked_all_at_once() {
    check(
        &sink(
            "  post:\n    timout_after: 5s\n    method: PSOT\n    size: big\n    timeout_after: [1]\n    port: \"80\"\n    url: 7\n",
        ),
        expect![[r#"
            p/a.yaml:4:5: error[unknown-field] sink.post.timout_after: unknown field; did you mean "timeout_after"?
            p/a.yaml:5:13: error[bad-value] sink.post.method: the string "PSOT" is not one of the values it can have; did you mean "POST"?
            p/a.yaml:6:11: error[wrong-type] sink.post.size: expected a size like "16MiB", found the string "big"; write a number with B, KiB, MiB or GiB, as in "512KiB"
            p/a.yaml:7:20: error[wrong-type] sink.post.timeout_after: expected a duration like "30s", found a list; write a number with ms, s, m, h or d, as in "90s"
            p/a.yaml:8:11: error[wrong-type] sink.post.port: expected a whole number, found the string "80"; write it without quotes: 80
            p/a.yaml:9:10: error[wrong-type] sink.post.url: expected a string, found the number 7; write it in quotes: "7"
        "#]],
    );
    check(
        "source:\n  hook: {path: /x}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:2:3: error[missing-field] source.hook: "verify" is missing
    "#]],
    );
    check(
        "source:\n  hook: {path: \"/{{x}}\", verify: {hmak: {}}}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:2:18: error[template-in-fixed] source.hook.path: this setting is read once, so it takes no template; write a fixed value, or `${VAR}` for one from the environment
        p/a.yaml:2:35: error[unknown-field] source.hook.verify.hmak: unknown field; did you mean "hmac"?
    "#]],
    );
    check(
        "source:\n  hook: {path: /x, verify: {hmac: {algorithm: sha265, secret: s}}}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:2:47: error[bad-value] source.hook.verify.hmac.algorithm: the string "sha265" is not one of the values it can have; did you mean "sha256"?
    "#]],
    );
}

#[test]
fn engine_keys_stand_where_they_belong() {
    check(
        &sink("  post: {url: x, batch: {records: 5}}\n"),
        expect![[r#"
        p/a.yaml:3:18: error[misplaced-key] sink.post.batch: "batch" belongs to the engine; move it beside `post:`
    "#]],
    );
    check(
        &sink("  post: {}\n  url: x\n"),
        expect![[r#"
        p/a.yaml:4:3: error[misplaced-key] sink.url: "url" belongs to the component; move it inside `post:`
    "#]],
    );
    check(
        &sink("  void: {}\n  decode: json\n"),
        expect![[r#"
        p/a.yaml:4:3: error[wrong-role] sink.decode: "decode" has no meaning beside a sink; only sources take it
    "#]],
    );
    check(
        &sink("  void: {}\n  id: x\n"),
        expect![[r#"
        p/a.yaml:4:3: error[wrong-role] sink.id: "id" has no meaning beside a sink; its name is its key under `sinks:`
    "#]],
    );
    check(
        &sink("  void: {}\n  rate_limit: 5\n"),
        expect![[r#"
            p/a.yaml:4:15: error[wrong-type] sink.rate_limit: expected a map, found the number 5; write it as a map: {rate: …}
        "#]],
    );
    check(
        &sink("  void: {}\n  batch: {records: 5}\n"),
        expect![[r#"
        p/a.yaml:4:3: error[no-batch] sink.batch: this sink takes one record at a time; leave `batch` out
    "#]],
    );
    check(
        &sink("  post: {}\n  batch: {records: 500, linger: never}\n"),
        expect![[r#"
            p/a.yaml:4:33: error[wrong-type] sink.batch.linger: expected a duration like "30s", found the string "never"; write a number with ms, s, m, h or d, as in "90s"
        "#]],
    );
    check(
        &sink("  void: {}\n  retry: {backoff: exponentiel, max_attempts: 0}\n"),
        expect![[r#"
        p/a.yaml:4:20: error[bad-value] sink.retry.backoff: the string "exponentiel" is not one of the values it can have; did you mean "exponential"?
        p/a.yaml:4:47: error[bad-value] sink.retry.max_attempts: must be at least 1, found 0
    "#]],
    );
}

#[test]
fn a_node_has_one_type_of_its_role() {
    check(
        &sink("  void: {}\n  post: {}\n"),
        expect![[r#"
        p/a.yaml:4:3: error[two-types] sink.post: a sink has one type, this has "void" and "post"; make them two, each under its own name
    "#]],
    );
    check(
        &sink("  timeout: 5s\n"),
        expect![[r#"
        p/a.yaml:3:3: error[missing-type] sink: this sink has no type; its type is one of: post, void
    "#]],
    );
    check(
        &sink("  viod: {}\n"),
        expect![[r#"
        p/a.yaml:3:3: error[unknown-type] sink.viod: no sink is called "viod"; did you mean "void"?
    "#]],
    );
    check(
        &sink("  ticks: {}\n"),
        expect![[r#"
            p/a.yaml:3:3: error[wrong-role] sink.ticks: "ticks" is a source, not a sink; a sink is one of: post, void
        "#]],
    );
    check(
        "source: ticks\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:1:9: error[wrong-type] source: expected a source, a map with one type key, found the string "ticks"
    "#]],
    );
    check(
        "name: x\nsinks: {}\n",
        expect![[r#"
            p/a.yaml:1:1: error[missing-field] the pipeline has no source; write `source:` for one, `sources:` for several by name
            p/a.yaml:2:8: error[wrong-type] sinks: expected a map of sink names, found an empty one
        "#]],
    );
    check(
        "source: {ticks: {count: 1}}\nsink: {void: }\nstep: []\nconnections: {}\n",
        expect![[r#"
        p/a.yaml:3:1: error[unknown-field] step: unknown field; did you mean "steps"?
        p/a.yaml:4:1: error[unknown-field] connections: unknown field; it belongs to a shared file: one with connections, mappings, schemas and defaults only
    "#]],
    );
}

#[test]
fn only_a_source_that_polls_has_a_schedule_and_a_wrong_one_is_placed() {
    let source = |text: &str| format!("source: {text}\nsink: {{void: }}\n");
    check(&source("{list: {}, schedule: {cron: \"0 9 * * 1\", timezone: Europe/Berlin}}"), expect![[""]]);
    check(
        &source("{ticks: {count: 1}, schedule: {every: 5m}}"),
        expect![[r#"
        p/a.yaml:1:29: error[misplaced-key] source.schedule: `ticks` is not asked again and again, so it has no schedule; only a source that polls has this key: leave it out
    "#]],
    );
    check(
        &source("{list: {}, schedule: {}}"),
        expect![[r#"
        p/a.yaml:1:30: error[bad-value] source.schedule: needs `cron` or `every`
    "#]],
    );
    check(
        &source("{list: {}, schedule: {every: 5m, cron: \"* * * * *\"}}"),
        expect![[r#"
        p/a.yaml:1:38: error[bad-value] source.schedule.every: takes `cron` or `every`, not both
    "#]],
    );
    check(
        &source("{list: {}, schedule: {cron: \"61 * * * *\"}}"),
        expect![[r#"
        p/a.yaml:1:37: error[bad-value] source.schedule.cron: not a cron expression: number out of bounds; like "*/5 * * * *": minute, hour, day, month, weekday
    "#]],
    );
    check(
        &source("{list: {}, schedule: {cron: \"* * * * *\", timezone: Europe/Berln}}"),
        expect![[r#"
        p/a.yaml:1:60: error[bad-value] source.schedule.timezone: "Europe/Berln" is no time zone of the IANA database
    "#]],
    );
    check(
        &source("{list: {}, schedule: {evry: 5m}}"),
        expect![[r#"
        p/a.yaml:1:31: error[unknown-field] source.schedule.evry: unknown field; did you mean "every"?
    "#]],
    );
    check(
        &source("{list: {schedule: {every: 5m}}}"),
        expect![[r#"
        p/a.yaml:1:17: error[misplaced-key] source.list.schedule: "schedule" belongs to the engine; move it beside `list:`
    "#]],
    );
    // What does not poll would have it, too.
    let defaults = Fixture::new().pipeline("p/s.yaml", "defaults: {source: {schedule: {every: 5m}}}\n");
    expect![[r#"
        p/s.yaml:1:21: error[unknown-field] defaults.source.schedule: unknown field; it takes: decode, split, dedup, order_by, journal, max_in_flight, concurrency, timeout, retry, rate_limit
    "#]].assert_eq(&defaults.problems());
    check(
        "source: {list: {}}\nsink: {void: , schedule: {every: 5m}}\n",
        expect![[r#"
        p/a.yaml:2:16: error[wrong-role] sink.schedule: "schedule" has no meaning beside a sink; only sources take it
    "#]],
    );
}

#[test]
fn expressions_are_placed_inside_their_string() {
    check(
        &sink("  post: {url: \"a \\\" BAD\"}\n"),
        expect![[r#"
        p/a.yaml:3:21: error[bad-expression] sink.post.url: unexpected BAD
    "#]],
    );
    check(
        &sink("  post: {url: 'it''s BAD'}\n"),
        expect![[r#"
        p/a.yaml:3:22: error[bad-expression] sink.post.url: unexpected BAD
    "#]],
    );
    check(
        &sink("  post:\n    url: |\n      one\n      two BAD\n"),
        expect![[r#"
        p/a.yaml:6:11: error[bad-expression] sink.post.url: unexpected BAD
    "#]],
    );
    check(
        "source: {ticks: {count: 1}, order_by: BAD}\nsteps:\n  - {keep: x, when: é BAD}\n  - keep: '@.x'\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:1:39: error[bad-expression] source.order_by: unexpected BAD
        p/a.yaml:3:23: error[bad-expression] steps[0].when: unexpected BAD
        p/a.yaml:4:11: warning[existence] steps[1].keep: asks whether the field exists
    "#]],
    );
}

#[test]
fn names_are_resolved() {
    check(
        "sources: {a: {ticks: {count: 1}}}\nsteps:\n  - {id: a, map: {}}\n  - {id: b.c, map: {}, from: x}\nsinks:\n  one: {void: , from: [bb, one]}\n",
        expect![[r#"
            p/a.yaml:1:11: error[duplicate-name] sources.a: the name "a" is also that of steps[0]; sources, steps and sinks share one set of names
            p/a.yaml:3:6: error[duplicate-name] steps[0].id: the name "a" is also that of sources.a; sources, steps and sinks share one set of names
            p/a.yaml:4:10: error[bad-name] steps[1].id: "b.c" cannot be the name of a node; use letters, digits, `_` and `-`; a dot stands before an output's name
            p/a.yaml:4:30: error[dangling-from] steps[1].from: no node is called "x"; there are: a, b.c
            p/a.yaml:6:24: error[dangling-from] sinks.one.from[0]: no node is called "bb"; there are: a, b.c
            p/a.yaml:6:28: error[bad-from] sinks.one.from[1]: "one" is a sink: nothing comes out of it; name a source or a step
        "#]],
    );
    check(
        "source: {ticks: {count: 1}}\nsteps:\n  - {id: a, map: {}, from: [source, c]}\n  - {id: b, map: {}}\n  - {id: c, map: {}}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:3:28: error[cycle] steps[0].from: records would go round for ever: a -> b -> c -> a; take one of these `from` or `to` out
    "#]],
    );
    check(
        "sources: {a: {ticks: {count: 1}}, b: {ticks: {count: 1}}}\nsteps: [{map: {}, from: a}, {id: lost, map: {}}]\nsink: {void: , from: map-1}\n",
        expect![[r#"
        p/a.yaml:1:35: error[unused-output] sources.b: no step or sink takes the records of source "b"; name it in a `from:`, as in `from: b`
        p/a.yaml:2:29: error[unused-output] steps[1]: no step or sink takes what "lost" puts out; name it in a `from:`, as in `from: lost`
    "#]],
    );
    check(
        "source: {ticks: {count: 1}}\nsteps:\n  - {id: r, fork: {outputs: [eu, us]}}\nsinks:\n  a: {void: , from: r.eu}\n  b: {void: , from: r.uk}\n",
        expect![[r#"
            p/a.yaml:6:21: error[dangling-from] sinks.b.from: "r" has no output "uk"; its outputs are: eu, us
        "#]],
    );
    check(
        "source: {ticks: {count: 1}}\nsteps:\n  - {map: {}, on_failure: block}\nsink: {void: , on_failure: {to: nobody}}\n",
        expect![[r#"
        p/a.yaml:3:27: error[bad-value] steps[0].on_failure: a step cannot block: only a sink has keys that wait; use dead_letter, drop, continue or {to: NAME}
        p/a.yaml:4:33: error[dangling-from] sink.on_failure.to: no node is called "nobody"; there are: map-1, sink
    "#]],
    );
}

#[test]
fn variables_and_code_are_kept_apart() {
    check(
        &sink("  post:\n    url: \"http://${HOST}/${a b}\"\n"),
        expect![[r#"
            p/a.yaml:4:18: error[missing-variable] sink.post.url: variable HOST is not set; set it, or give a default: `${HOST:-…}`
            p/a.yaml:4:26: error[bad-interpolation] sink.post.url: "a b" is not the name of a variable; write `${NAME}`, `${NAME:-default}`, `${file:PATH}` or `${secret:NAME}`; `$${` writes `${`
        "#]],
    );
    let fixture = Fixture::new().var("V", "BAD").var("N", "x").file("/s", "hunter22");
    let text = "source: {ticks: {count: 1}}\nsteps:\n  - keep: \"@.a == '${V}'\"\n  - map: {a: \"${V}\", b: \"${V} BAD\", c: {jq: \".${V}\"}}\nsink: {post: {port: \"${N}\", method: \"${N}\", password: \"${file:/s}\"}}\n";
    expect![[r#"
        p/a.yaml:3:20: error[interpolation-in-code] steps[0].keep: `${…}` cannot stand in a condition, program or name; put it into `vars:` and use `$vars` in jq
        p/a.yaml:4:47: error[interpolation-in-code] steps[1].map.c.jq: `${…}` cannot stand in a condition, program or name; put it into `vars:` and use `$vars` in jq
        p/a.yaml:5:21: error[wrong-type] sink.post.port: expected a whole number, found what ${N} stands for
        p/a.yaml:5:37: error[bad-value] sink.post.method: what ${N} stands for is not one of the values it can have; it is one of: "POST", "PUT"
    "#]].assert_eq(&fixture.pipeline("p/a.yaml", text).problems());
    let fixture = Fixture::new().file("/s", "hunter22").var("P", "13");
    let text = sink("  post: {port: \"${P}\", password: \"${file:/s}\"}\n");
    expect![[r#"
        p/a.yaml:3:16: error[bad-value] sink.post.port: port 13 with [redacted] is refused
    "#]]
    .assert_eq(&fixture.pipeline("p/a.yaml", &text).problems());
}

#[test]
fn files_are_checked_against_each_other() {
    let hook = "source: {hook: {path: /x, verify: {none: {reason: test}}}}\nsink: {post: {file: out}}\n";
    expect![[r#"
        p/a.yaml:1:1: warning[duplicate-claim] source: the path "/x" is also that of b.source (p/b.yaml:1); this file comes first, so this pipeline runs and the other does not
        p/a.yaml:2:1: warning[duplicate-claim] sink: the file "out" is also that of b.sink (p/b.yaml:2); this file comes first, so this pipeline runs and the other does not
        p/b.yaml:1:1: error[duplicate-claim] source: the path "/x" is also that of a.source (p/a.yaml:1); only one node can have it: change one of them
        p/b.yaml:2:1: error[duplicate-claim] sink: the file "out" is also that of a.sink (p/a.yaml:2); only one node can have it: change one of them
    "#]].assert_eq(&Fixture::new().pipeline("p/a.yaml", hook).pipeline("p/b.yaml", hook).problems());
    let named = format!("name: one\n{}", sink("  void: \n"));
    expect![[r#"
        p/a.yaml:1:1: error[duplicate-name] name: pipeline "one" stands also in p/b.yaml:1; rename one; a file of a later path may change it with `overlay: true`
        p/b.yaml:1:1: error[duplicate-name] name: pipeline "one" stands also in p/a.yaml:1; rename one; a file of a later path may change it with `overlay: true`
    "#]].assert_eq(&Fixture::new().pipeline("p/a.yaml", &named).pipeline("p/b.yaml", &named).problems());
    let text = "overlay: true\nname: nobody\nsink: {void: }\n";
    expect![[r#"
        env/a.yaml:1:10: error[overlay-without-base] overlay: no earlier path has a pipeline "nobody" to change; take `overlay` out, or give the name of the pipeline with `name:`
    "#]].assert_eq(&Fixture::new().layered(1, "env/a.yaml", text).problems());
}

#[test]
fn shared_parts_are_checked_where_they_stand() {
    let shared = "connections:\n  crm: {token: \"${NONE}\"}\nsteps:\n  clean:\n    - map: {a: BAD}\ndefaults:\n  sink: {timeuot: 5s}\n  pots: {}\n  post: {methd: PUT}\nconections: {}\n";
    let user =
        "source: {ticks: {count: 1}}\nsteps: [{use: clean}, {use: claen}]\nsink: {post: {connection: crm}}\n";
    expect![[r#"
        p/shared.yaml:2:17: error[missing-variable] connections.crm.token: variable NONE is not set; set it, or give a default: `${NONE:-…}`
        p/shared.yaml:5:16: error[bad-expression] steps.clean[0].map.a: unexpected BAD
        p/shared.yaml:7:10: error[unknown-field] defaults.sink.timeuot: unknown field; did you mean "timeout"?
        p/shared.yaml:8:3: error[unknown-type] defaults.pots: neither a role nor a component; did you mean "post"?
        p/shared.yaml:9:10: error[unknown-field] defaults.post.methd: unknown field; did you mean "method"?
        p/shared.yaml:10:1: error[unknown-field] conections: unknown field; did you mean "connections"?
        p/user.yaml:2:15: error[bad-expression] steps[0].use: in shared steps "clean" (p/shared.yaml:5): unexpected BAD
        p/user.yaml:2:29: error[unknown-name] steps[1].use: no shared steps are called "claen"; did you mean "clean"?
    "#]].assert_eq(&Fixture::new().pipeline("p/shared.yaml", shared).pipeline("p/user.yaml", user).problems());
    let twice = "connections: {crm: {}}\n";
    expect![[r#"
        p/a.yaml:1:15: error[duplicate-name] connections.crm: "crm" stands also in p/b.yaml:1; rename one; a file of a later path may change it with `overlay: true`
        p/b.yaml:1:15: error[duplicate-name] connections.crm: "crm" stands also in p/a.yaml:1; rename one; a file of a later path may change it with `overlay: true`
    "#]].assert_eq(&Fixture::new().pipeline("p/a.yaml", twice).pipeline("p/b.yaml", twice).problems());
    let user = "source: {ticks: {count: 1}}\nsteps: [checked: usr]\nsink: {void: }\n";
    expect![[r#"
        p/a.yaml:2:18: error[unknown-schema] steps[0].checked: no schema is called "usr"; did you mean "user"?
    "#]]
    .assert_eq(&Fixture::new().file("schemas/user.schema.json", "{}").pipeline("p/a.yaml", user).problems());
}

#[test]
fn sources_and_tests_are_checked() {
    check(
        "source: {ticks: {}}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:1:1: warning[no-identity] source: records of this source have no id that survives a redelivery; give one with `id: EXPR`, or make it stable with `journal: true`
    "#]],
    );
    check(
        "source: {hook: {path: /x, verify: {none: {reason: r}}}, journal: false}\nsink: {void: }\n",
        expect![[r#"
        p/a.yaml:1:66: error[journal-needed] source.journal: this source cannot send a record again, so it is always journaled; leave `journal` out
    "#]],
    );
    check(
        &format!(
            "{}tests:\n  - {{name: 5, input: {{sauce: []}}, expect: {{sink: 1, snik: [], filtered: []}}, nwo: 1}}\n  - {{input: [], expect: {{}}, now: yesterday}}\n",
            sink("  void: \n")
        ),
        expect![[r#"
            p/a.yaml:5:12: error[wrong-type] tests[0].name: expected a string, found the number 5
            p/a.yaml:5:23: error[unknown-name] tests[0].input.sauce: no source is called "sauce"; did you mean "source"?
            p/a.yaml:5:50: error[wrong-type] tests[0].expect.sink: expected a list, found the number 1
            p/a.yaml:5:53: error[unknown-name] tests[0].expect.snik: no sink is called "snik"; did you mean "sink"?
            p/a.yaml:5:73: error[wrong-type] tests[0].expect.filtered: expected a whole number from 0, found a list
            p/a.yaml:5:78: error[unknown-field] tests[0].nwo: unknown field; did you mean "now"?
            p/a.yaml:6:34: error[wrong-type] tests[1].now: expected a time like "2026-01-31T12:00:00Z", found the string "yesterday"
        "#]],
    );
    check(
        &format!(
            "{}tests:\n  - {expect}, replay: fixtures/a.json, input: []}}\n  - {expect}, replay: 5}}\n  - {expect}, input: [], faults: false}}\n  - {expect}, replay: a.json, faults: 1}}\n",
            sink("  void: \n"),
            expect = "{expect: {sink: []}"
        ),
        expect![[r#"
            p/a.yaml:5:26: error[misplaced-key] tests[0].replay: a case has `input` or `replay`, not both
            p/a.yaml:6:34: error[wrong-type] tests[1].replay: expected the path of a fixture, like "fixtures/orders.json", found the number 5
            p/a.yaml:7:37: error[misplaced-key] tests[2].faults: faults are tried only where a case has `replay`
            p/a.yaml:8:50: error[wrong-type] tests[3].faults: expected true or false, found the number 1
        "#]],
    );
    check(
        "sources: {a: {ticks: {count: 1}, max_in_flight: 5}, b: {ticks: {count: 1}}}\nsink: {void: }\nunrouted: dorp\nmax_in_flight: {records: 0}\n",
        expect![[r#"
        p/a.yaml:1:34: error[misplaced-key] sources.a.max_in_flight: the limit counts for the whole pipeline, and this one has several sources; move it to the top of the file
        p/a.yaml:3:11: error[bad-value] unrouted: the string "dorp" is not one of the values it can have; did you mean "drop"?
        p/a.yaml:4:26: error[bad-value] max_in_flight.records: must be at least 1, found 0
    "#]],
    );
}
