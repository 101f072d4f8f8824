//! One source is stopped, its positions are set back, and it stands again; the others go on.

use std::sync::Arc;

use karez_api::Fault;
use tokio::time::Instant;

use super::{Conductor, GRACE};
use crate::rewind::{Rewind, Rewindable, Rewound};

impl Conductor {
    pub(super) async fn rewind(&mut self, rewind: &Rewind, sources: &[Rewindable]) -> Result<Rewound, Fault> {
        let name = &rewind.choose(sources)?.name;
        let gone = || Fault::validation("unknown_source", format!("there is no source {name:?} any more"));
        let index = self.index(name).ok_or_else(gone)?;
        let progress = Arc::clone(&self.services.progress);
        self.flush(index).await;
        // What cannot be done disturbs nobody; but what is on its way may be all that was read. A source that is
        // journaled has its positions saved as soon as it has read.
        let on_its_way = !self.records.1.is_empty() || self.core.holds_records_of(index);
        if self.sources[index].cx.node.journal || !on_its_way {
            rewind.look(&self.shared.name, sources, &*progress).await?;
        }
        self.read_out(index).await;
        self.let_go(index).await;
        while let Ok(from) = self.records.1.try_recv() {
            self.pulled(from);
        }
        self.core.return_source(index);
        self.carry_out();
        // What was settled meanwhile is saved now, not over what comes next.
        self.flush(index).await;
        let rewound = match self.failed.clone() {
            Some(fault) => Err(fault),
            None => rewind.perform(&self.shared.name, sources, &*progress).await,
        };
        self.stand_again(index);
        rewound
    }

    /// Has a source read no more, and lets what is on its way come to its end, for as long as a reload may take.
    async fn read_out(&mut self, index: usize) {
        self.sources[index].cx.stop.cancel();
        if self.sources[index].cx.node.journal {
            // Its positions do not wait for what is on its way.
            return;
        }
        let deadline = Instant::now() + GRACE;
        self.carry_out();
        while self.core.holds_records_of(index) && Instant::now() < deadline && self.failed.is_none() {
            drop(self.next(None, true, Some(deadline)).await);
            self.carry_out();
        }
    }
}
