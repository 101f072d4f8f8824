//! The `amqp` sink: what its settings say, and its one connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{
    Checker, Class, Delivery, Encode, Escape, Fault, Outcome, Path, Problem, Record, Secret, Shape, Sink,
    SinkContext, SinkPlan, SinkSpec, Text, constant,
};
use lapin::options::ConfirmSelectOptions;
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::client::{self, fault};
use crate::declare::{Declaration, Declare};
use crate::publish::Publishing;

const LARGEST_BATCH: usize = 256;

/// Publishes records, each confirmed by the broker.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmqpSink {
    /// `amqp://user:password@host:5672/%2f`, or `amqps://` for TLS; `%2f` is the default virtual host.
    url: Secret,
    /// The exchange to publish to; it must exist. Default: the default exchange, which routes to the queue named by `routing_key`.
    exchange: Option<String>,
    /// The routing key, like `{{region}}`.
    #[schemars(extend("x-karez-kind" = "text"))]
    routing_key: Option<String>,
    /// In place of `exchange` and `routing_key`: the queue to publish to.
    queue: Option<String>,
    /// Declares `queue` at start.
    declare: Option<Declare>,
    /// A message that no queue takes counts as failed. Default: true.
    #[serde(default = "yes")]
    mandatory: bool,
    /// Messages outlive a restart of the broker. Default: true.
    #[serde(default = "yes")]
    persistent: bool,
    /// Default: by `encode`, `application/json`.
    content_type: Option<String>,
    /// Headers of each message.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "text"))]
    headers: BTreeMap<String, String>,
    /// The message's `type`, which many consumers read as the event type.
    #[serde(rename = "type")]
    #[schemars(extend("x-karez-kind" = "text"))]
    kind: Option<String>,
}

fn yes() -> bool {
    true
}

impl SinkSpec for AmqpSink {
    const NAME: &'static str = "amqp";
    const SUMMARY: &'static str =
        "Publishes to an AMQP 0-9-1 exchange or queue (RabbitMQ), confirmed message by message.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let root = Path::root();
        let uri = client::checked_url(cx, &self.url);
        let (exchange, routing_key, queue) = self.checked_target(cx)?;
        let headers: Vec<_> = self
            .headers
            .iter()
            .filter_map(|(name, setting)| {
                let at = root.field("headers").field(name);
                Some((client::name(cx, &at, name)?, cx.text(&at, setting, Escape::None)?))
            })
            .collect();
        if headers.len() < self.headers.len() {
            return None;
        }
        let kind = match &self.kind {
            Some(setting) => Some(cx.text(&root.field("type"), setting, Escape::None)?),
            None => None,
        };
        let content_type = match (&self.content_type, cx.encode) {
            (Some(own), _) => own.as_str(),
            (None, Encode::Json | Encode::Ndjson) => "application/json",
            (None, Encode::Text) => "text/plain",
        };
        let content_type = client::name(cx, &root.field("content_type"), content_type)?;
        let declaration = match self.declare {
            Some(declare) => Some(declare.check(cx)?),
            None => None,
        };
        let publishing = Publishing {
            exchange,
            routing_key,
            headers,
            kind,
            content_type,
            mandatory: self.mandatory,
            delivery_mode: if self.persistent { 2 } else { 1 },
            encode: cx.encode,
        };
        let declared = declaration.zip(queue);
        Some(Box::new(Plan(Arc::new(Parts { uri: uri?, declared, publishing }))))
    }
}

