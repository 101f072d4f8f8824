use bytes::Bytes;
use karez_api::{Form, Meta, Millis};
use serde_json::json;

use super::*;
use crate::testing::source;
use crate::webhook::Webhook;

fn delivery(body: &Json) -> Record {
    let meta = Meta::new(karez_api::RecordId::text("delivery"), "hook".into(), Millis(0));
    Record::new(Body::from_bytes(Form::Json, Bytes::from(body.to_string())), meta)
}

fn webhook(provider: &str, key: &str, more: &[(&str, Json)]) -> Json {
    let mut settings = json!({
        "path": "/p",
        "public_url": "https://hooks.example.com/webhooks/p",
        "verify": {"provider": provider, key: "00112233445566778899aabbccddeeff"},
    });
    for (name, value) in more {
        settings[name] = value.clone();
    }
    settings
}

/// Id, type and body of each record.
fn unpacked(settings: Json, body: &Json) -> Vec<(String, Option<String>, Json)> {
    let plan = source::<Webhook>(settings).unwrap();
    let unpack = plan.unpack().expect("a sender of lists");
    let record = |record: Record| {
        let meta = record.meta();
        let event_type = meta.event_type.as_deref().map(str::to_owned);
        (meta.id.to_string(), event_type, record.body().tree().unwrap().clone())
    };
    unpack.unpack(delivery(body)).unwrap().into_iter().map(record).collect()
}

#[test]
fn each_event_of_a_delivery_has_its_own_id_and_type() {
    let adyen = |reference: &str| json!({"NotificationRequestItem": {"pspReference": reference, "eventCode": "CAPTURE", "success": "true"}});
    for (provider, body, expected) in [
        (
            "hubspot",
            json!([
                {"eventId": 1, "subscriptionId": 2, "occurredAt": 3, "subscriptionType": "contact.creation"},
                {"eventId": 1, "subscriptionId": 9, "occurredAt": 3, "subscriptionType": "deal.creation"},
            ]),
            [("1-2-3", "contact.creation"), ("1-9-3", "deal.creation")],
        ),
        (
            "okta",
            json!({"eventId": "x", "data": {"events": [
                {"uuid": "a", "eventType": "user.session.start"},
                {"uuid": "b", "eventType": "user.session.end"},
            ]}}),
            [("a", "user.session.start"), ("b", "user.session.end")],
        ),
        (
            "adyen",
            json!({"live": "false", "notificationItems": [adyen("p1"), adyen("p2")]}),
            [("p1:CAPTURE:true", "CAPTURE"), ("p2:CAPTURE:true", "CAPTURE")],
        ),
        (
            "microsoft-graph",
            json!({"value": [
                {"id": "n1", "changeType": "updated"},
                {"id": "n2", "lifecycleEvent": "missed", "changeType": "updated"},
            ]}),
            [("n1", "updated"), ("n2", "missed")],
        ),
    ] {
        let found = unpacked(webhook(provider, "secret", &[]), &body);
        let named: Vec<_> =
            found.iter().map(|(id, event_type, _)| (id.as_str(), event_type.as_deref().unwrap())).collect();
        assert_eq!(named, expected, "{provider}");
    }
}

#[test]
fn what_only_says_that_something_changed_is_never_taken_for_another() {
    let item = json!({"subscriptionId": "s", "changeType": "updated", "resource": "me/drive/root"});
    let found = unpacked(webhook("microsoft-graph", "secret", &[]), &json!({"value": [item, item]}));
    let ids: Vec<&str> = found.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["delivery.0", "delivery.1"]);
}

#[test]
fn an_event_without_an_id_is_known_by_its_own_hash() {
    let (one, other) = (json!({"a": 1}), json!({"a": 2}));
    let found = unpacked(webhook("hubspot", "secret", &[]), &json!([one, other, one]));
    let ids: Vec<&str> = found.iter().map(|(id, ..)| id.as_str()).collect();
    assert!(ids[0].starts_with("sha256-") && ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}

#[test]
fn the_file_may_say_where_the_type_stands() {
    let settings = webhook("hubspot", "secret", &[("event_type", json!({"header": "X-Kind"}))]);
    let found = unpacked(settings, &json!([{"eventId": 1, "subscriptionType": "contact.creation"}]));
    assert_eq!(found[0].1, None, "the delivery's own counts");
}

#[test]
fn a_body_that_is_no_list_is_one_record() {
    let body = json!({"single": true});
    assert_eq!(unpacked(webhook("hubspot", "secret", &[]), &body)[0].2, body);
    assert_eq!(unpacked(webhook("hubspot", "secret", &[]), &json!([])), []);
}
