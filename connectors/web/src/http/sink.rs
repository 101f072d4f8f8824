//! Delivers records: groups those with one target, sends, reads the answer, says what it means.
//! No retry of its own: the engine does that.

use std::collections::HashMap;
use std::sync::Arc;

use ::http::{HeaderValue, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{Delivery, Fault, Outcome, Record, Sink, SinkContext};
use karez_net::{Connection, Effect, Failure, Reuse, place};
use sha2::{Digest, Sha256};

use super::body::{self, Framing};
use super::request::Address;
use super::results::Word;
use super::spec::Sending;

/// Longest idempotency key that goes out as it is, in bytes.
const LONGEST_KEY: usize = 255;

pub(super) struct HttpSink {
    sending: Arc<Sending>,
    framing: Framing,
    connection: Arc<Connection>,
    cx: SinkContext,
}

/// A record made ready.
struct Prepared {
    index: usize,
    address: Address,
    part: Bytes,
    key: String,
}

impl HttpSink {
    pub(super) fn new(
        sending: Arc<Sending>,
        framing: Framing,
        connection: Arc<Connection>,
        cx: SinkContext,
    ) -> Self {
        Self { sending, framing, connection, cx }
    }

    fn prepare(&self, index: usize, record: &Record) -> Result<Prepared, Fault> {
        Ok(Prepared {
            index,
            address: self.sending.request.address(record)?,
            part: self.sending.request.payload.of(record)?,
            key: self.cx.idempotency_key(record),
        })
    }

    /// Records that share a request, in the order of their first ones. Those of one order key are never in one batch,
    /// so one that goes out before its neighbours overtakes nothing.
    fn groups(&self, ready: Vec<Prepared>) -> Vec<Vec<Prepared>> {
        if self.framing == Framing::One {
            return ready.into_iter().map(|prepared| vec![prepared]).collect();
        }
        let mut groups: Vec<Vec<Prepared>> = Vec::new();
        let mut by_address: HashMap<Address, usize> = HashMap::new();
        for prepared in ready {
            match by_address.get(&prepared.address) {
                Some(at) => groups[*at].push(prepared),
                None => {
                    by_address.insert(prepared.address.clone(), groups.len());
                    groups.push(vec![prepared]);
                }
            }
        }
        groups
    }

    /// Sends a group; where the far end refuses it for its content, its halves, so that one bad
    /// record does not take the others with it. Yields why nothing more can be sent now, if so.
    async fn send(&self, group: &[Prepared], each: &mut [Option<Outcome>]) -> Option<Fault> {
        let mut waiting = vec![group];
        while let Some(group) = waiting.pop() {
            let Some(first) = group.first() else { continue };
            match self.request(first, group).await {
                Answered::Each(outcomes) => {
                    for (prepared, outcome) in group.iter().zip(outcomes) {
                        each[prepared.index] = Some(outcome);
                    }
                }
                Answered::Content(_) if group.len() > 1 => {
                    let (left, right) = group.split_at(group.len() / 2);
                    waiting.extend([right, left]);
                }
                Answered::Content(outcome) | Answered::All(outcome) => {
                    for prepared in group {
                        each[prepared.index] = Some(outcome.clone());
                    }
                    // It was not about these records: the next request would fare no better.
                    if let Outcome::NotSent(fault) = outcome {
                        return Some(fault);
                    }
                }
            }
        }
        None
    }

    async fn request(&self, first: &Prepared, group: &[Prepared]) -> Answered {
        let parts: Vec<&Bytes> = group.iter().map(|prepared| &prepared.part).collect();
        let body = body::join(self.framing, &parts);
        let made = self.sending.request.made(&self.connection, &first.address, body, Reuse::Never);
        let mut request = match made.await {
            Ok(request) => request,
            Err(fault) if fault.class().is_transient() => return Answered::All(Outcome::NotSent(fault)),
            Err(fault) => return Answered::All(Outcome::Refused(fault)),
        };
        if let Ok(key) = HeaderValue::from_str(&idempotency_key(group)) {
            request.headers.entry(self.sending.idempotency.clone()).or_insert(key);
        }
        let to = place(&request.method, &request.url);
        match self.connection.call(request).await {
            Ok(answer) => match self.word(answer.status) {
                Some(word) => Answered::All(said(word, &to, answer.status)),
                None => self.results(&to, &answer.body, group.len()),
            },
            Err(failure) => self.failed(&to, failure),
        }
    }

    /// What the file says of a status.
    fn word(&self, status: StatusCode) -> Option<Word> {
        self.sending.on_status.iter().find(|(known, _)| *known == status).map(|(_, word)| *word)
    }

    fn results(&self, to: &str, body: &Bytes, n: usize) -> Answered {
        let Some(results) = self.sending.results.as_ref().filter(|_| self.cx.batched) else {
            return Answered::All(Outcome::Done);
        };
        match results.judge(to, body, n, self.cx.clock.now()) {
            Ok(each) => Answered::Each(each),
            Err(fault) => Answered::All(Outcome::Unknown(fault)),
        }
    }

    fn failed(&self, to: &str, failure: Failure) -> Answered {
        let Failure { fault, effect, response } = failure;
        let status = response.map(|response| response.status);
        if let Some((word, status)) = status.and_then(|status| Some((self.word(status)?, status))) {
            return Answered::All(said(word, to, status));
        }
        let outcome = match effect {
            _ if !fault.class().is_transient() => Outcome::Refused(fault),
            Effect::None => Outcome::NotSent(fault),
            Effect::Unknown => Outcome::Unknown(fault),
        };
        match status {
            Some(status) if is_about_content(status) => Answered::Content(outcome),
            _ => Answered::All(outcome),
        }
    }
}

/// What an answer says of a group.
enum Answered {
    /// The same of all.
    All(Outcome),
    /// The same of all, but for what it carried: fewer at once may fare better.
    Content(Outcome),
    Each(Vec<Outcome>),
}

fn said(word: Word, to: &str, status: StatusCode) -> Outcome {
    let message = format!("{to} answered {status}");
    let code = format!("http_{}", status.as_u16());
    match word {
        Word::Done => Outcome::Done,
        Word::Refuse => Outcome::Refused(Fault::validation(code, message)),
        Word::Retry => Outcome::Unknown(Fault::service(message).with_code(code)),
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        let mut each: Vec<Option<Outcome>> = vec![None; records.len()];
        let mut ready = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match self.prepare(index, record) {
                Ok(prepared) => ready.push(prepared),
                Err(fault) => each[index] = Some(Outcome::Refused(fault)),
            }
        }
        let mut stopped = None;
        for group in self.groups(ready) {
            stopped = self.send(&group, &mut each).await;
            if stopped.is_some() {
                break;
            }
        }
        let unsent =
            stopped.unwrap_or_else(|| Fault::connection("not sent: an earlier request of this batch failed"));
        let each = each
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| Outcome::NotSent(unsent.clone())))
            .collect();
        Delivery { each, mark: None }
    }
}

/// Statuses that speak of the body, so that another split of a batch may fare better.
fn is_about_content(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// The key of one record, or a hash over those of a group; printable, the same on every retry.
fn idempotency_key(group: &[Prepared]) -> String {
    if let [one] = group
        && one.key.len() <= LONGEST_KEY
        && one.key.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return one.key.clone();
    }
    let mut hash = Sha256::new();
    for prepared in group {
        hash.update(prepared.key.len().to_be_bytes());
        hash.update(prepared.key.as_bytes());
    }
    format!("sha256-{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
