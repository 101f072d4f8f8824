//! One request from its head to its answer. Decoding, splitting, dedup and the journal are the
//! engine's, behind `Intake`; the limits on time, size and compression are the ingress's.

use std::sync::Arc;

use ::http::{HeaderMap, StatusCode, header};
use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{
    Accepted, Body, Clock, Decode, Endpoint, Fault, Form, Incoming, Intake, Meta, Millis, Record, RecordId,
    RequestHead, Response, SourceContext,
};
use tracing::warn;
use uuid::{NoContext, Timestamp, Uuid};

use super::answer::{self, Refusal};
use super::fetch::Fetcher;
use super::hand_over::HandOver;
use super::handshake::Answered;
use super::identity::{Events, Taken, record_id};
use super::keys::Keys;
use super::limits::Gate;
use super::provider::Provider;
use super::verify::{Denied, Known, Request, Verified};
use super::watch::Watch;
use super::{Parts, headers};

pub(super) struct Webhooks {
    parts: Arc<Parts>,
    wanted: Arc<Events>,
    source: Arc<str>,
    decode: Decode,
    gate: Gate,
    clock: Arc<dyn Clock>,
    intake: Arc<dyn Intake>,
    watch: Watch,
    outside: Option<Outside>,
    hand_over: Option<HandOver>,
}

/// What is needed of the network before there is an answer.
struct Outside {
    fetcher: Arc<Fetcher>,
    keys: Arc<Keys>,
}

/// A request that is let in.
enum Admitted {
    Delivery(Verified),
    /// It is answered here.
    Handshake(Box<Answered>),
}

impl Webhooks {
    /// # Errors
    /// Class fatal: what is asked of the network or of the vault cannot be set up.
    pub(super) fn new(parts: Arc<Parts>, cx: &SourceContext) -> Result<Self, Fault> {
        let outside = match parts.verifier.fetches() || parts.handshakes.visit() {
            true => Some(Outside::new(&parts, cx)?),
            false => None,
        };
        let hand_over = parts.pending.as_ref().map(|name| HandOver::new(name, &cx.shared)).transpose()?;
        Ok(Self {
            wanted: Arc::new(Events(Arc::clone(&parts))),
            gate: Gate::new(Arc::clone(&parts.limits), Arc::clone(&cx.clock)),
            parts,
            source: Arc::clone(&cx.source),
            decode: cx.decode,
            clock: Arc::clone(&cx.clock),
            intake: Arc::clone(&cx.intake),
            watch: Watch::new(cx.clock.instant()),
            outside,
            hand_over,
        })
    }

    /// Whoever may be answered without proof is judged once the body is there.
    fn judge_head(&self, head: &RequestHead) -> Result<(), Refusal> {
        self.gate.pass(head.peer.ip()).map_err(|why| answer::turned(&why))?;
        let request = Request::head(&head.parts, self.clock.now()).of_client(head.certificate.as_ref());
        match self.parts.handshakes.may_be_unverified(&request) {
            true => encoding(request.headers),
            false => self.judge(&request),
        }
    }

    fn judge(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if !self.parts.methods.contains(request.method) && !self.parts.handshakes.may_be_verified(request) {
            return Err(answer::method_not_allowed(&self.parts.methods));
        }
        self.parts.verifier.head(request)?;
        encoding(request.headers)?;
        let provider = self.parts.provider;
        media_type(request.headers, |given| {
            fits(given, self.decode) || provider.is_some_and(|provider| provider.sends_as(given))
        })
    }

    /// Who is let in. Judged again once a key is there that the verdict lacked.
    async fn admitted(&self, head: &RequestHead, body: &Body) -> Result<Admitted, Refusal> {
        let request =
            || Request::whole(&head.parts, body, self.clock.now()).of_client(head.certificate.as_ref());
        let judged = |known: &Known| self.judged(&request(), known);
        let unavailable = || answer::unavailable("keys", "the sender's keys cannot be fetched at the moment");
        let Some(Outside { keys, .. }) = &self.outside else {
            return judged(&Known::default()).map_err(|denied| denied.refusal(unavailable));
        };
        keys.refresh();
        let known = keys.known();
        match judged(&known) {
            Err(Denied::Missing(missing)) => {
                let known = keys.with(*missing, Arc::clone(&known)).await.map_err(|_| unavailable())?;
                judged(&known).map_err(|denied| denied.refusal(unavailable))
            }
            verdict => verdict.map_err(|denied| denied.refusal(unavailable)),
        }
    }

