use std::time::Duration;

use karez_api::{Batch, Class, Fault, Json, Outcome, Positions, Record, Settled, Sink, Source, Verdict};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::broker::{self, Broker};
use crate::engine::{open_sink, open_source, outcomes, record};

async fn sink_to(broker: &Broker, queue: &str) -> Box<dyn Sink> {
    open_sink(json!({"url": broker.url(), "queue": queue, "declare": {}})).await.unwrap()
}

/// Puts records `r0`, `r1`, … into a queue.
async fn fill(broker: &Broker, queue: &str, count: usize) {
    let sink = sink_to(broker, queue).await;
    let records: Vec<Record> = (0..count).map(|n| record(&format!("r{n}"), json!({"n": n}))).collect();
    assert_eq!(outcomes(&sink.deliver(&records).await), vec!["done"; count]);
    sink.close().await.unwrap();
}

async fn consume(broker: &Broker, queue: &str) -> Box<dyn Source> {
    open_source(json!({"url": broker.url(), "queue": queue})).await.unwrap()
}

/// One pull, bounded so that a test fails where a message is missing.
async fn next(source: &mut dyn Source) -> Result<Option<Batch>, Fault> {
    timeout(Duration::from_secs(20), source.pull()).await.expect("nothing comes")
}

/// Pulls until there are this many records.
async fn pull(source: &mut dyn Source, count: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    while batches.iter().map(|batch| batch.records.len()).sum::<usize>() < count {
        batches.push(next(source).await.unwrap().unwrap());
    }
    batches
}

fn numbers(batches: &[Batch]) -> Vec<u64> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    records.map(|record| record.body().tree().unwrap()["n"].as_u64().unwrap()).collect()
}

/// Settles every record as its number says; all batches fare alike.
async fn settle(batches: &mut [Batch], verdict: impl Fn(u64) -> Option<Verdict>) -> Settled {
    let mut all = Vec::new();
    for batch in batches {
        let numbered = (0..).zip(numbers(std::slice::from_ref(batch)));
        let part: Vec<_> = numbered.filter_map(|(index, n)| Some((index, verdict(n)?))).collect();
        all.push(batch.ack.settle(&part).await.unwrap());
    }
    assert!(all.iter().all(|settled| *settled == all[0]), "{all:?}");
    all[0]
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

    let mut batch = next(&mut *source).await.unwrap().unwrap();
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
        assert_eq!(settle(&mut batches, verdict).await, Settled::Done);
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
async fn a_peer_that_says_nothing_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}?connection_timeout=1", silent.local_addr().unwrap());
    let fault = open_source(json!({"url": url, "queue": "q"})).await.err().unwrap();
    assert_eq!((fault.class(), fault.code()), (Class::Connection, "timeout"));
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumer() {
    let broker = broker::shared().await;
    fill(&broker, "deleted", 1).await;
    let mut source = consume(&broker, "deleted").await;
    let mut batches = pull(&mut *source, 1).await;
    broker.look().await.delete("deleted").await;
    let fault = next(&mut *source).await.err().unwrap();
    assert_eq!((fault.class(), fault.code()), (Class::Service, "consumer_cancelled"));
    settle(&mut batches, |_| Some(Verdict::Durable)).await;
    source.close().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_dies_loses_nothing() {
    let mut broker = broker::alone().await;
    let sink = sink_to(&broker, "killed").await;
    let sent = [record("r0", json!({"n": 0})), record("r1", json!({"n": 1}))];
    assert_eq!(outcomes(&sink.deliver(&sent).await), ["done"; 2]);
    let mut source = consume(&broker, "killed").await;
    let mut before = pull(&mut *source, 2).await;

    let flooding = sink_to(&broker, "flooded").await;
    let confirmed = flood_and_kill(&*flooding, &mut broker).await;
    let fault = next(&mut *source).await.err().unwrap();
    assert_eq!(fault.class(), Class::Connection, "{fault}");
    assert_eq!(settle(&mut before, |_| Some(Verdict::Durable)).await, Settled::Stale);
    source.close().await.unwrap();
    let late = [record("r2", json!({"n": 2}))];
    let outcome = outcomes(&sink.deliver(&late).await).remove(0);
    assert!(outcome.ends_with(" connection"), "{outcome}");

    broker.restart();
    let look = broker.look().await;
    assert!(look.ready("flooded").await as usize >= confirmed, "a confirmed message is lost");
    look.delete("flooded").await;
    look.quorum_queue("flooded").await;
    let refused = flooding.deliver(&late).await;
    assert_eq!(outcomes(&refused), ["not sent amqp_406"]);
    assert_eq!(failure(&refused.each[0]), Some(Class::Service), "it is not the record's fault");
    let mut source = consume(&broker, "killed").await;
    assert_eq!(outcomes(&sink.deliver(&late).await), ["done"], "the sink connects again");
    let mut after = pull(&mut *source, 3).await;
    assert_eq!(numbers(&after), [0, 1, 2]);
    // The tags of the old session would acknowledge other messages in the new one.
    assert_eq!(settle(&mut before, |_| Some(Verdict::Durable)).await, Settled::Stale);
    assert_eq!(settle(&mut after, |_| Some(Verdict::Durable)).await, Settled::Done);
    source.close().await.unwrap();
    assert_eq!(look.ready("killed").await, 0);
}

/// Delivers until the broker, killed meanwhile, confirms no more; how many it had confirmed.
async fn flood_and_kill(sink: &dyn Sink, broker: &mut Broker) -> usize {
    let under_way = Notify::new();
    let records: Vec<_> = (0..64).map(|n| record(&format!("f{n}"), json!({}))).collect();
    let flood = async {
        let mut confirmed = 0;
        loop {
            let delivery = sink.deliver(&records).await;
            let failed: Vec<_> = delivery.each.iter().filter_map(failure).collect();
            confirmed += records.len() - failed.len();
            if !failed.is_empty() {
                assert!(failed.iter().all(|class| *class == Class::Connection), "{failed:?}");
                return confirmed;
            }
            under_way.notify_one();
        }
    };
    let kill = async {
        under_way.notified().await;
        broker.kill();
    };
    tokio::join!(flood, kill).0
}

fn failure(outcome: &Outcome) -> Option<Class> {
    match outcome {
        Outcome::Done | Outcome::Became(_) => None,
        Outcome::Refused(fault) | Outcome::NotSent(fault) | Outcome::Unknown(fault) => Some(fault.class()),
    }
}
