use karez_api::{Class, Outcome, Record, Sink};
use serde_json::json;

use crate::broker;
use crate::engine::{open_sink, outcomes, record};

fn to(keys: &[&str]) -> Vec<Record> {
    let records = keys.iter().enumerate();
    records.map(|(n, key)| record(&format!("r{n}"), json!({"key": key}))).collect()
}

async fn deliver(sink: &dyn Sink, records: &[Record]) -> Vec<String> {
    outcomes(&sink.deliver(records).await)
}

#[tokio::test]
async fn only_the_record_that_no_queue_takes_fails() {
    let broker = broker::shared().await;
    let look = broker.look().await;
    look.queue("some").await;
    let sink = open_sink(json!({"url": broker.url(), "routing_key": "{{key}}"})).await.unwrap();
    let lost = "not sent unroutable";
    for (keys, expected) in [
        (&["some", "nowhere", "some"][..], &["done", lost, "done"][..]),
        (&["nowhere"], &[lost]),
        (&["nowhere", "elsewhere"], &[lost; 2]),
        (&["some", "some", "nowhere"], &["done", "done", lost]),
        (&["nowhere", "some", "some"], &[lost, "done", "done"]),
    ] {
        assert_eq!(deliver(&*sink, &to(keys)).await, expected, "{keys:?}");
    }
    // Confirms come in bulk here.
    let keys: Vec<_> = (0..256).map(|n| if n % 7 == 3 { "nowhere" } else { "some" }).collect();
    let expected: Vec<_> = keys.iter().map(|key| if *key == "some" { "done" } else { lost }).collect();
    assert_eq!(deliver(&*sink, &to(&keys)).await, expected);
    assert_eq!(deliver(&*sink, &to(&["some"])).await, ["done"], "nothing is left over");
    let routed = 2 + 2 + 2 + keys.iter().filter(|key| **key == "some").count() + 1;
    assert_eq!(look.ready("some").await as usize, routed);

    let delivery = sink.deliver(&to(&["nowhere"])).await;
    let Outcome::NotSent(fault) = &delivery.each[0] else { panic!("{delivery:?}") };
    assert_eq!(fault.class(), Class::Service);
    assert!(fault.message().contains("routing key \"nowhere\""), "{fault}");
    sink.close().await.unwrap();
}

#[tokio::test]
async fn who_does_not_mind_is_not_told_of_lost_messages() {
    let broker = broker::shared().await;
    let settings = json!({"url": broker.url(), "routing_key": "nowhere", "mandatory": false});
    let sink = open_sink(settings).await.unwrap();
    assert_eq!(deliver(&*sink, &to(&["a", "b"])).await, ["done"; 2]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_record_without_a_routing_key_is_refused_alone() {
    let broker = broker::shared().await;
    broker.look().await.queue("named").await;
    let sink = open_sink(json!({"url": broker.url(), "routing_key": "{{key}}"})).await.unwrap();
    let mut records = to(&["named", &"x".repeat(256), "named"]);
    records.push(record("r3", json!({})));
    assert_eq!(deliver(&*sink, &records).await, ["done", "refused too_long", "done", "refused missing"]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn deliveries_at_once_do_not_mix() {
    let broker = broker::shared().await;
    broker.look().await.queue("at-once").await;
    let sink = open_sink(json!({"url": broker.url(), "routing_key": "{{key}}"})).await.unwrap();
    let (here, nowhere) = (to(&["at-once"; 64]), to(&["nowhere"; 64]));
    let (here, nowhere) = tokio::join!(deliver(&*sink, &here), deliver(&*sink, &nowhere));
    assert_eq!(here, ["done"; 64]);
    assert_eq!(nowhere, ["not sent unroutable"; 64]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn an_exchange_that_is_not_there_yet_is_found_when_it_is() {
    let broker = broker::shared().await;
    let look = broker.look().await;
    let settings = json!({"url": broker.url(), "exchange": "later", "routing_key": "k", "mandatory": false});
    let sink = open_sink(settings).await.unwrap();
    let missing = deliver(&*sink, &to(&["k"; 64])).await;
    assert_eq!(missing[0], "unknown amqp_404");
    assert!(missing.iter().all(|outcome| outcome.ends_with(" amqp_404")), "{missing:?}");
    look.exchange("later").await;
    assert_eq!(deliver(&*sink, &to(&["a", "b"])).await, ["done"; 2]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_sink_opens_without_its_broker() {
    let settings = json!({"url": "amqp://127.0.0.1:1", "queue": "q", "declare": {}});
    let sink = open_sink(settings).await.unwrap();
    assert_eq!(deliver(&*sink, &to(&["a", "b"])).await, ["not sent connection"; 2]);
    sink.close().await.unwrap();
}
