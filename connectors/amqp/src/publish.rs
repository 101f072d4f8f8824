//! One batch on one channel: everything is published, then every confirm is awaited.

use std::collections::HashMap;

use bytes::Bytes;
use karez_api::{Class, Encode, Fault, Form, Json, Outcome, Record, SinkContext, Text};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use sha2::{Digest, Sha256};

use crate::client::{SHORT, fault};

pub(crate) struct Publishing {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: Text,
    pub(crate) headers: Vec<(ShortString, Text)>,
    pub(crate) kind: Option<Text>,
    pub(crate) content_type: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) delivery_mode: u8,
    pub(crate) encode: Encode,
}

/// A record made ready.
struct Message {
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
    id: ShortString,
}

/// Where a message of a batch stands.
enum Sent {
    Waiting(PublisherConfirm, ShortString),
    Settled(Outcome),
}

impl Publishing {
    pub(crate) async fn deliver(
        &self,
        channel: &Channel,
        cx: &SinkContext,
        records: &[Record],
    ) -> Vec<Outcome> {
        let mut sent = Vec::with_capacity(records.len());
        let mut lost: Option<Fault> = None;
        for record in records {
            sent.push(match (self.message(cx, record), &lost) {
                (Err(fault), _) => Sent::Settled(Outcome::Refused(fault)),
                (Ok(_), Some(fault)) => Sent::Settled(Outcome::NotSent(fault.clone())),
                (Ok(message), None) => {
                    let sent = self.publish(channel, message).await;
                    if let Sent::Settled(Outcome::Unknown(fault)) = &sent {
                        lost = Some(fault.clone());
                    }
                    sent
                }
            });
        }
        confirmed(sent).await
    }

    async fn publish(&self, channel: &Channel, message: Message) -> Sent {
        let options = BasicPublishOptions { mandatory: self.mandatory, immediate: false };
        let published = channel
            .basic_publish(
                self.exchange.clone(),
                message.routing_key,
                options,
                &message.body,
                message.properties,
            )
            .await;
        match published {
            Ok(confirm) => Sent::Waiting(confirm, message.id),
            Err(error) => Sent::Settled(Outcome::Unknown(fault("cannot publish", &error))),
        }
    }

    fn message(&self, cx: &SinkContext, record: &Record) -> Result<Message, Fault> {
        let routing_key = short("routing_key", self.routing_key.eval(record)?)?;
        let id = message_id(&cx.idempotency_key(record));
        let mut properties = BasicProperties::default()
            .with_message_id(id.clone())
            .with_timestamp(cx.clock.now().0 / 1_000)
            .with_delivery_mode(self.delivery_mode)
            .with_content_type(self.content_type.clone());
        if let Some(kind) = &self.kind {
            properties = properties.with_type(short("type", kind.eval(record)?)?);
        }
        if !self.headers.is_empty() {
            let mut table = FieldTable::default();
            for (name, text) in &self.headers {
                table.insert(name.clone(), AMQPValue::LongString(text.eval(record)?.into()));
            }
            properties = properties.with_headers(table);
        }
        Ok(Message { routing_key, properties, body: body(self.encode, record)?, id })
    }
}

fn short(what: &str, text: String) -> Result<ShortString, Fault> {
    ShortString::try_new(text)
        .map_err(|_| Fault::validation("too_long", format!("{what} has more than {SHORT} bytes")))
}

/// The idempotency key, or a hash of one that is too long.
fn message_id(key: &str) -> ShortString {
    ShortString::try_new(key)
        .unwrap_or_else(|_| format!("sha256-{}", hex::encode(Sha256::digest(key))).into())
}

fn body(encode: Encode, record: &Record) -> Result<Bytes, Fault> {
    let body = record.body();
    let unfit = |error| Fault::validation("encode", error);
    match (encode, body.form()) {
        (Encode::Json, Form::Json) | (Encode::Text, Form::Text | Form::Urlencoded | Form::Opaque) => {
            Ok(body.bytes().clone())
        }
        (Encode::Json | Encode::Ndjson, _) => body.json_line().map_err(unfit),
        (Encode::Text, Form::Json) => match body.tree().map_err(unfit)? {
            Json::String(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            _ => Ok(body.bytes().clone()),
        },
    }
}

/// Awaits all confirms. lapin hands a returned message to whichever confirm comes next, so the
/// message's own id, not the confirm that carried it, says which record was returned.
async fn confirmed(sent: Vec<Sent>) -> Vec<Outcome> {
    let mut returned: HashMap<ShortString, String> = HashMap::new();
    let mut judged = Vec::with_capacity(sent.len());
    for sent in sent {
        let (confirm, id) = match sent {
            Sent::Settled(outcome) => {
                judged.push((outcome, None));
                continue;
            }
            Sent::Waiting(confirm, id) => (confirm, id),
        };
        let outcome = match confirm.await {
            Ok(Confirmation::Ack(message)) => {
                note(&mut returned, message);
                Outcome::Done
            }
            Ok(Confirmation::Nack(message)) => {
                note(&mut returned, message);
                Outcome::NotSent(Fault::service("the broker could not take the message").with_code("nack"))
            }
            Ok(Confirmation::NotRequested) => {
                Outcome::Unknown(Fault::service("the broker does not confirm messages"))
            }
            Err(error) => Outcome::Unknown(fault("publishing was not confirmed", &error)),
        };
        judged.push((outcome, Some(id)));
    }
    let closing = judged.iter().find_map(|(outcome, _)| closing(outcome));
    judged
        .into_iter()
        .map(|(outcome, id)| match id.and_then(|id| returned.get(&id)) {
            Some(reason) => Outcome::NotSent(Fault::service(reason).with_code("unroutable")),
            None => explained(outcome, closing.as_ref()),
        })
        .collect()
}

/// Why the broker closed the channel, where this outcome tells.
fn closing(outcome: &Outcome) -> Option<Fault> {
    match outcome {
        Outcome::Unknown(fault) if fault.code().starts_with("amqp_") => Some(fault.clone()),
        _ => None,
    }
}

/// On a closed channel a message fails as if the connection were lost; what the broker said stands for that.
fn explained(outcome: Outcome, closing: Option<&Fault>) -> Outcome {
    match (outcome, closing) {
        (Outcome::Unknown(fault), Some(closing)) if fault.class() == Class::Connection => {
            Outcome::Unknown(closing.clone())
        }
        (Outcome::NotSent(fault), Some(closing)) if fault.class() == Class::Connection => {
            Outcome::NotSent(closing.clone())
        }
        (outcome, _) => outcome,
    }
}

fn note(returned: &mut HashMap<ShortString, String>, message: Option<lapin::message::BasicReturnMessage>) {
    let Some(message) = message else { return };
    let reason = format!(
        "no queue takes messages of exchange {:?} with routing key {:?} ({})",
        message.exchange.as_str(),
        message.routing_key.as_str(),
        message.reply_text
    );
    if let Some(id) = message.properties.message_id() {
        returned.insert(id.clone(), reason);
    }
}
