//! `karez record`: one run of a pipeline's sources against their API, written down for `karez test`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use http::Method;
use karez_connectors::net::wire::Fixture;
use serde_json::json;

use super::{Exit, Usage};
use crate::admin::{Client, encoded};
use crate::console;
use crate::diagnostics::counted;
use crate::secrets;
use crate::settings::Settings;
use crate::trying::{Holder, Recording, asked, recorded};

#[derive(Debug, clap::Args)]
pub(crate) struct Record {
    /// Name of the pipeline
    pipeline: String,
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    /// Stop after so many requests [default: when the sources have read everything]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pages: Option<u32>,
    /// Where the exchanges are written [default: fixtures/PIPELINE.json beside the pipeline file]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) async fn perform(record: Record, settings: Settings) -> Result<Exit> {
    let recording = Recording { pages: record.pages };
    let daemon = match record.paths.is_empty() {
        // It has the secrets, and reads its own files.
        true => Client::find(&settings).await?,
        false => None,
    };
    let (file, fixture, problem) = match daemon {
        Some(daemon) => {
            let path = format!("pipelines/{}/recording", encoded(&record.pipeline));
            let about = daemon.get(&path).await?;
            let file = free(&record, about["file"].as_str().unwrap_or_default())?;
            let answer = daemon.send(Method::POST, &path, json!(recording).to_string()).await?;
            let fixture: Fixture = serde_json::from_value(answer["fixture"].clone())?;
            (file, fixture, answer["problem"].as_str().map(str::to_owned))
        }
        None => {
            let holder = Holder::find(&settings, secrets::read_all(&settings).await?).await?;
            let recorded = async {
                let plan = holder.plan(&record.pipeline, &settings).await?;
                asked(&plan)?;
                let file = free(&record, &plan.file)?;
                let (fixture, problem) = recorded(&recording, &plan, &settings, &holder).await;
                Ok::<_, anyhow::Error>((file, fixture, problem.map(|fault| fault.to_string())))
            };
            let recorded = recorded.await;
            holder.close().await?;
            recorded?
        }
    };
    if let Some(fault) = problem {
        bail!(
            "the run failed after {}, nothing is written: {fault}",
            counted(fixture.exchanges.len(), "exchange")
        );
    }
    write(&file, &fixture)?;
    let cut = if fixture.cut { ", cut short by --pages" } else { "" };
    let shown = file.display();
    console::line(&format!("{} in {shown}{cut}", counted(fixture.exchanges.len(), "exchange")))?;
    Ok(Exit::Fine)
}

/// Where it is written: a file that is not there yet.
fn free(record: &Record, pipeline_file: &str) -> Result<PathBuf> {
    let file = record.to.clone().unwrap_or_else(|| {
        let folder = Path::new(pipeline_file).parent().unwrap_or(Path::new("."));
        folder.join("fixtures").join(format!("{}.json", record.pipeline))
    });
    if file.exists() && !record.force {
        let message = format!("{} is there already; --force writes over it", file.display());
        return Err(Usage(message).into());
    }
    Ok(file)
}

fn write(file: &Path, fixture: &Fixture) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    let text = serde_json::to_string_pretty(fixture)? + "\n";
    std::fs::write(file, text).with_context(cannot)
}