    fn judged(&self, request: &Request<'_>, known: &Known) -> Result<Admitted, Denied> {
        let handshakes = &self.parts.handshakes;
        if handshakes.is_empty() {
            return self.parts.verifier.verify(request, known).map(Admitted::Delivery);
        }
        if let Some(answered) = handshakes.before(request) {
            return Ok(Admitted::Handshake(answered?.into()));
        }
        self.judge(request)?;
        let verified = self.parts.verifier.verify(request, known)?;
        if let Some(answered) = handshakes.after(request) {
            return Ok(Admitted::Handshake(answered?.into()));
        }
        match self.parts.methods.contains(request.method) {
            true => Ok(Admitted::Delivery(verified)),
            false => Err(answer::method_not_allowed(&self.parts.methods).into()),
        }
    }

    /// What was asked for is done before it is answered.
    async fn answered(&self, answered: Answered) -> Result<Response, Refusal> {
        if let Some(says) = answered.warning {
            warn!(source = %self.source, says, "a provider asked for attention");
        }
        if let (Some(url), Some(outside)) = (answered.visit, &self.outside) {
            let address = url.host_str().unwrap_or_default().to_owned();
            if let Err(error) = outside.fetcher.get(url).await {
                warn!(source = %self.source, %error, %address, "a handshake cannot be confirmed");
                return Err(answer::unavailable(
                    "handshake",
                    "the handshake cannot be confirmed at the moment",
                ));
            }
        }
        if let (Some(secret), Some(hand_over)) = (&answered.secret, &self.hand_over) {
            hand_over.take(secret).await?;
        }
        self.intake.answered("handshake");
        Ok(answered.response)
    }

    /// A verified request as a record. It is parsed where a setting asks for something in its body, and then not again.
    fn incoming(&self, headers: HeaderMap, body: Body, verified: Verified) -> Result<Incoming, Refusal> {
        let mut meta = Meta::new(RecordId::text(""), Arc::clone(&self.source), self.clock.now());
        meta.headers = headers::kept(headers, self.parts.verifier.secret_header());
        let record = Record::new(body, meta);
        let looked_into = self.looked_into(&record);
        let take = |taken: &Option<Taken>, reason| match taken {
            Some(taken) => taken
                .of(&record.meta().headers, looked_into)
                .map_err(|fault| answer::bad_request(reason, fault.message())),
            None => Ok(None),
        };
        let event_type = take(&self.parts.event_type, "event_type")?;
        let delivery_id = take(&self.parts.delivery_id, "delivery_id")?;
        let attempt = self.parts.provider.and_then(|provider| {
            provider.attempt(&record.meta().headers, looked_into.and_then(|record| record.body().tree().ok()))
        });
        let id = match delivery_id.is_some() || self.parts.hashes {
            true => record_id(&self.source, delivery_id.as_deref(), record.body().bytes()),
            false => fresh_id(record.meta().received_at),
        };
        let record = record.with_meta(|meta| {
            meta.id = id;
            meta.event_type = event_type.map(Arc::from);
            meta.delivery_id = delivery_id.map(Arc::from);
            meta.attempt = attempt;
            meta.signature = Some(verified).filter(|verified| *verified != Verified::default());
        });
        Ok(Incoming { record, wanted: Arc::clone(&self.wanted) as _, wait: self.parts.respond.wait })
    }

    /// The record, where a setting asks for something in its body. Without a tree there is nothing to find:
    /// the engine refuses such a body, and says where it is wrong.
    fn looked_into<'r>(&self, record: &'r Record) -> Option<&'r Record> {
        let looks = |taken: &Option<Taken>| taken.as_ref().is_some_and(Taken::looks_into_the_body);
        let counts = self.parts.provider.is_some_and(Provider::counts_in_the_body);
        let wanted = counts || looks(&self.parts.event_type) || looks(&self.parts.delivery_id);
        (wanted && record.body().tree().is_ok()).then_some(record)
    }

    fn look_into(&self, refusal: &Refusal, parts: &::http::request::Parts, body: Option<&Bytes>) {
        let known = || self.outside.as_ref().map(|outside| outside.keys.known()).unwrap_or_default();
        let case = &self.parts.case;
        if let Some(diagnosis) = self.watch.look_into(case, refusal, (parts, body), known, &*self.clock) {
            self.intake.diagnosed(diagnosis);
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        self.intake.refused(refusal.reason);
        *refusal.response
    }
}

