//! `karez explain`: what a source would ask its API for, without asking; with `--try`, one page of it.

mod page;

use std::path::PathBuf;

use anyhow::Result;
use http::Method;
use karez_api::Json;
use karez_store::Keys;
use serde_json::json;

use super::Exit;
use crate::admin::{Client, encoded};
use crate::console::{self, Format};
use crate::diagnostics::printable;
use crate::secrets;
use crate::settings::Settings;
use crate::trying::{Holder, Wish, chosen, explained};

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
    let (told, failed) = told(&explain, &settings).await?;
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
async fn told(explain: &Explain, settings: &Settings) -> Result<(Json, bool)> {
    let Explain { tries, fresh, ref source, .. } = *explain;
    let wish = Wish { tries, fresh, source: source.clone() };
    // A daemon has the secrets, and reads its own files.
    if tries
        && explain.paths.is_empty()
        && let Some(daemon) = Client::find(settings).await?
    {
        let path = format!("pipelines/{}/explain", encoded(&explain.pipeline));
        let answer = daemon.send(Method::POST, &path, json!(wish).to_string()).await?;
        return Ok((answer["told"].clone(), answer["failed"] == true));
    }
    // Names of secrets are asked of the store before we open it ourselves.
    let named = match tries {
        true => None,
        false => Some(chosen(super::load(settings)?, &explain.pipeline)?),
    };
    let keys = match tries {
        true => secrets::read_all(settings).await?,
        false => Keys::default(),
    };
    let holder = Holder::find(settings, keys).await?;
    let told = async {
        let plan = match named {
            Some(plan) => plan,
            None => holder.plan(&explain.pipeline, settings).await?,
        };
        explained(&wish, &plan, settings, &holder).await
    };
    let told = told.await;
    holder.close().await?;
    told
}
