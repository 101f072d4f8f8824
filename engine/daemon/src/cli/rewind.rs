//! `karez rewind` and `karez positions`: by the daemon that holds the store, or in the store itself.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use http::Method;
use karez_api::{Fault, Json};
use karez_runtime::{Rewindable, Rewound, list_positions};
use karez_store::Keys;
use serde_json::json;

use super::{Exit, Usage};
use crate::admin::{Client, encoded, moment};
use crate::console::{self, Format, say};
use crate::diagnostics::{counted, printable};
use crate::load::Loader;
use crate::memory::Memory;
use crate::secrets::Nothing;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Rewind {
    /// Name of the pipeline
    pipeline: String,
    /// The source, where it has several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only this stream [default: all streams of the source]
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Read again from this time on, like 2026-01-31 or 2026-01-31T08:00:00Z [default: from the beginning]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<String>,
    /// Do it; without this, only what would be read again is told
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Positions {
    /// Name of the pipeline
    pipeline: String,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn perform(rewind: Rewind, settings: Settings) -> Result<Exit> {
    let Rewind { pipeline, source, stream, to, yes } = rewind;
    let asked = karez_runtime::Rewind { source, stream, to };
    let rewound = match Client::find(&settings).await? {
        Some(daemon) => by_daemon(&daemon, &pipeline, &asked, yes).await?,
        None => in_store(settings, &pipeline, &asked, yes).await?,
    };
    if !yes {
        return Err(Usage(format!(
            "{} would be read and delivered again; say --yes",
            what(&pipeline, &rewound)
        ))
        .into());
    }
    console::line(&format!("{} is read and delivered again", what(&pipeline, &rewound)))?;
    Ok(Exit::Fine)
}

async fn by_daemon(
    daemon: &Client,
    pipeline: &str,
    asked: &karez_runtime::Rewind,
    yes: bool,
) -> Result<Json> {
    let mut body = json!(asked);
    body["yes"] = yes.into();
    daemon.send(Method::POST, &format!("pipelines/{}/rewind", encoded(pipeline)), body.to_string()).await
}

async fn in_store(
    settings: Settings,
    pipeline: &str,
    asked: &karez_runtime::Rewind,
    yes: bool,
) -> Result<Json> {
    let mut loader = Loader::new(settings.pipelines.clone());
    let loaded = loader.load(&Nothing).ok();
    let plan = loaded.and_then(|loaded| loaded.pipelines.into_iter().find(|plan| *plan.name == *pipeline));
    let memory = Memory::new(super::store::open(&settings).await?, Keys::default());
    let rewound = async {
        let progress = memory.progress();
        let sources = match plan {
            Some(plan) => plan.sources.iter().map(Rewindable::of).collect(),
            // What no file defines has sources that have left something.
            None => left_behind(pipeline, &memory).await?,
        };
        if sources.is_empty() {
            return Err(anyhow!("no file defines {pipeline:?}, and nothing is kept of it"));
        }
        let rewound = match yes {
            true => asked.perform(pipeline, &sources, &**progress).await,
            false => asked.look(pipeline, &sources, &**progress).await,
        };
        rewound.map(|rewound: Rewound| json!(rewound)).map_err(|fault: Fault| anyhow!("{fault}"))
    };
    let rewound = rewound.await;
    memory.close().await?;
    rewound
}

async fn left_behind(pipeline: &str, memory: &Memory) -> Result<Vec<Rewindable>> {
    let mut names: Vec<String> =
        list_positions(pipeline, &**memory.progress()).await?.into_iter().map(|found| found.source).collect();
    names.dedup();
    Ok(names.into_iter().map(|name| Rewindable { name: Arc::from(name), polls: false }).collect())
}

/// What a rewind is about, as the beginning of a sentence.
fn what(pipeline: &str, rewound: &Json) -> String {
    let streams: Vec<&str> =
        rewound["streams"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let of = format!("{pipeline}.{}", rewound["source"].as_str().unwrap_or_default());
    let streams = if streams.is_empty() { String::new() } else { format!(" ({})", streams.join(", ")) };
    match rewound["to"].as_str() {
        Some(time) => format!("everything since {time} of {of}{streams}"),
        None => {
            let positions = counted(rewound["positions"].as_u64().unwrap_or_default(), "position");
            format!("everything of {of}{streams}, {positions} forgotten,")
        }
    }
}

pub(super) async fn positions(positions: Positions, settings: Settings) -> Result<Exit> {
    let Positions { pipeline, format } = positions;
    let found: Vec<Json> = match Client::find(&settings).await? {
        Some(daemon) => {
            let answer = daemon.get(&format!("pipelines/{}/positions", encoded(&pipeline))).await?;
            answer["positions"].as_array().cloned().unwrap_or_default()
        }
        None => {
            let store = super::store::open(&settings).await?;
            let found = list_positions(&pipeline, &*store.progress()).await;
            store.close().await?;
            found?.into_iter().map(|position| json!(position)).collect()
        }
    };
    if format == Format::Json {
        console::json(&found)?;
        return Ok(Exit::Fine);
    }
    for one in &found {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let position = one["position"].as_str().map_or_else(|| one["position"].to_string(), str::to_owned);
        console::line(&printable(&format!("{} {}  {position}", text("source"), text("lane"))))?;
    }
    say(&counted(found.len(), "position"));
    Ok(Exit::Fine)
}
