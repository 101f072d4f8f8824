//! Positions over the API: where sources were left, and having records read again.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use karez_api::{Class, Fault};
use karez_runtime::{Rewind, list_positions};
use serde_json::json;
use tokio::sync::oneshot;

use super::api::{failed, no_pipeline, ok};
use super::asked::asked;
use super::handler::whole;
use super::{Admin, Request, RewindRequest};
use crate::fleet::Fleet;
use crate::server::{Payload, error};

/// Most bytes of a request.
const MAX_BODY: usize = 64 << 10;

/// Also of a pipeline that does not run.
pub(super) async fn positions(fleet: &Fleet, name: &str) -> Response<Payload> {
    match list_positions(name, &**fleet.memory.progress()).await {
        Ok(found) if found.is_empty() && !fleet.owns(name) => no_pipeline(fleet, name),
        Ok(found) => ok(&json!({"positions": found})),
        Err(fault) => failed(&fault.to_string()),
    }
}

/// What is to be read again, and whether to do it: without `yes`, it is only told what would be.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    source: Option<String>,
    stream: Option<String>,
    to: Option<String>,
    yes: bool,
}

async fn wished(body: Incoming) -> Result<(Rewind, bool), String> {
    let Asked { source, stream, to, yes } = asked(body, MAX_BODY).await?;
    let to = to.map(|time| moment(&time)).transpose()?;
    Ok((Rewind { source, stream, to }, yes))
}

pub(super) async fn rewind(admin: &Admin, name: &str, body: Incoming) -> Response<Payload> {
    let (rewind, yes) = match wished(body).await {
        Ok(asked) => asked,
        Err(fault) => return whole(error(StatusCode::BAD_REQUEST, "body", &fault)),
    };
    let Some(running) = admin.fleet.pipelines().get(name).cloned() else {
        return no_pipeline(&admin.fleet, name);
    };
    let rewound = if yes {
        let (tell, told) = oneshot::channel();
        let request = RewindRequest { pipeline: name.to_owned(), rewind, tell };
        // Without an answer the daemon is stopping.
        drop(admin.manager.send(Request::Rewind(request)).await);
        told.await.unwrap_or_else(|_| Err(Fault::service("the daemon is stopping").with_code("stopping")))
    } else {
        running.pipeline.look_back(&rewind).await
    };
    match rewound {
        Ok(rewound) => ok(&json!(rewound)),
        Err(fault) if fault.class() == Class::Validation => {
            whole(error(StatusCode::CONFLICT, fault.code(), fault.message()))
        }
        Err(fault) => whole(error(StatusCode::SERVICE_UNAVAILABLE, fault.code(), fault.message())),
    }
}

/// A time as RFC 3339 writes it; a day alone is its beginning in UTC.
///
/// # Errors
/// What was expected.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    let day = || format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
    let time = text.parse::<Timestamp>().ok().or_else(day);
    let wrong =
        || format!("{text:?} is no time; write one like 2026-01-31T08:00:00Z, or a day like 2026-01-31");
    time.map(|time| time.to_string()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_one_way() {
        assert_eq!(moment("2026-01-31T09:00:00+01:00").as_deref(), Ok("2026-01-31T08:00:00Z"));
        assert_eq!(moment("2026-01-31").as_deref(), Ok("2026-01-31T00:00:00Z"));
        assert!(moment("yesterday").is_err() && moment("2026-02-31").is_err());
    }
}
