use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use karez_api::{Accepted, Body, Fate, Form, Millis, Problem, Record, RecordId, RequestHead, Response};
use serde_json::json;

use super::*;
use crate::testing::{Engine, TestVault, open_webhook_at, source};
use crate::webhook::Webhook;
use crate::webhook::verify::Verifier;

mod beyond;
mod certified;
mod handshakes;
mod pending;
mod signed;
mod signing;
mod vectors;

/// A request of a provider.
#[derive(Clone, Default)]
struct Sent {
    method: Option<String>,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

/// What came of it.
struct Outcome {
    response: Response,
    record: Option<Record>,
    refused: Vec<&'static str>,
    answered: Vec<&'static str>,
}

impl Sent {
    /// As the listener does: the head first, then the whole.
    async fn to(&self, settings: Json, now: Millis) -> Result<Outcome, Vec<Problem>> {
        self.with(&Arc::default(), settings, now).await
    }

    /// The same, with a vault that was there before.
    async fn with(
        &self,
        vault: &Arc<TestVault>,
        settings: Json,
        now: Millis,
    ) -> Result<Outcome, Vec<Problem>> {
        let plan = source::<Webhook>(settings)?;
        let engine = Arc::new(Engine { vault: Arc::clone(vault), ..Engine::default() });
        let is_text =
            |value: &str| value.starts_with("text/plain") || value.contains("x-www-form-urlencoded");
        let text = self.headers.iter().any(|(_, value)| is_text(value));
        let decode = if text { Decode::Text } else { plan.default_decode() };
        let (_, endpoint) = open_webhook_at(&*plan, &engine, decode, now).await;
        let stored = Accepted::Stored { id: RecordId::text("x"), fate: Fate::Accepted };
        engine.verdicts.lock().unwrap().push_back(stored);
        let response = match endpoint.admit(&self.head()) {
            Ok(()) => endpoint.call(self.head(), Bytes::from(self.body.clone())).await,
            Err(response) => response,
        };
        let mut incoming = engine.incoming.lock().unwrap();
        Ok(Outcome {
            response,
            record: incoming.pop().map(|incoming| incoming.record),
            refused: engine.refused.lock().unwrap().clone(),
            answered: engine.answered.lock().unwrap().clone(),
        })
    }

    fn head(&self) -> RequestHead {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::builder()
            .method(self.method.as_deref().unwrap_or("POST"))
            .uri(format!("/webhooks/orders{query}"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        RequestHead { parts, peer: ([127, 0, 0, 1], 1).into(), certificate: None }
    }
}

#[test]
fn every_file_of_the_catalogue_reads_and_says_what_is_needed() {
    let mut found = Vec::new();
    for file in FILES.files() {
        let name = file.path().file_stem().unwrap().to_str().unwrap();
        let read = Provider::read("x", file.contents_utf8().unwrap());
        let provider = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(provider.docs().starts_with("https://") && !provider.title().is_empty(), "{name}");
        assert!(provider.dedup_window() >= Duration::from_secs(3 * 86_400), "{name}");
        assert!(provider.note().is_none_or(|note| note.ends_with('.')), "{name}");
        assert!(provider.deadline().is_none_or(|deadline| deadline >= Duration::from_secs(1)), "{name}");
        found.push(name);
    }
    found.sort_unstable();
    assert_eq!(found, names());
}
