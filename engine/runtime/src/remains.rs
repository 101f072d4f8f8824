//! What is kept under a pipeline's name: told and removed when nobody runs it any more.

use karez_api::{Events, Progress, StoreError, Write};
use serde::Serialize;

use crate::letters::DeadLetters;
use crate::settler::all_positions;

const PAGE: usize = 500;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    pub journals: u64,
    /// Journaled records that were not settled.
    pub unsettled: u64,
    pub positions: u64,
    pub dead_letters: u64,
}

/// Removes journals, dedup keys, positions, marks of sinks and dead letters of a pipeline. It must not run.
///
/// # Errors
/// The store cannot be read or written; what was removed until then stays removed.
pub async fn forget(
    pipeline: &str,
    progress: &dyn Progress,
    events: &dyn Events,
    letters: &DeadLetters,
) -> Result<Forgotten, StoreError> {
    let mut forgotten = Forgotten::default();
    let prefix = all_positions(pipeline);
    let streams = events.streams();
    let streams: Vec<_> = streams.iter().filter(|stream| &*stream.pipeline == pipeline).collect();
    forgotten.journals = streams.len() as u64;
    forgotten.unsettled = streams.iter().map(|stream| events.stats(stream).unsettled).sum();
    loop {
        let page = progress.list(&prefix, None, PAGE).await?;
        if page.is_empty() {
            break;
        }
        forgotten.positions += page.len() as u64;
        progress.write(page.into_iter().map(|(key, _)| Write::remove(key)).collect()).await?;
    }
    events.remove(pipeline).await?;
    loop {
        let page = letters.list(Some(pipeline), None, PAGE).await?;
        if page.is_empty() {
            return Ok(forgotten);
        }
        for letter in page {
            forgotten.dead_letters += u64::from(letters.remove(&letter.id).await?);
        }
    }
}
