//! `karez store`: looks after a data folder.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Result, bail};
use http::Method;
use karez_config::Loaded;
use karez_runtime::{DeadLetters, Forgotten};
use karez_store::{Keys, Options, Store as DataStore, VerifyReport};

use super::Exit;
use crate::admin::{Client, encoded};
use crate::console::{self, Format, say};
use crate::diagnostics::counted;
use crate::load::Loader;
use crate::memory::Memory;
use crate::secrets::Nothing;
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Store {
    /// Read everything in the store and say whether it is whole; changes nothing
    Verify {
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Remove everything that is kept of a pipeline that no longer exists
    ///
    /// That is its journals, dedup keys, positions, what its sinks confirmed, and its dead letters.
    Drop {
        /// Name of the pipeline
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn perform(command: Store, settings: Settings) -> Result<Exit> {
    let daemon = Client::find(&settings).await?;
    match (command, daemon) {
        (Store::Verify { .. }, Some(_)) => {
            bail!("a daemon holds the store in {}; stop it first", settings.data_dir.display())
        }
        (Store::Verify { format }, None) => verify(settings, format).await,
        (Store::Drop { name, yes }, Some(daemon)) => drop_by_daemon(&daemon, &name, yes).await,
        (Store::Drop { name, yes }, None) => drop_in_store(settings, &name, yes).await,
    }
}

async fn verify(settings: Settings, format: Format) -> Result<Exit> {
    let report = tokio::task::spawn_blocking(move || karez_store::verify(settings.data_dir)).await??;
    match format {
        Format::Json => console::json(&serde_json::json!(report))?,
        Format::Text => tell_report(&report)?,
    }
    Ok(if report.is_sound() { Exit::Fine } else { Exit::Problems })
}

fn tell_report(report: &VerifyReport) -> Result<()> {
    console::line(&format!(
        "{}, {}, {}, {}, {}",
        counted(report.segments, "segment"),
        counted(report.frames, "frame"),
        counted(report.unsettled, "unsettled record"),
        counted(report.dedup_keys, "dedup key"),
        counted(report.progress_values, "value"),
    ))?;
    for damage in &report.damage {
        let place = format!("{} at byte {}", damage.file.display(), damage.offset);
        console::line(&format!("damaged: {place}, {} bytes: {}", damage.length, damage.what))?;
    }
    console::line(if report.is_sound() { "the store is whole" } else { "the store is damaged" })?;
    Ok(())
}

async fn drop_by_daemon(daemon: &Client, name: &str, yes: bool) -> Result<Exit> {
    if !yes && !agrees(name)? {
        return Ok(Exit::Problems);
    }
    let forgotten = daemon.send(Method::DELETE, &format!("pipelines/{}/state", encoded(name)), "").await?;
    let n = |key: &str| forgotten[key].as_u64().unwrap_or_default();
    tell(n("journals"), n("unsettled"), n("positions"), n("dead_letters"))?;
    Ok(Exit::Fine)
}

async fn drop_in_store(settings: Settings, name: &str, yes: bool) -> Result<Exit> {
    let loaded = Loader::new(settings.pipelines.clone()).load(&Nothing);
    let defines = |loaded: Loaded| loaded.files.iter().any(|file| file.pipeline.as_deref() == Some(name));
    // Without pipelines nobody defines it.
    if loaded.is_ok_and(defines) {
        bail!("a pipeline file defines {name}: remove the file first");
    }
    let memory = Memory::new(open(&settings).await?, Keys::default());
    let dropped = async {
        if !yes && !agrees(name)? {
            return Ok(Exit::Problems);
        }
        let letters = DeadLetters::open(Arc::clone(memory.progress())).await?;
        let Forgotten { journals, unsettled, positions, dead_letters } =
            memory.forget(name, &letters).await?;
        tell(journals, unsettled, positions, dead_letters)?;
        Ok(Exit::Fine)
    };
    let dropped = dropped.await;
    memory.close().await?;
    dropped
}

/// The store of a data folder, which must hold one: looking at it makes none.
///
/// # Errors
/// There is none, or it cannot be opened.
pub(super) async fn open(settings: &Settings) -> Result<DataStore> {
    let folder = &settings.data_dir;
    if !karez_store::is_store(folder) {
        bail!("{} holds no store; name the folder of one with --data-dir", folder.display());
    }
    open_or_make(settings).await
}

/// The store of a data folder, made where there is none.
///
/// # Errors
/// It cannot be opened.
pub(super) async fn open_or_make(settings: &Settings) -> Result<DataStore> {
    let folder = settings.data_dir.clone();
    Ok(tokio::task::spawn_blocking(move || DataStore::open(folder, Options::default())).await??)
}

fn tell(journals: u64, unsettled: u64, positions: u64, dead_letters: u64) -> Result<()> {
    let journals =
        format!("{} with {}", counted(journals, "journal"), counted(unsettled, "unsettled record"));
    let rest = format!("{}, {}", counted(positions, "position"), counted(dead_letters, "dead letter"));
    Ok(console::line(&format!("removed {journals}, {rest}"))?)
}

fn agrees(name: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask; say --yes");
    }
    say(&format!(
        "Journals, dedup keys, positions and dead letters of {name} will be gone for good. Type the name to agree:"
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == name)
}
