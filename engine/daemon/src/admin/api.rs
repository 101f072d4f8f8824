//! `/api/v1`: what the command line shows and does.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use karez_api::Json;
use karez_runtime::{ReplayTo, Tap};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::Admin;
use super::handler::whole;
use crate::fleet::{Fleet, Running};
use crate::server::{Payload, error, json_of, read};

/// The largest body of a request, in bytes: an edited record.
const MAX_BODY: usize = 8 << 20;
/// Dead letters in one answer, at most.
const PAGE: usize = 1_000;

pub(super) async fn answer(admin: &Admin, head: &Parts, path: &str, body: Incoming) -> Response<Payload> {
    let parts: Vec<&str> = path.split('/').collect();
    let fleet = &admin.fleet;
    let get = matches!(head.method, Method::GET | Method::HEAD);
    match (&head.method, parts.as_slice()) {
        (_, ["status"]) if get => ok(&status(fleet)),
        (_, ["pipelines"]) if get => ok(&json!({"pipelines": pipelines(fleet)})),
        (_, ["pipelines", name]) if get => with_pipeline(fleet, name, pipeline),
        (_, ["pipelines", name, "nodes"]) if get => {
            with_pipeline(fleet, name, |running| json!({"nodes": pipeline(running).get("nodes").cloned()}))
        }
        (_, ["problems"]) if get => {
            ok(&json!({"problems": *fleet.problems(), "failures": *fleet.failures()}))
        }
        (_, ["dead-letters"]) if get => list_letters(fleet, head.uri.query().unwrap_or_default()).await,
        (_, ["dead-letters", id]) if get => letter(fleet, id).await,
        (&Method::DELETE, ["dead-letters", id]) => drop_letter(fleet, id).await,
        (&Method::POST, ["dead-letters", id, "replay"]) => replay(fleet, id, body).await,
        (&Method::POST, ["reload"]) => reload(admin).await,
        (_, ["tap", node]) if get => tap(fleet, node),
        _ => whole(error(StatusCode::NOT_FOUND, "not_found", "no such resource, or not with this method")),
    }
}

fn ok(value: &Json) -> Response<Payload> {
    whole(json_of(StatusCode::OK, value))
}

fn missing(message: &str) -> Response<Payload> {
    whole(error(StatusCode::NOT_FOUND, "not_found", message))
}

fn failed(message: &str) -> Response<Payload> {
    whole(error(StatusCode::INTERNAL_SERVER_ERROR, "failed", message))
}

fn status(fleet: &Fleet) -> Json {
    let (letters, bytes) = fleet.letters.totals();
    let (done, failed) = fleet.reloads();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "not_ready": fleet.not_ready(),
        "pipelines": pipelines(fleet),
        "problems": *fleet.problems(),
        "failures": *fleet.failures(),
        "orphaned": orphaned(fleet),
        "dead_letters": {"count": letters, "bytes": bytes},
        "reloads": {"ok": done, "failed": failed},
    })
}

/// Journals with unsettled entries and no pipeline.
pub(super) fn orphaned(fleet: &Fleet) -> Vec<Json> {
    let running = fleet.pipelines();
    let streams = fleet.events.streams().into_iter().filter(|stream| !running.contains_key(&stream.pipeline));
    streams
        .map(|stream| (fleet.events.stats(&stream), stream))
        .filter(|(stats, _)| stats.unsettled > 0)
        .map(|(stats, stream)| json!({"stream": stream.to_string(), "unsettled": stats.unsettled}))
        .collect()
}

fn pipelines(fleet: &Fleet) -> Vec<Json> {
    fleet.pipelines().values().map(pipeline).collect()
}

/// The status of a pipeline as the runtime tells it, with what the loader knows.
fn pipeline(running: &Running) -> Json {
    let mut status = serde_json::to_value(running.pipeline.status()).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        fields.insert("summary".into(), json!(running.summary));
    }
    status
}

fn with_pipeline(fleet: &Fleet, name: &str, show: impl FnOnce(&Running) -> Json) -> Response<Payload> {
    match fleet.pipelines().get(name) {
        Some(running) => ok(&show(running)),
        None => missing("no pipeline of that name is running"),
    }
}

