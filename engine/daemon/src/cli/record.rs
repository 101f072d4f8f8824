//! `karez record`: one run of a pipeline's sources against their API, written down for `karez test`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use karez_api::{Clock, Fault, Millis, NoRuns, PipelinePlan};
use karez_connectors::net::wire::{Fixture, Recorder, Wire};
use karez_connectors::net::{Connections, Options};
use karez_runtime::{Alone, Company, Standing, SystemClock};

use super::polling::{Holder, asked};
use super::{Exit, Usage};
use crate::console;
use crate::diagnostics::counted;
use crate::secrets;
use crate::settings::Settings;

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
    let holder = Holder::find(&settings, secrets::read_all(&settings).await?).await?;
    let recorded = async {
        let plan = holder.plan(&record.pipeline, &settings).await?;
        asked(&plan)?;
        let file = record.to.clone().unwrap_or_else(|| beside(&plan));
        if file.exists() && !record.force {
            let message = format!("{} is there already; --force writes over it", file.display());
            return Err(anyhow::Error::from(Usage(message)));
        }
        let (fixture, problem) = run(&record, &plan, &settings, &holder).await;
        Ok((file, fixture, problem))
    };
    let recorded = recorded.await;
    holder.close().await?;
    let (file, fixture, problem) = recorded?;
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

fn beside(plan: &PipelinePlan) -> PathBuf {
    let folder = Path::new(&*plan.file).parent().unwrap_or(Path::new("."));
    folder.join("fixtures").join(format!("{}.json", plan.name))
}

/// All sources, one after the other, from their beginning; with what was noted, and why it ended early.
async fn run(
    record: &Record,
    plan: &PipelinePlan,
    settings: &Settings,
    holder: &Holder,
) -> (Fixture, Option<Fault>) {
    let recorder = Arc::new(Recorder::new(record.pages.map(|pages| pages as usize), holder.hidden().await));
    let wire = Wire::Recorded(Arc::clone(&recorder));
    let options = Options { allow_private: settings.allow_private.clone(), wire };
    let shared = holder.shared(Arc::new(SystemClock), options);
    let connections = shared.get::<Connections>();
    // Windows end where they will end when this is replayed.
    let now = Millis(SystemClock.now().0 / 1_000 * 1_000);
    let clock: Arc<dyn Clock> = Arc::new(Standing::at(now));
    let company = Company { clock, shared, runs: Arc::new(NoRuns), once: true };
    let mut problem = None;
    for node in plan.sources.iter().filter(|node| node.plan.polls()) {
        let opened = Alone::open(&plan.name, node, Default::default(), company.clone()).await;
        let read = match opened {
            Ok(mut source) => {
                let read = tokio::select! {
                    biased;
                    read = to_the_end(&mut source) => read,
                    () = recorder.full() => Ok(()),
                };
                source.close().await;
                read
            }
            Err(fault) => Err(fault),
        };
        problem = read.err();
        if problem.is_some() {
            break;
        }
    }
    if let Some(connections) = connections {
        connections.close().await;
    }
    (recorder.fixture(now).trimmed(), problem)
}

async fn to_the_end(source: &mut Alone) -> Result<(), Fault> {
    while let Some(taken) = source.next().await? {
        source.settle(taken).await?;
    }
    Ok(())
}

fn write(file: &Path, fixture: &Fixture) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    let text = serde_json::to_string_pretty(fixture)? + "\n";
    std::fs::write(file, text).with_context(cannot)
}
