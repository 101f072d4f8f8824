use karez_api::{Json, Problem, Severity};
use serde_json::json;

use crate::engine::{check_sink, check_source};

fn merged(own: &Json) -> Json {
    let mut whole = json!({"url": "amqp://localhost"});
    for (key, value) in own.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

fn places(problems: &[Problem]) -> Vec<String> {
    let place = |problem: &Problem| format!("{} {}", problem.code, problem.at);
    problems.iter().map(place).collect()
}

#[test]
fn what_is_wrong_with_a_source_is_said_at_its_place() {
    let long = "x".repeat(256);
    for (own, said) in [
        (json!({"queue": ""}), "no-queue queue"),
        (json!({"queue": long}), "too-long queue"),
        (json!({"queue": "q", "prefetch": 0}), "bad-prefetch prefetch"),
        (json!({"queue": "q", "consumer_tag": long}), "too-long consumer_tag"),
        (json!({"queue": "q", "bind": [{"exchange": "e"}, {"exchange": long}]}), "too-long bind[1].exchange"),
        (json!({"queue": "q", "declare": {"arguments": {"x-a": [1]}}}), "bad-argument declare.arguments.x-a"),
        (json!({"queue": "q", "declare": {"arguments": {"x-a": 1.5}}}), "bad-argument declare.arguments.x-a"),
        (json!({"queue": "q", "url": "localhost"}), "bad-url url"),
        (json!({"queue": "q", "url": "http://localhost"}), "bad-url url"),
        (json!({"queue": "q", "url": "amqp://u:p@[::1]:5672"}), "bad-url url"),
    ] {
        let (_, problems) = check_source(merged(&own));
        assert_eq!(places(&problems), [said], "{own}");
        assert!(problems[0].severity == Severity::Error);
    }
}

#[test]
fn what_is_wrong_with_a_sink_is_said_at_its_place() {
    let long = "x".repeat(256);
    for (own, said) in [
        (json!({}), "bad-target "),
        (json!({"exchange": "e"}), "bad-target "),
        (json!({"queue": ""}), "bad-target "),
        (json!({"queue": "q", "routing_key": "k"}), "bad-target "),
        (json!({"queue": "q", "exchange": "e"}), "bad-target "),
        (json!({"routing_key": "k", "declare": {}}), "bad-declare declare"),
        (json!({"routing_key": "k", "exchange": long}), "too-long exchange"),
        (json!({"queue": "q", "content_type": long}), "too-long content_type"),
        (json!({"queue": "q", "headers": {long.as_str(): "x"}}), &format!("too-long headers.{long}")),
        (json!({"queue": "q", "url": "amqp://"}), "bad-url url"),
        (json!({"queue": "q", "url": "amqp://u:p@/v"}), "bad-url url"),
        (json!({"queue": "q", "url": "amqp://:5672"}), "bad-url url"),
    ] {
        let (_, problems) = check_sink(merged(&own));
        assert_eq!(places(&problems), [said], "{own}");
    }
}

#[test]
fn a_slash_at_the_end_of_a_url_is_pointed_out() {
    let own = json!({"queue": "q", "url": "amqp://localhost/"});
    let (plan, problems) = check_source(merged(&own));
    assert!(plan.is_some());
    assert_eq!(places(&problems), ["empty-vhost url"]);
    assert!(problems[0].severity == Severity::Warning);
}
