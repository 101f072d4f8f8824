//! Trying an API over the API: the daemon has the secrets and the log-ins.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use karez_api::PipelinePlan;
use serde_json::json;

use super::Admin;
use super::api::{failed, ok};
use super::asked::asked as wished;
use super::handler::whole;
use crate::cli::Usage;
use crate::server::{Payload, error};
use crate::trying::{Holder, Recording, Wish, asked, explained, recorded};

/// Most bytes of a request.
const MAX_BODY: usize = 16 << 10;

/// What a pipeline's sources would ask for, and one page where that is wished.
pub(super) async fn explain(admin: &Admin, name: &str, body: Incoming) -> Response<Payload> {
    let wish: Wish = match wished(body, MAX_BODY).await {
        Ok(wish) => wish,
        Err(fault) => return whole(error(StatusCode::BAD_REQUEST, "body", &fault)),
    };
    let holder = Holder::Lent(admin.fleet.memory.clone());
    let told = match holder.plan(name, &admin.settings).await {
        Ok(plan) => explained(&wish, &plan, &admin.settings, &holder).await,
        Err(fault) => Err(fault),
    };
    match told {
        Ok((told, failed)) => ok(&json!({"told": told, "failed": failed})),
        Err(fault) => wrong(&fault),
    }
}

/// The file of a pipeline that can be recorded.
pub(super) async fn about(admin: &Admin, name: &str) -> Response<Payload> {
    match plan(admin, name).await {
        Ok((_, plan)) => ok(&json!({"file": &*plan.file})),
        Err(fault) => wrong(&fault),
    }
}

pub(super) async fn record(admin: &Admin, name: &str, body: Incoming) -> Response<Payload> {
    let recording: Recording = match wished(body, MAX_BODY).await {
        Ok(recording) => recording,
        Err(fault) => return whole(error(StatusCode::BAD_REQUEST, "body", &fault)),
    };
    // All of it is held until it is told.
    let Ok(_turn) = admin.recordings.try_acquire() else {
        return whole(error(StatusCode::CONFLICT, "busy", "another recording is going on"));
    };
    match plan(admin, name).await {
        Ok((holder, plan)) => {
            let (fixture, problem) = recorded(&recording, &plan, &admin.settings, &holder).await;
            ok(&json!({"fixture": fixture, "problem": problem.map(|fault| fault.to_string())}))
        }
        Err(fault) => wrong(&fault),
    }
}

/// Whoever asked for what there is not is told so.
fn wrong(fault: &anyhow::Error) -> Response<Payload> {
    match fault.is::<Usage>() {
        true => whole(error(StatusCode::NOT_FOUND, "usage", &fault.to_string())),
        false => failed(&format!("{fault:#}")),
    }
}

/// A pipeline that asks an API.
async fn plan(admin: &Admin, name: &str) -> anyhow::Result<(Holder, PipelinePlan)> {
    let holder = Holder::Lent(admin.fleet.memory.clone());
    let plan = holder.plan(name, &admin.settings).await?;
    asked(&plan)?;
    Ok((holder, plan))
}
