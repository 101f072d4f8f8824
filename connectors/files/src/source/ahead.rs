//! Drives a set of files from async code: one blocking call per batch, one batch ahead.

use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{Batch, Clock, Fault, Source, SourceContext};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Options;
use super::set::{FileSet, Step};

type Work = JoinHandle<(FileSet, Result<Step, Fault>)>;

pub(crate) struct Ahead {
    clock: Arc<dyn Clock>,
    idle: Option<FileSet>,
    working: Option<Work>,
}

impl Ahead {
    pub(crate) fn new(options: &Arc<Options>, cx: SourceContext) -> Self {
        let clock = Arc::clone(&cx.clock);
        let files = FileSet::new(Arc::clone(options), cx.source, cx.clock, &cx.positions);
        Self { clock, idle: Some(files), working: None }
    }
}

fn start(mut files: FileSet) -> Work {
    spawn_blocking(move || {
        let step = files.step();
        (files, step)
    })
}

#[async_trait]
impl Source for Ahead {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        loop {
            if let Some(files) = self.idle.take() {
                self.working = Some(start(files));
            }
            let Some(working) = &mut self.working else {
                return Ok(None);
            };
            let (files, step) = working.await.map_err(Fault::fatal)?;
            self.working = None;
            match step? {
                Step::Batch(batch) => {
                    self.working = Some(start(files));
                    return Ok(Some(batch));
                }
                Step::Idle(time) => {
                    self.clock.sleep(time).await;
                    self.idle = Some(files);
                }
                Step::Ended => return Ok(None),
            }
        }
    }

    async fn quiesce(&mut self) -> Result<(), Fault> {
        // The block that is being read ends by itself; what it finds is read again after a reopen.
        self.idle = None;
        self.working = None;
        Ok(())
    }
}
