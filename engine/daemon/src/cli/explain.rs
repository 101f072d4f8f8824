//! `karez explain`: what a source would ask its API for, without asking; with `--try`, one page of it.

mod page;
mod trying;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use karez_api::{Clock, Json, Lane, Millis, PipelinePlan, Position, SourceNode};
use karez_runtime::SystemClock;
use karez_store::Keys;
use serde_json::json;

use super::polling::{Holder, asked, chosen};
use super::{Exit, Usage};
use crate::console::{self, Format, say};
use crate::diagnostics::printable;
use crate::secrets;
use crate::settings::Settings;

/// Times of a schedule that are told.
const TIMES: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Name of the pipeline
    pipeline: String,
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    /// Fetch one page and show what was sent, what came back and which position would be saved; nothing is saved
    #[arg(long = "try")]
    tries: bool,
    /// As if nothing had been read yet
    #[arg(long)]
    fresh: bool,
    /// Only this source, where there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn perform(explain: Explain, settings: Settings) -> Result<Exit> {
    // Names of secrets are asked of the store before we open it ourselves.
    let named = match explain.tries {
        true => None,
        false => Some(chosen(super::load(&settings)?, &explain.pipeline)?),
    };
    let keys = match explain.tries {
        true => secrets::read_all(&settings).await?,
        false => Keys::default(),
    };
    let holder = Holder::find(&settings, keys).await?;
    let told = tell(&explain, &settings, &holder, named).await;
    holder.close().await?;
    let (told, failed) = told?;
    match explain.format {
        Format::Json => console::json(&told)?,
        Format::Text => {
            for line in page::lines(&told) {
                console::line(&printable(&line))?;
            }
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Fine })
}

/// All that is told, and whether a try failed.
async fn tell(
    explain: &Explain,
    settings: &Settings,
    holder: &Holder,
    named: Option<PipelinePlan>,
) -> Result<(Json, bool)> {
    let plan = match named {
        Some(plan) => plan,
        None => holder.plan(&explain.pipeline, settings).await?,
    };
    let (mut sources, mut failed) = (Vec::new(), false);
    for node in chosen_sources(&plan, explain.source.as_deref())? {
        let known = known(explain, holder, &plan, node).await?;
        let mut told = source(node, &known, SystemClock.now());
        if explain.tries {
            let tried = trying::one_page(&plan, node, known, settings, holder).await?;
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
    explain: &Explain,
    holder: &Holder,
    plan: &PipelinePlan,
    node: &SourceNode,
) -> Result<BTreeMap<Lane, Position>> {
    match holder {
        _ if explain.fresh => Ok(BTreeMap::new()),
        Holder::Daemon(_) if explain.tries => {
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