impl AmqpSink {
    /// Exchange, routing key, and the queue where one is named.
    fn checked_target(&self, cx: &Checker<'_>) -> Option<(ShortString, Text, Option<ShortString>)> {
        let root = Path::root();
        match (&self.queue, &self.exchange, &self.routing_key) {
            (Some(queue), None, None) if !queue.is_empty() => {
                let name = client::name(cx, &root.field("queue"), queue)?;
                Some((ShortString::default(), constant(queue.clone()), Some(name)))
            }
            (None, exchange, Some(key)) if self.declare.is_none() => {
                let exchange =
                    client::name(cx, &root.field("exchange"), exchange.as_deref().unwrap_or_default())?;
                Some((exchange, cx.text(&root.field("routing_key"), key, Escape::None)?, None))
            }
            (None, _, Some(_)) => {
                cx.report(Problem::error(
                    "bad-declare",
                    root.field("declare"),
                    "`declare` needs `queue`: only a queue is declared",
                ));
                None
            }
            _ => {
                cx.report(
                    Problem::error("bad-target", root, "an amqp sink needs to know where to publish")
                        .help("set routing_key (with exchange, or to name a queue), or queue alone"),
                );
                None
            }
        }
    }
}

struct Parts {
    uri: AMQPUri,
    declared: Option<(Declaration, ShortString)>,
    publishing: Publishing,
}

struct Plan(Arc<Parts>);

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, _: bool) -> Shape {
        Shape::Batch { atomic: false, max: LARGEST_BATCH }
    }
    /// Connects once, so that what the file can be blamed for shows at load; a broker that cannot
    /// be reached now is met again at the first delivery.
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        let sink = Publisher { parts: Arc::clone(&self.0), live: Mutex::new(None), cx };
        match sink.channel().await {
            Ok(channel) => sink.give_back(channel).await,
            Err(fault) if fault.class() == Class::Validation => return Err(fault),
            Err(_) => {}
        }
        Ok(Box::new(sink))
    }
}

/// A connection and its channels that are not in use.
struct Live {
    connection: Connection,
    idle: Vec<Channel>,
}

struct Publisher {
    parts: Arc<Parts>,
    live: Mutex<Option<Live>>,
    cx: SinkContext,
}

impl Publisher {
    /// A channel of its own for one delivery: confirms and returns of two deliveries never mix,
    /// and a channel of a delivery that was dropped is not used again.
    async fn channel(&self) -> Result<Channel, Fault> {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| !live.connection.status().connected()) {
            *live = None;
        }
        if live.is_none() {
            let name = format!("karez {}/{}", self.cx.pipeline, self.cx.sink);
            let connection = client::connect(&self.parts.uri, name, &*self.cx.clock).await?;
            if let Some((declaration, queue)) = &self.parts.declared {
                declaration.apply(&open_channel(&connection).await?, queue).await?;
            }
            *live = Some(Live { connection, idle: Vec::new() });
        }
        let Some(live) = live.as_mut() else {
            return Err(Fault::connection("not connected"));
        };
        while let Some(channel) = live.idle.pop() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = open_channel(&live.connection).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| fault("cannot ask for confirms", &error))?;
        Ok(channel)
    }

    async fn give_back(&self, channel: Channel) {
        if let Some(live) = self.live.lock().await.as_mut()
            && channel.status().connected()
        {
            live.idle.push(channel);
        }
    }
}

async fn open_channel(connection: &Connection) -> Result<Channel, Fault> {
    connection.create_channel().await.map_err(|error| fault("cannot open a channel", &error))
}

/// Met at a delivery, a refused declaration is not the fault of the records that wait for it.
fn not_the_records(fault: Fault) -> Fault {
    match fault.class() {
        Class::Validation => Fault::service(fault.message()).with_code(fault.code().to_owned()),
        _ => fault,
    }
}

#[async_trait]
impl Sink for Publisher {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(fault) => return Delivery::all(records, &Outcome::NotSent(not_the_records(fault))),
        };
        let each = self.parts.publishing.deliver(&channel, &self.cx, records).await;
        self.give_back(channel).await;
        Delivery { each, mark: None }
    }

    async fn close(&self) -> Result<(), Fault> {
        match self.live.lock().await.take() {
            Some(live) if live.connection.status().connected() => live
                .connection
                .close(200, "closed".into())
                .await
                .map_err(|error| fault("cannot close the connection", &error)),
            _ => Ok(()),
        }
    }
}
