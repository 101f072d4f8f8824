//! `/api/v1/secrets` and `/api/v1/master-key`: what is stored, by name; storing, removing, changing the master key. No
//! answer holds a value, and no key comes by this way: the daemon reads its file itself.

use std::path::PathBuf;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use karez_api::{Expect, Json, Secret, StoreError, Vault, secret_item};
use karez_store::{EncryptedVault, LARGEST_SECRET, Listed, Rotated};
use serde::de::DeserializeOwned;
use serde_json::json;
use zeroize::Zeroizing;

use super::Admin;
use super::api::{failed, missing, ok, pass};
use super::handler::whole;
use crate::fleet::Fleet;
use crate::reload::Pass;
use crate::secrets;
use crate::server::{Payload, error};

/// The largest body of a request, in bytes: a value of which each byte is an escape of JSON.
const MAX_BODY: usize = LARGEST_SECRET * 6 + 1024;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    value: Secret,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// Absolute. Absent: the key that encrypts already.
    file: Option<PathBuf>,
}

pub(super) async fn list(fleet: &Fleet) -> Response<Payload> {
    match secrets::list(fleet.memory.vault()).await {
        Ok(listed) => ok(&json!({"secrets": listed.iter().map(shown).collect::<Vec<_>>()})),
        Err(fault) => refused(&fault),
    }
}

/// As the command line shows it, too.
pub(crate) fn shown(Listed { name, changed, key }: &Listed) -> Json {
    json!({"name": name, "changed": changed.0, "key": key.to_string()})
}

pub(super) async fn set(admin: &Admin, name: &str, body: Incoming) -> Response<Payload> {
    let item = match secret_item(name) {
        Ok(item) => item,
        Err(what) => return bad(&what),
    };
    let Value { value } = match asked(body).await {
        Ok(value) => value,
        Err(what) => return bad(&what),
    };
    if value.expose().is_empty() {
        return bad("a secret has at least one character");
    }
    match admin.fleet.memory.vault().put(&item, value, Expect::Anything).await {
        Ok(_) => followed(admin, json!({"stored": name})).await,
        Err(fault) => refused(&fault),
    }
}

pub(super) async fn remove(admin: &Admin, name: &str) -> Response<Payload> {
    let vault = admin.fleet.memory.vault();
    let Ok(item) = secret_item(name) else { return none(name) };
    let removed = async {
        let is_there = is_stored(vault, &item).await?;
        vault.remove(&item).await.map(|()| is_there)
    };
    match removed.await {
        Ok(true) => followed(admin, json!({"removed": name})).await,
        Ok(false) => none(name),
        Err(fault) => refused(&fault),
    }
}

/// Whether there is a secret of exactly this name in the vault. Needs no key.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn is_stored(vault: &EncryptedVault, item: &str) -> Result<bool, StoreError> {
    Ok(vault.names(item).await?.iter().any(|name| name == item))
}

/// The answer, once the pipelines that use the secret follow it.
async fn followed(admin: &Admin, mut answer: Json) -> Response<Payload> {
    match pass(admin, Pass::Changes).await {
        Some(Ok(report)) => {
            answer["reloaded"] = json!(report.reloaded);
            answer["started"] = json!(report.started);
            answer["failed"] = json!(report.failed);
            answer["problems"] = json!(report.problems);
        }
        Some(Err(why)) => answer["not_reloaded"] = json!(why),
        None => answer["not_reloaded"] = json!("the daemon is stopping"),
    }
    ok(&answer)
}

pub(super) async fn rotate(fleet: &Fleet, body: Incoming) -> Response<Payload> {
    let NewKey { file } = match asked(body).await {
        Ok(asked) => asked,
        Err(what) => return bad(&what),
    };
    match secrets::rotate(fleet.memory.vault(), file.as_deref()).await {
        Ok(rotated) => ok(&tell(rotated)),
        Err(fault) => whole(error(StatusCode::CONFLICT, "master_key", &format!("{fault:#}"))),
    }
}

/// As the command line shows it, too.
pub(crate) fn tell(Rotated { key, rewrapped }: Rotated) -> Json {
    json!({"key": key.to_string(), "rewrapped": rewrapped})
}

async fn asked<T: DeserializeOwned>(body: Incoming) -> Result<T, String> {
    let body = Zeroizing::new(Vec::from(super::asked::body(body, MAX_BODY).await?));
    // What serde says may show a part of the text, so only the place is told.
    serde_json::from_slice(&body).map_err(|fault| {
        format!("the body is not what is expected, at line {} column {}", fault.line(), fault.column())
    })
}

fn bad(what: &str) -> Response<Payload> {
    whole(error(StatusCode::BAD_REQUEST, "body", what))
}

fn none(name: &str) -> Response<Payload> {
    missing(&format!("no secret is called {name:?}"))
}

fn refused(fault: &StoreError) -> Response<Payload> {
    match fault {
        StoreError::Refused(what) => whole(error(StatusCode::CONFLICT, "vault", what)),
        fault => failed(&fault.to_string()),
    }
}
