//! One page of a source, fetched for real: what was sent, what came back, what would be saved. Nothing is saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use karez_api::{Clock, Fault, Json, JsonMap, Lane, NoRuns, PipelinePlan, Position, SourceNode};
use karez_connectors::net::wire::{Exchange, Recorder, Wire};
use karez_connectors::net::{Connections, Options, REDACTED};
use karez_runtime::{Alone, Company, SystemClock, Taken};
use serde_json::json;

use super::Holder;
use crate::settings::Settings;

/// Characters of a body that are shown.
const EXCERPT: usize = 500;
/// Records that are shown.
const SHOWN: usize = 3;
/// Requests that a first page may take: those for its parents, or to have a report made.
const MOST: usize = 1_000;

/// # Errors
/// The process cannot make connections.
pub(super) async fn one_page(
    plan: &PipelinePlan,
    node: &SourceNode,
    known: BTreeMap<Lane, Position>,
    settings: &Settings,
    holder: &Holder,
) -> Result<Json> {
    let recorder = Arc::new(Recorder::new(Some(1), holder.hidden().await));
    let wire = Wire::Recorded(Arc::clone(&recorder));
    let options = Options { allow_private: settings.allow_private.clone(), wire };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shared = holder.shared(Arc::clone(&clock), options);
    let connections = shared.get::<Connections>();
    let company = Company { clock, shared, runs: Arc::new(NoRuns), once: true };
    let first = match Alone::open(&plan.name, node, known, company).await {
        Ok(mut source) => {
            let first = first(&mut source, &recorder).await;
            source.close().await;
            first
        }
        Err(fault) => Err(fault),
    };
    if let Some(connections) = connections {
        connections.close().await;
    }
    let mut told = match first {
        Ok(Some(taken)) => page(&taken),
        Ok(None) => json!({"records": 0, "first": [], "position": null}),
        Err(fault) => json!({"problem": fault.to_string()}),
    };
    told["exchanges"] = recorder.exchanges().iter().map(exchange).collect();
    Ok(told)
}

/// The first batch with records, with no more requests than it takes; else the last position.
async fn first(source: &mut Alone, recorder: &Recorder) -> Result<Option<Taken>, Fault> {
    let mut asked = 1;
    let mut last = None;
    loop {
        let taken = tokio::select! {
            biased;
            taken = source.next() => taken?,
            // A page is handed over before the next one is asked for.
            () = recorder.full(), if asked < MOST => {
                asked += 1;
                recorder.allow_one();
                continue;
            }
        };
        match taken {
            Some(taken) if taken.records.is_empty() => last = Some(taken),
            Some(taken) => return Ok(Some(taken)),
            None => return Ok(last),
        }
    }
}

fn page(taken: &Taken) -> Json {
    let body = |record: &karez_api::Record| record.body().tree().cloned().unwrap_or_default();
    let position = taken.position().and_then(|position| serde_json::from_slice(&position.0).ok());
    json!({
        "lane": &*taken.lane.0,
        "records": taken.records.len(),
        "first": taken.records.iter().take(SHOWN).map(body).collect::<Vec<_>>(),
        "position": position.map(without_tokens),
    })
}

/// Tokens of pages may be credentials.
fn without_tokens(position: Json) -> Json {
    match position {
        Json::Object(fields) => {
            let told = |(name, value): (String, Json)| match name.as_str() {
                "token" if !value.is_null() => (name, REDACTED.into()),
                _ => (name, without_tokens(value)),
            };
            fields.into_iter().map(told).collect::<JsonMap>().into()
        }
        Json::Array(items) => items.into_iter().map(without_tokens).collect(),
        other => other,
    }
}

fn exchange(exchange: &Exchange) -> Json {
    let excerpt = |text: String| text.chars().take(EXCERPT).collect::<String>();
    json!({
        "method": exchange.method,
        "target": exchange.target,
        "request": exchange.request.as_ref().map(|sent| excerpt(sent.text())),
        "status": exchange.status,
        "headers": exchange.headers,
        "body": exchange.answer.as_ref().map(|answer| excerpt(answer.text())).unwrap_or_default(),
    })
}
