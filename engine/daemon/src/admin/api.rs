//! `/api/v1`: what the command line shows and does.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use karez_api::Json;
use karez_runtime::Tap;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::address::decoded;
use super::handler::whole;
use super::{Admin, ReloadRequest, Request, connections, letters, log_ins, rewind, secrets, status, trying};
use crate::diagnostics::unknown;
use crate::fleet::Fleet;
use crate::reload::{Pass, Report};
use crate::server::{Payload, error, json_of};

pub(super) async fn answer(admin: &Admin, head: &Parts, path: &str, body: Incoming) -> Response<Payload> {
    let parts: Vec<String> = path.split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let fleet = &admin.fleet;
    let get = matches!(head.method, Method::GET | Method::HEAD);
    match (&head.method, parts.as_slice()) {
        (_, ["status"]) if get => ok(&status::whole(fleet)),
        (_, ["pipelines"]) if get => ok(&json!({"pipelines": status::pipelines(fleet)})),
        (_, ["pipelines", name]) if get => one(fleet, name, |pipeline| pipeline),
        (_, ["pipelines", name, "nodes"]) if get => {
            one(fleet, name, |pipeline| json!({"nodes": pipeline["nodes"]}))
        }
        (&Method::DELETE, ["pipelines", name, "state"]) => forget(fleet, name).await,
        (&Method::POST, ["pipelines", name, "unblock"]) => unblock(fleet, name).await,
        (_, ["pipelines", name, "positions"]) if get => rewind::positions(fleet, name).await,
        (&Method::POST, ["pipelines", name, "rewind"]) => rewind::rewind(admin, name, body).await,
        (&Method::POST, ["pipelines", name, "explain"]) => trying::explain(admin, name, body).await,
        (_, ["pipelines", name, "recording"]) if get => trying::about(admin, name).await,
        (&Method::POST, ["pipelines", name, "recording"]) => trying::record(admin, name, body).await,
        (_, ["problems"]) if get => {
            ok(&json!({"problems": *fleet.problems(), "failures": *fleet.failures()}))
        }
        (_, ["dead-letters"]) if get => letters::list(fleet, head.uri.query().unwrap_or_default()).await,
        (_, ["dead-letters", id]) if get => letters::show(fleet, id).await,
        (&Method::DELETE, ["dead-letters", id]) => letters::remove(fleet, id).await,
        (&Method::POST, ["dead-letters", id, "replay"]) => letters::replay(fleet, id, body).await,
        (_, ["connections"]) if get => connections::list(fleet),
        (_, ["connections", name]) if get => connections::one(fleet, name),
        (&Method::POST, ["connections", name, "test"]) => connections::test(fleet, name).await,
        (&Method::POST, ["connections", name, "log-in"]) => {
            log_ins::begin(admin, name, head.uri.query().unwrap_or_default()).await
        }
        (&Method::DELETE, ["connections", name, "log-in"]) => log_ins::end(fleet, name).await,
        (_, ["oauth", ..]) => log_ins::passed_on(admin, head, path).await,
        (&Method::POST, ["reload"]) => reload(admin).await,
        (_, ["secrets"]) if get => secrets::list(fleet).await,
        (&Method::POST, ["secrets", name]) => secrets::set(admin, name, body).await,
        (&Method::DELETE, ["secrets", name]) => secrets::remove(admin, name).await,
        (&Method::POST, ["master-key"]) => secrets::rotate(fleet, body).await,
        (_, ["tap", node]) if get => tap(fleet, node),
        _ => whole(error(StatusCode::NOT_FOUND, "not_found", "no such resource, or not with this method")),
    }
}

pub(super) fn ok(value: &Json) -> Response<Payload> {
    whole(json_of(StatusCode::OK, value))
}

pub(super) fn missing(message: &str) -> Response<Payload> {
    whole(error(StatusCode::NOT_FOUND, "not_found", message))
}

pub(super) fn failed(message: &str) -> Response<Payload> {
    whole(error(StatusCode::INTERNAL_SERVER_ERROR, "failed", message))
}

pub(super) fn no_pipeline(fleet: &Fleet, name: &str) -> Response<Payload> {
    let running = fleet.pipelines();
    let names: Vec<&str> = running.keys().map(|name| &**name).collect();
    missing(&unknown(&format!("no pipeline {name:?} is running"), name, &names))
}

fn one(fleet: &Fleet, name: &str, show: impl FnOnce(Json) -> Json) -> Response<Payload> {
    match fleet.pipelines().get(name) {
        Some(running) => ok(&show(status::pipeline(running, &running.pipeline.status()))),
        None => no_pipeline(fleet, name),
    }
}

/// Removes what is kept of a pipeline that no longer exists.
async fn forget(fleet: &Fleet, name: &str) -> Response<Payload> {
    if fleet.owns(name) {
        let message = "a pipeline file defines it: remove the file first, and let it drain";
        return whole(error(StatusCode::CONFLICT, "defined", message));
    }
    match fleet.memory.forget(name, &fleet.letters).await {
        Ok(forgotten) => ok(&json!(forgotten)),
        Err(fault) => failed(&fault.to_string()),
    }
}

/// Lets records go on that wait for an operator.
async fn unblock(fleet: &Fleet, name: &str) -> Response<Payload> {
    let Some(running) = fleet.pipelines().get(name).cloned() else {
        return no_pipeline(fleet, name);
    };
    running.pipeline.unblock().await;
    ok(&json!({"unblocked": name}))
}

async fn reload(admin: &Admin) -> Response<Payload> {
    match pass(admin, Pass::Everything).await {
        Some(Ok(report)) => ok(&json!(report)),
        Some(Err(fault)) => failed(&fault),
        None => whole(error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping")),
    }
}

/// Has the files looked at again; nothing where the daemon is stopping.
pub(super) async fn pass(admin: &Admin, pass: Pass) -> Option<Result<Report, String>> {
    let (tell, told) = oneshot::channel();
    admin.manager.send(Request::Reload(ReloadRequest { pass, tell })).await.ok()?;
    told.await.ok()
}

/// Live records as NDJSON, until the watcher or the pipeline leaves.
fn tap(fleet: &Fleet, target: &str) -> Response<Payload> {
    let (name, node) = target.split_once('.').map_or((target, None), |(name, node)| (name, Some(node)));
    let Some(running) = fleet.pipelines().get(name).cloned() else {
        return no_pipeline(fleet, name);
    };
    match running.pipeline.tap(node) {
        Ok(tap) => {
            let mut response = Response::new(Payload::stream(|to| forward(tap, to)));
            let kind = http::HeaderValue::from_static("application/x-ndjson");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        Err(fault) => {
            let status = running.pipeline.status();
            let nodes: Vec<&str> = status.nodes.iter().map(|node| &*node.name).collect();
            missing(&unknown(&fault.to_string(), node.unwrap_or_default(), &nodes))
        }
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
