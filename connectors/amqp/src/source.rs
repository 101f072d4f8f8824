//! The `amqp` source: consumes a queue and acknowledges each message once its record is settled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use karez_api::{
    Batch, Checker, Clock, Fault, Lane, Opened, Path, Positions, Problem, Replay, Secret, Source,
    SourceContext, SourcePlan, SourceSpec,
};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, Consumer};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ack::{AmqpAck, Session};
use crate::client::{self, fault};
use crate::declare::{Bind, Binding, Declaration, Declare};
use crate::message::Reading;

const LARGEST_BATCH: usize = 1_024;
const LARGEST_BATCH_BYTES: usize = 1 << 20;
/// After this long without a message the queue is looked at.
const SILENCE: Duration = Duration::from_secs(10);

/// Consumes a queue.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmqpSource {
    /// `amqp://user:password@host:5672/%2f`, or `amqps://` for TLS; `%2f` is the default virtual host.
    url: Secret,
    /// The queue to consume. It must exist, unless `declare` is set.
    queue: String,
    /// Declares the queue at start.
    declare: Option<Declare>,
    /// Exchanges to bind the queue to at start.
    #[serde(default)]
    bind: Vec<Bind>,
    /// Most messages that are out and not yet acknowledged. Default 256.
    #[serde(default = "prefetch")]
    #[schemars(range(min = 1))]
    prefetch: u16,
    /// How the broker names this consumer. Default: the broker chooses.
    #[serde(default)]
    consumer_tag: String,
}

fn prefetch() -> u16 {
    256
}

impl SourceSpec for AmqpSource {
    const NAME: &'static str = "amqp";
    const SUMMARY: &'static str = "Consumes an AMQP 0-9-1 queue (RabbitMQ) and acknowledges after delivery.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let uri = client::checked_url(cx, &self.url);
        let root = Path::root();
        let queue = client::name(cx, &root.field("queue"), &self.queue)?;
        if self.queue.is_empty() {
            cx.report(Problem::error("no-queue", root.field("queue"), "the queue has no name"));
            return None;
        }
        if self.prefetch == 0 {
            cx.report(
                Problem::error("bad-prefetch", root.field("prefetch"), "0 would mean no limit")
                    .help("from 1 to 65535"),
            );
            return None;
        }
        let declaration = match self.declare {
            Some(declare) => Some(declare.check(cx)?),
            None => None,
        };
        let bind_at = root.field("bind");
        let bindings: Vec<_> = (self.bind.iter().enumerate())
            .filter_map(|(index, bind)| bind.check(cx, &bind_at.index(index)))
            .collect();
        if bindings.len() < self.bind.len() {
            return None;
        }
        let consumer_tag = client::name(cx, &root.field("consumer_tag"), &self.consumer_tag)?;
        Some(Box::new(Plan {
            uri: uri?,
            queue,
            declaration,
            bindings,
            prefetch: self.prefetch,
            consumer_tag,
        }))
    }
}

struct Plan {
    uri: AMQPUri,
    queue: ShortString,
    declaration: Option<Declaration>,
    bindings: Vec<Binding>,
    prefetch: u16,
    consumer_tag: ShortString,
}

impl Plan {
    async fn consume(&self, channel: &Channel) -> Result<Consumer, Fault> {
        if let Some(declaration) = &self.declaration {
            declaration.apply(channel, &self.queue).await?;
        }
        for binding in &self.bindings {
            binding.apply(channel, &self.queue).await?;
        }
        let what = || format!("cannot consume queue {}", self.queue);
        channel
            .basic_qos(self.prefetch, BasicQosOptions::default())
            .await
            .map_err(|error| fault(&what(), &error))?;
        channel
            .basic_consume(
                self.queue.clone(),
                self.consumer_tag.clone(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| fault(&what(), &error))
    }
}

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn ends(&self) -> bool {
        false
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let name = format!("karez {}/{}", cx.pipeline, cx.source);
        let connection = client::connect(&self.uri, name, &*cx.clock).await?;
        let channel =
            connection.create_channel().await.map_err(|error| fault("cannot open a channel", &error))?;
        let consumer = self.consume(&channel).await?;
        Ok(Opened::Pull(Box::new(Consuming {
            lane: Lane::new(self.queue.as_str()),
            queue: self.queue.clone(),
            most: usize::from(self.prefetch).min(LARGEST_BATCH),
            reading: Reading { source: cx.source, decode: cx.decode },
            clock: cx.clock,
            session: Arc::new(Session::new(channel.clone())),
            failed: None,
            consumer,
            channel,
            connection,
        })))
    }
}

