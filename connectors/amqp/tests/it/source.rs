use karez_api::{Batch, Class, Json, Positions, Record, Settled, Source, Verdict};
use serde_json::json;

use crate::broker::{self, Broker};
use crate::engine::{open_sink, open_source, outcomes, record};

/// Puts records `r0`, `r1`, … into a queue.
async fn fill(broker: &Broker, queue: &str, count: usize) {
    let sink = open_sink(json!({"url": broker.url(), "queue": queue, "declare": {}})).await.unwrap();
    let records: Vec<Record> = (0..count).map(|n| record(&format!("r{n}"), json!({"n": n}))).collect();
    assert_eq!(outcomes(&sink.deliver(&records).await), vec!["done"; count]);
    sink.close().await.unwrap();
}

async fn consume(broker: &Broker, queue: &str) -> Box<dyn Source> {
    open_source(json!({"url": broker.url(), "queue": queue})).await.unwrap()
}

/// Pulls until there are this many records.
async fn pull(source: &mut dyn Source, count: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    while batches.iter().map(|batch| batch.records.len()).sum::<usize>() < count {
        batches.push(source.pull().await.unwrap().unwrap());
    }
    batches
}

fn numbers(batches: &[Batch]) -> Vec<u64> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    records.map(|record| record.body().tree().unwrap()["n"].as_u64().unwrap()).collect()
}

/// Settles every record as its number says.
async fn settle(batches: &mut [Batch], verdict: impl Fn(u64) -> Option<Verdict>) -> Vec<Settled> {
    let mut settled = Vec::new();
    for batch in batches {
        let numbers = numbers(std::slice::from_ref(batch));
        let part: Vec<_> =
            (0..).zip(numbers).filter_map(|(index, number)| Some((index, verdict(number)?))).collect();
        settled.push(batch.ack.settle(&part).await.unwrap());
    }
    settled
}

#[tokio::test]
async fn what_is_published_comes_back_as_it_was() {
    let broker = broker::shared().await;
    let look = broker.look().await;
    look.exchange("trip").await;
    let mut source = open_source(json!({
        "url": broker.url(),
        "queue": "trip-eu",
        "declare": {"arguments": {"x-queue-type": "quorum", "x-max-length": 100}},
        "bind": [{"exchange": "trip", "routing_key": "eu.#"}],
        "consumer_tag": "karez",
    }))
    .await
    .unwrap();
    let sink = open_sink(json!({
        "url": broker.url(),
        "exchange": "trip",
        "routing_key": "{{key}}",
        "type": "{{kind}}",
        "headers": {"X-Tenant": "{{tenant}}"},
    }))
    .await
    .unwrap();
    let body = json!({"key": "eu.new", "kind": "created", "tenant": "acme"});
    let delivery = sink.deliver(&[record("r1", body.clone())]).await;
    assert_eq!(outcomes(&delivery), ["done"]);
    assert!(delivery.mark.is_none());

    let mut batch = source.pull().await.unwrap().unwrap();
    assert_eq!(&*batch.lane.0, "trip-eu");
    assert!(matches!(batch.positions, Positions::None));
    let meta = batch.records[0].meta();
    assert_eq!(batch.records[0].body().tree().unwrap(), &body);
    assert_eq!(meta.id.to_string(), "orders/out/r1");
    assert_eq!(meta.delivery_id.as_deref(), Some("orders/out/r1"));
    assert_eq!(meta.event_type.as_deref(), Some("created"));
    assert_eq!(meta.topic.as_deref(), Some("trip"));
    assert_eq!(meta.key.as_deref(), Some("eu.new"));
    assert_eq!(meta.headers["x-tenant"], "acme");
    assert_eq!(meta.headers["content-type"], "application/json");
    assert!(meta.extra.is_empty());

    assert_eq!(batch.ack.settle(&[(0, Verdict::Durable)]).await.unwrap(), Settled::Done);
    source.close().await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(look.ready("trip-eu").await, 0);
}

#[tokio::test]
async fn what_was_not_settled_comes_again() {
    let broker = broker::shared().await;
    fill(&broker, "again", 5).await;
    let mut source = consume(&broker, "again").await;
    let mut batches = pull(&mut *source, 5).await;
    assert_eq!(numbers(&batches), [0, 1, 2, 3, 4]);
    // 0 stays open, 3 is given back; asked for a second time, nothing is done twice.
    let verdict = |number| match number {
        0 => None,
        3 => Some(Verdict::Returned),
        _ => Some(Verdict::Durable),
    };
    for _ in 0..2 {
        let settled = settle(&mut batches, verdict).await;
        assert!(settled.iter().all(|settled| *settled == Settled::Done));
    }
    source.close().await.unwrap();

    let mut source = consume(&broker, "again").await;
    let batches = pull(&mut *source, 2).await;
    assert_eq!(numbers(&batches), [0, 3]);
    let redelivered = |record: &Record| record.meta().extra.get("redelivered") == Some(&Json::Bool(true));
    assert!(batches.iter().flat_map(|batch| &batch.records).all(redelivered));
    source.close().await.unwrap();
}

#[tokio::test]
async fn acknowledging_works_after_fetching_has_stopped() {
    let broker = broker::shared().await;
    fill(&broker, "quiet", 3).await;
    let mut source = consume(&broker, "quiet").await;
    let mut batches = pull(&mut *source, 3).await;
    source.quiesce().await.unwrap();
    settle(&mut batches, |_| Some(Verdict::Durable)).await;
    source.close().await.unwrap();
    assert_eq!(broker.look().await.ready("quiet").await, 0);
}

