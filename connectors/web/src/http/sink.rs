//! Delivers records: groups those with one target, sends, reads the answer, says what it means.
//! No retry and no timeout of its own beyond connecting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{Delivery, Fault, Outcome, Record, Sink, SinkContext};
use reqwest::{Client, Response, Url};
use sha2::{Digest, Sha256};

use super::body::{self, Framing};
use super::classify;
use super::spec::{HeaderText, Request};

/// Most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 << 10;
/// How long the rest of an answer is read for only so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest idempotency key that goes out as it is, in bytes.
const LONGEST_KEY: usize = 255;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) struct HttpSink {
    request: Arc<Request>,
    framing: Framing,
    client: Client,
    cx: SinkContext,
}

/// A record made ready.
struct Prepared {
    index: usize,
    url: Url,
    headers: HeaderMap,
    part: Bytes,
    key: String,
}

impl HttpSink {
    pub(super) fn new(request: Arc<Request>, framing: Framing, client: Client, cx: SinkContext) -> Self {
        Self { request, framing, client, cx }
    }

    fn prepare(&self, index: usize, record: &Record) -> Result<Prepared, Fault> {
        let mut headers = HeaderMap::new();
        for header in &self.request.headers {
            let value = match &header.value {
                HeaderText::Fixed(value) => value.clone(),
                HeaderText::PerRecord(text) => HeaderValue::from_str(&text.eval(record)?).map_err(|_| {
                    Fault::validation(
                        "bad_header",
                        format!("header {} cannot be sent with this record's value", header.name),
                    )
                })?,
            };
            headers.insert(header.name.clone(), value);
        }
        Ok(Prepared {
            index,
            url: self.request.target.of(record)?,
            headers,
            part: self.request.payload.of(record)?,
            key: self.cx.idempotency_key(record),
        })
    }

    /// Records that share a request, in the order of their first ones. Those of one order key are never in one batch,
    /// so one that goes out before its neighbours overtakes nothing.
    fn groups(&self, ready: Vec<Prepared>) -> Vec<Vec<Prepared>> {
        let mut groups: Vec<Vec<Prepared>> = Vec::new();
        let mut by_url: HashMap<Url, Vec<usize>> = HashMap::new();
        for prepared in ready {
            let known = by_url.entry(prepared.url.clone()).or_default();
            let same = |at: &&usize| groups[**at][0].headers == prepared.headers;
            match known.iter().find(same).filter(|_| self.framing != Framing::One) {
                Some(at) => groups[*at].push(prepared),
                None => {
                    known.push(groups.len());
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
            let (outcome, content) = self.request(first, group).await;
            if content && group.len() > 1 {
                let (left, right) = group.split_at(group.len() / 2);
                waiting.extend([right, left]);
                continue;
            }
            for prepared in group {
                each[prepared.index] = Some(outcome.clone());
            }
            // It was not about these records: the next request would fare no better.
            if let Outcome::NotSent(fault) = outcome {
                return Some(fault);
            }
        }
        None
    }

    /// One request; also whether it was refused for what it carried.
    async fn request(&self, first: &Prepared, group: &[Prepared]) -> (Outcome, bool) {
        let parts: Vec<&Bytes> = group.iter().map(|prepared| &prepared.part).collect();
        let mut headers = first.headers.clone();
        if let Some(media_type) = self.request.payload.content_type() {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
        }
        if let Ok(key) = HeaderValue::from_str(&idempotency_key(group)) {
            headers.entry(IDEMPOTENCY_KEY).or_insert(key);
        }
        let to = classify::place(&self.request.method, &first.url);
        let request = self
            .client
            .request(self.request.method.clone(), first.url.clone())
            .headers(headers)
            .body(body::join(self.framing, &parts));
        match request.send().await {
            Ok(response) => {
                let content = is_about_content(response.status());
                (self.answered(&to, response).await, content)
            }
            Err(error) => (classify::failure(&to, error), false),
        }
    }

    async fn answered(&self, to: &str, mut response: Response) -> Outcome {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let tells_its_end = tells_its_end(response.version(), &headers);
        let mut body = Vec::new();
        // The status has decided already: a body that never ends changes nothing.
        let read = tokio::select! {
            read = read(response, &mut body) => read,
            () = self.cx.clock.sleep(DRAIN) => Ok(()),
        };
        match classify::answer(to, status, &headers, &body, self.cx.clock.now()) {
            Outcome::Done => match read {
                Err(error) if tells_its_end => classify::failure(to, error),
                _ => Outcome::Done,
            },
            outcome => outcome,
        }
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

/// Whether an answer that broke off can be told from a whole one (RFC 9112 §8): not where its end is
/// the end of its connection, which many servers do not close in the way that TLS asks for.
fn tells_its_end(version: Version, headers: &HeaderMap) -> bool {
    version > Version::HTTP_11
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Reads an answer up to its limit; a connection read to the end is used again.
///
/// # Errors
/// The answer broke off.
async fn read(mut response: Response, body: &mut Vec<u8>) -> reqwest::Result<()> {
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_LIMIT - body.len())]);
        if body.len() == ANSWER_LIMIT {
            break;
        }
    }
    Ok(())
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