struct Consuming {
    queue: ShortString,
    lane: Lane,
    most: usize,
    reading: Reading,
    clock: Arc<dyn Clock>,
    session: Arc<Session>,
    /// An end that was seen behind messages; told at the next pull.
    failed: Option<Fault>,
    consumer: Consumer,
    channel: Channel,
    connection: Connection,
}

impl Consuming {
    fn arrived(&self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, Fault> {
        match next {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(fault("consuming ended", &error)),
            None => Err(Fault::service(format!(
                "the broker cancelled the consumer of queue {}: was it deleted?",
                self.lane.0
            ))
            .with_code("consumer_cancelled")),
        }
    }
}

impl Consuming {
    /// The next message. A consumer that is given nothing although messages are ready is one that the broker
    /// or the library has lost track of (seen after a broker was killed and started again): it is given up.
    async fn first(&mut self) -> Result<Delivery, Fault> {
        loop {
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                next = self.consumer.next() => return self.arrived(next),
                () = clock.sleep(SILENCE) => {}
            }
            let ready = tokio::select! {
                ready = self.ready() => ready?,
                () = clock.sleep(SILENCE) => return Err(Fault::connection("the broker does not answer").with_code("timeout")),
            };
            // It may have come while the broker was asked.
            if let Some(next) = self.consumer.next().now_or_never() {
                return self.arrived(next);
            }
            if ready > 0 && self.session.is_idle().await {
                let message = format!("queue {} holds {ready} messages and delivers none", self.lane.0);
                return Err(Fault::connection(message).with_code("stalled"));
            }
        }
    }

    /// How many messages wait in the queue for a consumer.
    async fn ready(&self) -> Result<u32, Fault> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(self.queue.clone(), options, FieldTable::default()).await;
        let what = || format!("cannot look at queue {}", self.queue);
        queue.map(|queue| queue.message_count()).map_err(|error| fault(&what(), &error))
    }
}

#[async_trait]
impl Source for Consuming {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        if let Some(fault) = self.failed.take() {
            return Err(fault);
        }
        let first = self.first().await?;
        let mut bytes = first.data.len();
        let mut deliveries = vec![first];
        while deliveries.len() < self.most && bytes < LARGEST_BATCH_BYTES {
            let Some(next) = self.consumer.next().now_or_never() else {
                break;
            };
            match self.arrived(next) {
                Ok(delivery) => {
                    bytes += delivery.data.len();
                    deliveries.push(delivery);
                }
                Err(fault) => {
                    self.failed = Some(fault);
                    break;
                }
            }
        }
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.delivery_tag).collect();
        self.session.delivered(&tags).await;
        let now = self.clock.now();
        Ok(Some(Batch {
            lane: self.lane.clone(),
            records: deliveries.into_iter().map(|delivery| self.reading.record(delivery, now)).collect(),
            positions: Positions::None,
            ack: Box::new(AmqpAck { session: Arc::clone(&self.session), tags }),
        }))
    }

    async fn quiesce(&mut self) -> Result<(), Fault> {
        self.channel
            .basic_cancel(self.consumer.tag(), BasicCancelOptions::default())
            .await
            .map_err(|error| fault("cannot cancel the consumer", &error))
    }

    async fn close(&mut self) -> Result<(), Fault> {
        if !self.connection.status().connected() {
            return Ok(());
        }
        // What is not acknowledged goes back to its queue with the connection.
        self.connection
            .close(200, "closed".into())
            .await
            .map_err(|error| fault("cannot close the connection", &error))
    }
}