/// One parameter of a query; names and ids need no decoding beyond `%40`.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

async fn list_letters(fleet: &Fleet, query: &str) -> Response<Payload> {
    let limit = parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(100).min(PAGE);
    let after = parameter(query, "after").map(decoded);
    match fleet.letters.list(parameter(query, "pipeline"), after.as_deref(), limit).await {
        Ok(letters) => ok(&json!({"dead_letters": letters})),
        Err(fault) => failed(&fault.to_string()),
    }
}

fn decoded(id: &str) -> String {
    id.replace("%40", "@")
}

async fn letter(fleet: &Fleet, id: &str) -> Response<Payload> {
    match fleet.letters.get(&decoded(id)).await {
        Ok(Some(letter)) => ok(&json!(letter)),
        Ok(None) => missing("no dead letter of that id"),
        Err(fault) => failed(&fault.to_string()),
    }
}

async fn drop_letter(fleet: &Fleet, id: &str) -> Response<Payload> {
    match fleet.letters.remove(&decoded(id)).await {
        Ok(true) => ok(&json!({"dropped": decoded(id)})),
        Ok(false) => missing("no dead letter of that id"),
        Err(fault) => failed(&fault.to_string()),
    }
}

/// What a replay is asked with: `{"to": "original" | "source" | NODE, "body": "…"}`, both may be absent.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    to: Option<String>,
    /// The record's body in place of the one that failed.
    body: Option<String>,
}

async fn replay(fleet: &Fleet, id: &str, body: Incoming) -> Response<Payload> {
    let Ok(body) = read(body, MAX_BODY).await else {
        return whole(error(StatusCode::BAD_REQUEST, "body", "the body is too large or broke off"));
    };
    let asked: Replay = match body.trim_ascii() {
        [] => Replay::default(),
        text => match serde_json::from_slice(text) {
            Ok(asked) => asked,
            Err(fault) => return whole(error(StatusCode::BAD_REQUEST, "body", &fault.to_string())),
        },
    };
    let mut letter = match fleet.letters.get(&decoded(id)).await {
        Ok(Some(letter)) => letter,
        Ok(None) => return missing("no dead letter of that id"),
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
    let Some(running) = fleet.pipelines().get(letter.pipeline.as_str()).cloned() else {
        return whole(error(StatusCode::CONFLICT, "not_running", "its pipeline is not running"));
    };
    match running.pipeline.replay(letter, to).await {
        Ok(()) => ok(&json!({"replayed": decoded(id)})),
        Err(fault) => whole(error(StatusCode::CONFLICT, fault.code(), fault.message())),
    }
}

async fn reload(admin: &Admin) -> Response<Payload> {
    let (tell, told) = oneshot::channel();
    if admin.reload.send(tell).await.is_err() {
        return whole(error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping"));
    }
    match told.await {
        Ok(Ok(report)) => ok(&json!(report)),
        Ok(Err(fault)) => failed(&fault),
        Err(_) => whole(error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping")),
    }
}

/// Live records as NDJSON, until the watcher or the pipeline leaves.
fn tap(fleet: &Fleet, target: &str) -> Response<Payload> {
    let (name, node) = target.split_once('.').map_or((target, None), |(name, node)| (name, Some(node)));
    let Some(running) = fleet.pipelines().get(name).cloned() else {
        return missing("no pipeline of that name is running");
    };
    match running.pipeline.tap(node) {
        Ok(tap) => {
            let mut response = Response::new(Payload::stream(|to| forward(tap, to)));
            let kind = http::HeaderValue::from_static("application/x-ndjson");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        Err(unknown) => missing(&unknown.to_string()),
    }
}

async fn forward(mut tap: Tap, to: mpsc::Sender<Bytes>) {
    while let Some(mut line) = tap.next().await.and_then(|record| serde_json::to_vec(&record).ok()) {
        line.push(b'\n');
        if to.send(line.into()).await.is_err() {
            return;
        }
    }
}
