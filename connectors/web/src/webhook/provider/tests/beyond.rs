//! What comes with a provider's name beside its scheme.

use super::*;
use crate::testing::NOW;

const DAY: u64 = 86_400;

fn gitlab(own: Json) -> Json {
    let mut settings = json!({"path": "/orders", "verify": {"provider": "gitlab-token", "secret": "s3cret"}});
    for (name, value) in own.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

fn signed(body: &str, more: &[(&str, &str)]) -> Sent {
    let given = [("x-gitlab-token", "s3cret")].iter().chain(more);
    let headers = given.map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Sent { headers, body: body.into(), ..Sent::default() }
}

#[tokio::test]
async fn a_providers_names_count_where_the_file_says_nothing() {
    let body = r#"{"id":"mine","kind":"k"}"#;
    let named = [("idempotency-key", "e1"), ("x-gitlab-event", "t1")];
    for (own, id, event_type) in [
        (json!({}), "e1", "t1"),
        (json!({"delivery_id": "$.id"}), "mine", "t1"),
        (json!({"event_type": "$.kind"}), "e1", "k"),
    ] {
        let outcome = signed(body, &named).to(gitlab(own.clone()), NOW).await.unwrap();
        let record = outcome.record.unwrap();
        let meta = record.meta();
        assert_eq!(
            (meta.delivery_id.as_deref(), meta.event_type.as_deref()),
            (Some(id), Some(event_type)),
            "{own}"
        );
        assert_eq!(meta.id.to_string(), id);
        assert!(!meta.headers.contains_key("x-gitlab-token"));
    }
    let ids = [r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#].map(|body| async {
        signed(body, &[]).to(gitlab(json!({})), NOW).await.unwrap().record.unwrap().id().to_string()
    });
    let [first, again, other] = ids;
    let (first, again, other) = (first.await, again.await, other.await);
    assert!(first.starts_with("sha256-") && first == again && first != other);
}

#[test]
fn a_delivery_counts_once_for_as_long_as_it_may_be_tried() {
    for (settings, days) in [
        (gitlab(json!({})), Some(3)),
        (json!({"path": "/orders", "verify": {"provider": "docusign", "secret": "s"}}), Some(15)),
        (json!({"path": "/orders", "verify": {"token": {"token": "t"}}}), None),
    ] {
        let plan = source::<Webhook>(settings.clone()).unwrap();
        let dedup = plan.default_dedup();
        assert_eq!(dedup.as_ref().map(|dedup| dedup.ttl), days.map(|days| Duration::from_secs(days * DAY)));
        assert_eq!(plan.has_identity(), days.is_some(), "{settings}");
        let record = crate::testing::record("e1", "{}");
        assert!(dedup.is_none_or(|dedup| dedup.key.eval(&record).unwrap() == Some(json!("e1"))));
    }
}

#[tokio::test]
async fn a_provider_reads_the_answer_that_it_wants() {
    let body = r#"{"value":[{"clientState":"s3cret"}]}"#;
    let graph = json!({"path": "/orders", "verify": {"provider": "microsoft-graph", "secret": "s3cret"}});
    let outcome = Sent { body: body.into(), ..Sent::default() }.to(graph, NOW).await.unwrap();
    assert_eq!((outcome.response.status().as_u16(), outcome.response.body().len()), (202, 0));
}

/// Salesforce sends again what was answered in any other way.
#[tokio::test]
async fn an_answer_may_be_of_a_certain_type() {
    let salesforce = json!({"path": "/orders", "verify": {"provider": "salesforce", "secret": "s3cret"}});
    let headers = vec![("content-type".into(), "text/xml; charset=utf-8".into())];
    let sent =
        Sent { query: Some("token=s3cret".into()), headers, body: "<Envelope/>".into(), ..Sent::default() };
    let outcome = sent.to(salesforce, NOW).await.unwrap();
    let body = std::str::from_utf8(outcome.response.body()).unwrap();
    assert_eq!((outcome.response.status().as_u16(), body.contains("<Ack>true</Ack>")), (200, true));
    assert_eq!(outcome.response.headers()["content-type"], "text/xml");
    assert!(outcome.record.is_some());
}

/// SNS says text/plain of what is JSON.
#[tokio::test]
async fn a_provider_may_send_json_as_something_else() {
    let sns = json!({"path": "/orders", "verify": {"provider": "sns", "parameters": {"topics": "arn"}}});
    for (settings, media_type, admitted) in [
        (sns.clone(), "text/plain; charset=UTF-8", true),
        (sns.clone(), "application/json", true),
        (sns, "text/html", false),
        (json!({"path": "/orders", "verify": {"provider": "okta", "secret": "s3cret"}}), "text/plain", false),
    ] {
        let plan = source::<Webhook>(settings.clone()).unwrap();
        let engine = Arc::<Engine>::default();
        let (_, endpoint) = open_webhook_at(&*plan, &engine, plan.default_decode(), NOW).await;
        let headers = [("content-type", media_type), ("authorization", "s3cret")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let answer = endpoint.admit(&Sent { headers, ..Sent::default() }.head());
        assert_eq!(
            answer.err().map(|answer| answer.status().as_u16()),
            (!admitted).then_some(415),
            "{settings}"
        );
    }
}

#[test]
fn events_are_known_by_the_type_that_the_provider_gives() {
    assert!(source::<Webhook>(gitlab(json!({"events": ["t1"]}))).is_ok());
    let without_types = json!({
        "path": "/orders", "events": ["a"], "verify": {"provider": "auth0", "secret": "s"},
    });
    let problems = source::<Webhook>(without_types).err().unwrap();
    assert_eq!(crate::testing::places(&problems), ["missing-event-type events"]);
}

#[test]
fn the_count_of_tries_begins_with_one() {
    let attempt = |provider: &str, headers: &'static [(&str, &str)], body: &str| {
        let mut map = ::http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, ::http::HeaderValue::from_static(value));
        }
        find(provider).unwrap().attempt(&map, serde_json::from_str(body).ok().as_ref())
    };
    for (provider, headers, body, count) in [
        ("slack", &[][..], "{}", Some(1)),
        ("slack", &[("x-slack-retry-num", "2")], "{}", Some(3)),
        ("slack", &[("x-slack-retry-num", "often")], "{}", None),
        ("bitbucket", &[("x-attempt-number", "1")], "{}", Some(1)),
        ("bitbucket", &[("x-attempt-number", "0")], "{}", None),
        ("notion", &[], r#"{"attempt_number":4}"#, Some(4)),
        ("stripe", &[], "{}", None),
    ] {
        assert_eq!(attempt(provider, headers, body), count, "{provider} {headers:?}");
    }
}
