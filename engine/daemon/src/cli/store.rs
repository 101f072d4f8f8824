//! `karez store`: looks after a data folder that no daemon holds.

use std::io::IsTerminal;

use anyhow::{Result, bail};
use karez_store::{Options, Store as DataStore};

use super::Exit;
use crate::admin::Client;
use crate::console::{self, say};
use crate::diagnostics::counted;
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Store {
    /// Read everything in the store and say whether it is whole; changes nothing
    Verify,
    /// Remove the journal of a pipeline that no longer exists, with its unsettled records
    Drop {
        /// Name of the pipeline
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn perform(command: Store, settings: Settings) -> Result<Exit> {
    if Client::find(&settings).await?.is_some() {
        bail!("a daemon holds the store in {}; stop it first", settings.data_dir.display());
    }
    match command {
        Store::Verify => verify(settings).await,
        Store::Drop { name, yes } => remove(settings, &name, yes).await,
    }
}

async fn verify(settings: Settings) -> Result<Exit> {
    let report = tokio::task::spawn_blocking(move || karez_store::verify(settings.data_dir)).await??;
    console::line(&format!(
        "{} segments, {} frames, {} unsettled records, {} dedup keys, {} values",
        report.segments, report.frames, report.unsettled, report.dedup_keys, report.progress_values
    ))?;
    for damage in &report.damage {
        let place = format!("{} at byte {}", damage.file.display(), damage.offset);
        console::line(&format!("damaged: {place}, {} bytes: {}", damage.length, damage.what))?;
    }
    console::line(if report.is_sound() { "the store is whole" } else { "the store is damaged" })?;
    Ok(if report.is_sound() { Exit::Fine } else { Exit::Problems })
}

async fn remove(settings: Settings, name: &str, yes: bool) -> Result<Exit> {
    let folder = settings.data_dir;
    let store = tokio::task::spawn_blocking(move || DataStore::open(folder, Options::default())).await??;
    let events = store.events();
    let streams: Vec<_> = events.streams().into_iter().filter(|stream| *stream.pipeline == *name).collect();
    let unsettled: u64 = streams.iter().map(|stream| events.stats(stream).unsettled).sum();
    let agreed = yes
        || agrees(
            &format!(
                "{} of {name} with {unsettled} unsettled records will be gone for good. Type the name to agree: ",
                counted(streams.len(), "journal")
            ),
            name,
        )?;
    if agreed {
        for stream in &streams {
            events.remove(stream).await?;
        }
        events.flush().await?;
        console::line(&format!("removed {}", counted(streams.len(), "journal")))?;
    }
    store.close().await?;
    Ok(if agreed { Exit::Fine } else { Exit::Problems })
}

fn agrees(question: &str, name: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask; say --yes");
    }
    say(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == name)
}
