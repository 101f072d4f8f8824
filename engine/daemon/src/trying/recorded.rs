//! One run of a pipeline's sources against their API, written down.

use std::sync::Arc;

use karez_api::{Clock, Fault, Millis, NoRuns, PipelinePlan};
use karez_connectors::net::wire::{Fixture, Recorder, Wire};
use karez_connectors::net::{Connections, Options};
use karez_runtime::{Alone, Company, Standing, SystemClock};
use serde::{Deserialize, Serialize};

use super::Holder;
use crate::settings::Settings;

/// What is to be written down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Recording {
    /// Stop after so many requests.
    pub(crate) pages: Option<u32>,
}

/// All sources, one after the other, from their beginning; with what was noted, and why it ended early.
pub(crate) async fn recorded(
    recording: &Recording,
    plan: &PipelinePlan,
    settings: &Settings,
    holder: &Holder,
) -> (Fixture, Option<Fault>) {
    let most = recording.pages.map(|pages| pages as usize);
    let recorder = Arc::new(Recorder::new(most, holder.hidden().await));
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