#[tokio::test]
async fn no_more_is_out_than_prefetch_says() {
    let broker = broker::shared().await;
    let look = broker.look().await;
    fill(&broker, "few", 10).await;
    let settings = json!({"url": broker.url(), "queue": "few", "prefetch": 3});
    let mut source = open_source(settings).await.unwrap();
    let mut batches = pull(&mut *source, 3).await;
    assert_eq!(numbers(&batches), [0, 1, 2]);
    assert_eq!(look.ready("few").await, 7);
    settle(&mut batches, |number| (number == 1).then_some(Verdict::Durable)).await;
    assert_eq!(numbers(&pull(&mut *source, 1).await), [3]);
    assert_eq!(look.ready("few").await, 6);
    source.close().await.unwrap();
    assert_eq!(look.ready("few").await, 9);
}

#[tokio::test]
async fn a_queue_that_is_declared_otherwise_is_the_files_fault() {
    let broker = broker::shared().await;
    broker.look().await.queue("taken").await;
    for declare in [
        json!({"durable": false}),
        json!({"arguments": {"x-max-length": 5}}),
        json!({"arguments": {"x-queue-type": "quorum"}}),
    ] {
        let settings = json!({"url": broker.url(), "queue": "taken", "declare": declare});
        for fault in
            [open_source(settings.clone()).await.err().unwrap(), open_sink(settings).await.err().unwrap()]
        {
            assert_eq!((fault.class(), fault.code()), (Class::Validation, "amqp_406"), "{declare}");
            assert!(fault.message().starts_with("cannot declare queue taken: "), "{fault}");
        }
    }
    let nonsense = json!({"arguments": {"x-queue-type": "nonsense"}});
    let settings = json!({"url": broker.url(), "queue": "nonsense", "declare": nonsense});
    let fault = open_source(settings).await.err().unwrap();
    assert_eq!((fault.class(), fault.code()), (Class::Validation, "amqp_406"));
}

#[tokio::test]
async fn what_may_pass_by_itself_is_not_the_files_fault() {
    let broker = broker::shared().await;
    let bind = json!([{"exchange": "not-there"}]);
    for (settings, class, code) in [
        (json!({"url": broker.url(), "queue": "not-there"}), Class::Service, "amqp_404"),
        (
            json!({"url": broker.url(), "queue": "unbound", "declare": {}, "bind": bind}),
            Class::Service,
            "amqp_404",
        ),
        (json!({"url": broker.url_with("s3cret"), "queue": "q"}), Class::Auth, "amqp_403"),
        (json!({"url": "amqp://guest:s3cret@127.0.0.1:1", "queue": "q"}), Class::Connection, "connection"),
    ] {
        let fault = open_source(settings).await.err().unwrap();
        assert_eq!((fault.class(), fault.code()), (class, code), "{fault}");
        assert!(!fault.message().contains("s3cret"), "{fault}");
    }
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumer() {
    let broker = broker::shared().await;
    fill(&broker, "deleted", 1).await;
    let mut source = consume(&broker, "deleted").await;
    let mut batches = pull(&mut *source, 1).await;
    broker.look().await.delete("deleted").await;
    let fault = source.pull().await.err().unwrap();
    assert_eq!((fault.class(), fault.code()), (Class::Service, "consumer_cancelled"));
    settle(&mut batches, |_| Some(Verdict::Durable)).await;
    source.close().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_dies_loses_nothing() {
    let mut broker = broker::alone().await;
    let sink = open_sink(json!({"url": broker.url(), "queue": "killed", "declare": {}})).await.unwrap();
    let sent = [record("r0", json!({"n": 0})), record("r1", json!({"n": 1}))];
    assert_eq!(outcomes(&sink.deliver(&sent).await), ["done"; 2]);
    let mut source = consume(&broker, "killed").await;
    let mut before = pull(&mut *source, 2).await;

    broker.kill();
    let fault = source.pull().await.err().unwrap();
    assert_eq!(fault.class(), Class::Connection, "{fault}");
    let stale = settle(&mut before, |_| Some(Verdict::Durable)).await;
    assert!(stale.iter().all(|settled| *settled == Settled::Stale));
    source.close().await.unwrap();
    let late = [record("r2", json!({"n": 2}))];
    assert_eq!(outcomes(&sink.deliver(&late).await), ["not sent connection"]);

    broker.restart().await;
    let mut source = consume(&broker, "killed").await;
    assert_eq!(outcomes(&sink.deliver(&late).await), ["done"], "a sink reconnects by itself");
    let mut after = pull(&mut *source, 3).await;
    assert_eq!(numbers(&after), [0, 1, 2]);
    // The numbers of the old session would acknowledge other messages in the new one.
    let stale = settle(&mut before, |_| Some(Verdict::Durable)).await;
    assert!(stale.iter().all(|settled| *settled == Settled::Stale));
    let settled = settle(&mut after, |_| Some(Verdict::Durable)).await;
    assert!(settled.iter().all(|settled| *settled == Settled::Done));
    source.close().await.unwrap();
    assert_eq!(broker.look().await.ready("killed").await, 0);
}
