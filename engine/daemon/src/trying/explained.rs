//! What the sources of a pipeline would ask their API for; with a try, one page of it.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use karez_api::{Clock, Json, Lane, Millis, PipelinePlan, Position, SourceNode};
use karez_runtime::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Holder, asked, one_page};
use crate::cli::Usage;
use crate::console::say;
use crate::settings::Settings;

/// Times of a schedule that are told.
const TIMES: usize = 3;

/// What is to be told of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wish {
    /// Fetch one page.
    pub(crate) tries: bool,
    /// As if nothing had been read yet.
    pub(crate) fresh: bool,
    /// Only this source.
    pub(crate) source: Option<String>,
}

/// All that is told, and whether a try failed.
///
/// # Errors
/// There is no such source; positions cannot be read.
pub(crate) async fn explained(
    wish: &Wish,
    plan: &PipelinePlan,
    settings: &Settings,
    holder: &Holder,
) -> Result<(Json, bool)> {
    let (mut sources, mut failed) = (Vec::new(), false);
    for node in chosen_sources(plan, wish.source.as_deref())? {
        let known = known(wish, holder, plan, node).await?;
        let mut told = source(node, &known, SystemClock.now());
        if wish.tries {
            let tried = one_page::one_page(plan, node, known, settings, holder).await?;
            failed |= !tried["problem"].is_null();
            told["tried"] = tried;
        }
        sources.push(told);
    }
    Ok((json!({"pipeline": &*plan.name, "file": &*plan.file, "sources": sources}), failed))
}

fn chosen_sources<'a>(plan: &'a PipelinePlan, name: Option<&str>) -> Result<Vec<&'a SourceNode>> {
    let asked = asked(plan)?;
    let Some(name) = name else { return Ok(asked) };
    let found: Vec<&SourceNode> = asked.iter().copied().filter(|node| *node.name == *name).collect();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let names: Vec<&str> = asked.iter().map(|node| &*node.name).collect();
            let message = format!("{} has no source {name:?} that asks an API", plan.name);
            Err(Usage(crate::diagnostics::unknown(&message, name, &names)).into())
        }
    }
}

async fn known(
    wish: &Wish,
    holder: &Holder,
    plan: &PipelinePlan,
    node: &SourceNode,
) -> Result<BTreeMap<Lane, Position>> {
    match holder {
        _ if wish.fresh => Ok(BTreeMap::new()),
        Holder::Daemon(_) if wish.tries => {
            say("a daemon holds the saved positions: this begins as if nothing had been read");
            Ok(BTreeMap::new())
        }
        holder => holder.positions(plan, node).await,
    }
}

/// What a source says of itself, and when it runs.
fn source(node: &SourceNode, known: &BTreeMap<Lane, Position>, now: Millis) -> Json {
    let mut told = node.plan.explain(known, now).unwrap_or_else(|| json!({"streams": []}));
    told["source"] = (*node.name).into();
    told["kind"] = node.kind.into();
    let next = |time: &Millis| node.timetable.as_ref()?.after(*time);
    let times = std::iter::successors(next(&now), next).take(TIMES);
    told["schedule"] = match &node.timetable {
        None => Json::Null,
        Some(_) => times.map(|time| Json::from(moment(time))).collect(),
    };
    told
}

fn moment(time: Millis) -> String {
    let time = i64::try_from(time.0).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    time.map_or_else(String::new, |time| time.to_string())
}
