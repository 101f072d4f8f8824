//! `/api/v1/dead-letters`: list, show, replay, drop.

use std::time::Duration;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use karez_runtime::ReplayTo;
use serde_json::json;
use tokio::time::timeout;

use super::address::decoded;
use super::api::{failed, missing, ok};
use super::asked::asked;
use super::handler::whole;
use crate::fleet::Fleet;
use crate::server::{Payload, error, json_of};

/// The largest body of a request, in bytes: an edited record.
const MAX_BODY: usize = 8 << 20;
/// Dead letters in one answer, at most.
const PAGE: usize = 1_000;
/// How long an answer waits for what becomes of a replayed record.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn list(fleet: &Fleet, query: &str) -> Response<Payload> {
    let limit = parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(100).min(PAGE);
    let after = parameter(query, "after").map(decoded);
    let pipeline = parameter(query, "pipeline").map(decoded);
    match fleet.letters.list(pipeline.as_deref(), after.as_deref(), limit).await {
        Ok(letters) => ok(&json!({"dead_letters": letters})),
        Err(fault) => failed(&fault.to_string()),
    }
}

pub(super) async fn show(fleet: &Fleet, id: &str) -> Response<Payload> {
    match fleet.letters.get(id).await {
        Ok(Some(letter)) => ok(&letter.json()),
        Ok(None) => no_letter(id),
        Err(fault) => failed(&fault.to_string()),
    }
}

pub(super) async fn remove(fleet: &Fleet, id: &str) -> Response<Payload> {
    match fleet.letters.remove(id).await {
        Ok(true) => ok(&json!({"dropped": id})),
        Ok(false) => no_letter(id),
        Err(fault) => failed(&fault.to_string()),
    }
}

fn no_letter(id: &str) -> Response<Payload> {
    missing(&format!("there is no dead letter {id:?}"))
}

/// What a replay is asked with: `{"to": "original" | "source" | NODE, "body": "…"}`, both may be absent.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    to: Option<String>,
    /// The record's body in place of the one that failed.
    body: Option<String>,
}

/// Waits for what becomes of the record, but not for ever: a sink that is down may take days.
pub(super) async fn replay(fleet: &Fleet, id: &str, body: Incoming) -> Response<Payload> {
    let asked = match asked::<Replay>(body, MAX_BODY).await {
        Ok(asked) => asked,
        Err(fault) => return whole(error(StatusCode::BAD_REQUEST, "body", &fault)),
    };
    let mut letter = match fleet.letters.get(id).await {
        Ok(Some(letter)) => letter,
        Ok(None) => return no_letter(id),
        Err(fault) => return failed(&fault.to_string()),
    };
    let to = match asked.to.as_deref() {
        None | Some("original") => ReplayTo::Original,
        Some("source") => ReplayTo::Source,
        Some(node) => ReplayTo::Node(node.to_owned()),
    };
    if let Some(edited) = asked.body {
        let record = if matches!(to, ReplayTo::Source) { &mut letter.origin } else { &mut letter.record };
        (record.body, record.body_base64) = (Some(edited), None);
    }
    let Some(running) = fleet.pipelines().get(letter.head.pipeline.as_str()).cloned() else {
        return whole(error(StatusCode::CONFLICT, "not_running", "its pipeline is not running"));
    };
    match timeout(PATIENCE, running.pipeline.replay(letter, to)).await {
        Ok(Ok(())) => ok(&json!({"replayed": id})),
        Ok(Err(fault)) => whole(error(StatusCode::CONFLICT, fault.code(), fault.message())),
        // The letter goes once the record has come to its end; nobody has to wait for it.
        Err(_) => whole(json_of(StatusCode::ACCEPTED, &json!({"on_its_way": id}))),
    }
}

/// One parameter of a query, as it was sent.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}
