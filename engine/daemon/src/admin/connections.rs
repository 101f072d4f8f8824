//! `/api/v1/connections`: how named connections are doing, and whether they work.

use std::sync::Arc;
use std::time::Instant;

use http::{Response, StatusCode};
use karez_api::{Fault, Json};
use karez_connectors::net::{Connection, ConnectionStatus, error_name};
use serde_json::json;

use super::api::{missing, ok};
use super::handler::whole;
use crate::diagnostics::unknown;
use crate::fleet::Fleet;
use crate::server::{Payload, error};

/// All connections: those that files define, whether anybody uses them or not, and those that components make for
/// addresses of their own.
pub(super) fn all(fleet: &Fleet) -> Vec<Json> {
    let live = fleet.connections.status();
    let defined = fleet.far_ends();
    let unused = defined.iter().filter(|(name, _)| live.iter().all(|status| status.name != **name));
    let unused = unused.map(|(name, checked)| {
        json!({"name": name, "provider": checked.spec().provider, "url": checked.spec().url, "used": false})
    });
    let mut all: Vec<Json> = live.iter().map(shown).chain(unused).collect();
    all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    all
}

fn shown(status: &ConnectionStatus) -> Json {
    let mut shown = json!(status);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("used".into(), true.into());
    }
    shown
}

pub(super) fn list(fleet: &Fleet) -> Response<Payload> {
    ok(&json!({"connections": all(fleet)}))
}

pub(super) fn one(fleet: &Fleet, name: &str) -> Response<Payload> {
    match all(fleet).into_iter().find(|connection| connection["name"] == name) {
        Some(found) => ok(&found),
        None => no_connection(fleet, name),
    }
}

/// Sends the connection's probe, and says what came of it.
pub(super) async fn test(fleet: &Fleet, name: &str) -> Response<Payload> {
    let opened = match fleet.far_ends().get(name) {
        Some(checked) => fleet.connections.open(checked),
        None => return no_connection(fleet, name),
    };
    let began = Instant::now();
    let tried = match opened {
        Ok(connection) => probe(&connection).await,
        Err(fault) => Err(Some(fault)),
    };
    match tried {
        Ok((request, status)) => ok(&json!({
            "works": true, "request": request, "status": status, "took_ms": began.elapsed().as_millis(),
        })),
        Err(Some(fault)) => ok(&json!({
            "works": false, "error": error_name(fault.class()), "message": fault.message(), "code": fault.code(),
        })),
        Err(None) => {
            let message =
                "it has no `probe`: say which request shows that it works, like `probe: {path: /me}`";
            whole(error(StatusCode::CONFLICT, "no_probe", message))
        }
    }
}

/// What was asked, and the status of the answer.
async fn probe(connection: &Arc<Connection>) -> Result<(String, u16), Option<Fault>> {
    let request = connection.probe()?.ok_or(None)?;
    let asked = karez_connectors::net::place(&request.method, &request.url);
    let answer = connection.call(request).await.map_err(|failure| failure.fault)?;
    Ok((asked, answer.status.as_u16()))
}

pub(super) fn no_connection(fleet: &Fleet, name: &str) -> Response<Payload> {
    let defined = fleet.far_ends();
    let names: Vec<&str> = defined.keys().map(String::as_str).collect();
    missing(&unknown(&format!("no connection is called {name:?}"), name, &names))
}