impl Outside {
    fn new(parts: &Parts, cx: &SourceContext) -> Result<Self, Fault> {
        let fetcher = Arc::new(Fetcher::new(&cx.shared)?);
        let (clock, tasks) = (Arc::clone(&cx.clock), Arc::clone(&cx.tasks));
        let keys = Keys::new(Arc::clone(&fetcher), clock, tasks, parts.verifier.set());
        let keys = Arc::new(keys);
        // So that the first request need not wait for them.
        keys.refresh();
        Ok(Self { fetcher, keys })
    }
}

#[async_trait]
impl Endpoint for Webhooks {
    fn admit(&self, head: &RequestHead) -> Result<(), Response> {
        self.judge_head(head).map_err(|refusal| {
            self.look_into(&refusal, &head.parts, None);
            self.refuse(refusal)
        })
    }

    fn max_body(&self) -> usize {
        self.parts.max_body
    }

    async fn call(&self, head: RequestHead, body: Bytes) -> Response {
        let begun = self.clock.instant();
        match self.admit_and_accept(head, body).await {
            Ok(answer) => {
                self.intake.took(self.clock.instant().saturating_duration_since(begun));
                answer
            }
            Err(refusal) => self.refuse(refusal),
        }
    }
}

impl Webhooks {
    async fn admit_and_accept(&self, head: RequestHead, body: Bytes) -> Result<Response, Refusal> {
        // The rest of the head was judged when it was admitted.
        let body = Body::from_bytes(form(&head.parts.headers, self.decode), body);
        let incoming = match self.admitted(&head, &body).await {
            Ok(Admitted::Delivery(verified)) => {
                if self.parts.verifier.proves() {
                    self.intake.verified(&verified);
                }
                self.incoming(head.parts.headers, body, verified)?
            }
            Ok(Admitted::Handshake(answered)) => return self.answered(*answered).await,
            Err(refusal) => {
                self.look_into(&refusal, &head.parts, Some(body.bytes()));
                drop(body);
                if let (StatusCode::UNAUTHORIZED, Some(wait)) = (refusal.response.status(), self.gate.brake())
                {
                    self.clock.sleep(wait).await;
                }
                return Err(refusal);
            }
        };
        let accepted = self.intake.accept(incoming).await;
        if let Accepted::Undecodable(_) = accepted {
            self.intake.refused("undecodable");
        }
        Ok(answer::accepted(&accepted, &self.parts.respond))
    }
}

/// A new id that sorts by time (RFC 9562 §5.7), by the engine's clock.
fn fresh_id(now: Millis) -> RecordId {
    let nanos = u32::try_from(now.0 % 1_000).unwrap_or(0) * 1_000_000;
    let timestamp = Timestamp::from_unix(NoContext, now.0 / 1_000, nanos);
    RecordId::text(Uuid::new_v7(timestamp).to_string())
}

/// Bodies are verified as they were sent; a compressed one would have to be opened first.
fn encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    match plain {
        true => Ok(()),
        false => Err(answer::unsupported(
            "content_encoding",
            "content-encoding is not supported; send the body as it is",
        )),
    }
}

fn media_type(headers: &HeaderMap, fits: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    match headers.get_all(header::CONTENT_TYPE).iter().count() {
        0 => return Ok(()),
        1 => {}
        _ => return Err(answer::unsupported("media_type", "content-type stands twice")),
    }
    match fits(&self::headers::media_type(headers).unwrap_or_default()) {
        true => Ok(()),
        false => Err(answer::unsupported("media_type", "content-type does not fit; send application/json")),
    }
}

/// Who sends forms may send JSON as well, and says so.
fn form(headers: &HeaderMap, decode: Decode) -> Form {
    let says_json = || self::headers::media_type(headers).is_some_and(|given| is_json(&given));
    match decode {
        Decode::Form if says_json() => Form::Json,
        decode => decode.form(),
    }
}

fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

fn fits(essence: &str, decode: Decode) -> bool {
    let json = is_json(essence);
    match decode {
        Decode::Json => json,
        Decode::Text => {
            json || essence.starts_with("text/")
                || essence.ends_with("+xml")
                || matches!(essence, "application/xml" | self::headers::FORM | "application/x-ndjson")
        }
        Decode::Form => json || essence == self::headers::FORM,
        Decode::Bytes => true,
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
