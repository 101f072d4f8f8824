//! `karez check`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use karez_api::Json;
use karez_config::Loaded;
use serde_json::json;

use super::Exit;
use crate::admin::Client;
use crate::console::{self, Format};
use crate::diagnostics::{Colour, counted, render, unknown};
use crate::load::Loader;
use crate::secrets::NamesOnly;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Print the pipeline NAME as it is after overlays, defaults and variables
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
}

pub(super) async fn perform(check: Check, settings: Settings) -> Result<Exit> {
    let loaded = Loader::new(settings.pipelines.clone()).load(&NamesOnly::of(&settings))?;
    if let Some(name) = &check.show {
        console::line(loaded.show(name).with_context(|| undefined(name, &loaded))?.trim_end())?;
    } else if check.format == Format::Json {
        let orphaned = orphaned(&settings).await;
        let shown = json!({"files": loaded.files, "problems": loaded.problems, "orphaned": orphaned});
        console::json(&shown)?;
    } else {
        if loaded.problems.is_empty() {
            let files = counted(loaded.files.len(), "file");
            console::line(&format!("{files}, {}, no problems", counted(loaded.pipelines.len(), "pipeline")))?;
        } else {
            let colour = if console::stdout_is_terminal() { console::colour() } else { Colour::Off };
            console::line(render(&loaded.problems, colour).trim_end())?;
        }
        for stream in &orphaned(&settings).await {
            console::say(&super::status::orphan(stream));
        }
    }
    Ok(if loaded.has_errors() { Exit::Problems } else { Exit::Fine })
}

fn undefined(name: &str, loaded: &Loaded) -> String {
    let names: Vec<&str> = loaded.files.iter().filter_map(|file| file.pipeline.as_deref()).collect();
    unknown(&format!("no file defines a pipeline {name:?}"), name, &names)
}

/// Journals that no pipeline takes, as the running daemon knows them: checking opens no store by itself.
async fn orphaned(settings: &Settings) -> Vec<Json> {
    let Ok(Some(daemon)) = Client::find(settings).await else {
        return Vec::new();
    };
    let status = daemon.get("status").await.unwrap_or_default();
    status["orphaned"].as_array().cloned().unwrap_or_default()
}
