//! `karez check`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Exit;
use crate::console::{self, Format};
use crate::diagnostics::{Colour, counted, render};
use crate::load::Loader;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the pipeline NAME as it is after overlays, defaults and variables
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
}

pub(super) fn perform(check: &Check, settings: Settings) -> Result<Exit> {
    let loaded = Loader::new(settings.pipelines).load()?;
    if let Some(name) = &check.show {
        console::line(&loaded.show(name).with_context(|| format!("no file defines a pipeline {name}"))?)?;
    } else if check.format == Format::Json {
        console::json(&serde_json::json!({"files": loaded.files, "problems": loaded.problems}))?;
    } else if loaded.problems.is_empty() {
        let files = counted(loaded.files.len(), "file");
        console::line(&format!("{files}, {}, no problems", counted(loaded.pipelines.len(), "pipeline")))?;
    } else {
        let colour = if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            console::colour()
        } else {
            Colour::Off
        };
        console::line(render(&loaded.problems, colour).trim_end())?;
    }
    Ok(if loaded.has_errors() { Exit::Problems } else { Exit::Fine })
}
