//! Queues that a pipeline declares for itself.

use std::collections::BTreeMap;

use karez_api::{Checker, Fault, Json, Path, Problem};
use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::client;

/// How a queue is declared; one that exists must have been declared in the same way.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declare {
    /// It outlives a restart of the broker. Default: true.
    #[serde(default = "yes")]
    durable: bool,
    /// Only this connection may use it; it ends with the connection. Default: false.
    #[serde(default)]
    exclusive: bool,
    /// It is deleted when its last consumer goes. Default: false.
    #[serde(default)]
    auto_delete: bool,
    /// Arguments of the broker, like `x-queue-type: quorum`: text, whole numbers and booleans.
    #[serde(default)]
    arguments: BTreeMap<String, Json>,
}

/// A binding of the source's queue to an exchange that exists.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bind {
    exchange: String,
    /// Default: empty, as fanout exchanges want it.
    #[serde(default)]
    routing_key: String,
}

fn yes() -> bool {
    true
}

/// A checked declaration.
pub(crate) struct Declaration {
    options: QueueDeclareOptions,
    arguments: FieldTable,
}

impl Declare {
    pub(crate) fn check(self, cx: &Checker<'_>) -> Option<Declaration> {
        let at = Path::root().field("declare").field("arguments");
        let mut arguments = FieldTable::default();
        for (key, value) in &self.arguments {
            let at = at.field(key);
            let value = match value {
                Json::Bool(flag) => AMQPValue::Boolean(*flag),
                Json::String(text) => AMQPValue::LongString(text.as_str().into()),
                Json::Number(number) if number.is_i64() => AMQPValue::LongLongInt(number.as_i64()?),
                _ => {
                    cx.report(Problem::error(
                        "bad-argument",
                        at,
                        "an argument is text, a whole number or a boolean",
                    ));
                    return None;
                }
            };
            arguments.insert(client::name(cx, &at, key)?, value);
        }
        let options = QueueDeclareOptions {
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            ..Default::default()
        };
        Some(Declaration { options, arguments })
    }
}

impl Declaration {
    /// # Errors
    /// Class validation where the queue exists with other properties.
    pub(crate) async fn apply(&self, channel: &Channel, queue: &ShortString) -> Result<(), Fault> {
        channel
            .queue_declare(queue.clone(), self.options, self.arguments.clone())
            .await
            .map(drop)
            .map_err(|error| client::refused(&format!("cannot declare queue {queue}"), &error))
    }
}

pub(crate) struct Binding {
    exchange: ShortString,
    routing_key: ShortString,
}

impl Bind {
    pub(crate) fn check(&self, cx: &Checker<'_>, at: &Path) -> Option<Binding> {
        let exchange = client::name(cx, &at.field("exchange"), &self.exchange)?;
        let routing_key = client::name(cx, &at.field("routing_key"), &self.routing_key)?;
        Some(Binding { exchange, routing_key })
    }
}

impl Binding {
    /// # Errors
    /// Class service where the exchange does not exist: it may be declared later.
    pub(crate) async fn apply(&self, channel: &Channel, queue: &ShortString) -> Result<(), Fault> {
        channel
            .queue_bind(
                queue.clone(),
                self.exchange.clone(),
                self.routing_key.clone(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| {
                client::refused(&format!("cannot bind queue {queue} to exchange {}", self.exchange), &error)
            })
    }
}
