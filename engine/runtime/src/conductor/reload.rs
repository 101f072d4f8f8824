//! Swaps the graph behind the standing sources: gate, let deliveries in progress end, exchange
//! what changed, start everything unsettled again. Until the swap itself everything can be undone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use karez_api::{Claim, Fault, Opened};
use tokio::time::Instant;

use super::{Conductor, GRACE, SourceHandle};
use crate::assemble::{Parts, SourcePart, kept, open_sinks};
use crate::delivery::SinkDriver;
use crate::settler::Notice;

impl Conductor {
    pub(super) async fn reload(&mut self, parts: Parts) -> Result<(), Fault> {
        let keep = kept(&self.sinks, &parts.sinks);
        self.core.pause();
        self.settle_attempts().await;
        let unwritten = self.end_burials().await;
        if let Some(fault) = self.failed.clone() {
            return Err(fault);
        }
        if let Err(fault) = self.exchange_sinks(&parts, &keep).await {
            self.bury(unwritten);
            self.core.resume();
            return Err(fault);
        }
        let opened = match self.exchange_sources(&parts).await {
            Ok(opened) => opened,
            Err(fault) => {
                self.restore_sinks(&parts.sinks, &keep).await;
                self.bury(unwritten);
                self.core.resume();
                return Err(fault);
            }
        };
        self.let_removed_go(&parts).await;
        fail::fail_point!("crash::before_swap");
        self.swap(parts, opened).await;
        fail::fail_point!("crash::after_swap");
        self.shared.counters.reloads.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Lets deliveries in progress end, for as long as a reload may take; the rest is dropped and tried again.
    async fn settle_attempts(&mut self) {
        let deadline = Instant::now() + GRACE;
        self.carry_out();
        while self.core.attempts_in_progress() > 0 && Instant::now() < deadline && self.failed.is_none() {
            drop(self.next(None, false, Some(deadline)).await);
            self.carry_out();
        }
        for ((sink, _), attempt) in std::mem::take(&mut self.attempts) {
            attempt.abort();
            // What it may have written half-way is cut off when it is opened again.
            if self.sinks[sink].node.plan.keeps_ledger() {
                self.sinks[sink].close().await;
            }
        }
    }

    /// Sources that the new plan does not have go before their numbers do.
    async fn let_removed_go(&mut self, parts: &Parts) {
        for index in 0..self.sources.len() {
            let name = &self.sources[index].cx.node.name;
            if !parts.sources.iter().any(|part| part.node.name == *name) {
                self.sources[index].cx.intake.close().await;
                self.let_go(index).await;
            }
        }
    }

    /// Sinks that stay the same go over open; others are opened new, after those whose place they take are closed.
    async fn exchange_sinks(&self, parts: &Parts, keep: &HashSet<Arc<str>>) -> Result<(), Fault> {
        let (mut fresh, mut clashing) = (Vec::new(), Vec::new());
        for driver in &parts.sinks {
            if keep.contains(&driver.node.name) {
                continue;
            }
            let claims = driver.node.plan.claims();
            let clash = self.sinks.iter().any(|old| {
                old.node.name == driver.node.name
                    || old.node.plan.claims().iter().any(|claim| claims.contains(claim))
            });
            if clash { clashing.push(Arc::clone(driver)) } else { fresh.push(Arc::clone(driver)) }
        }
        open_sinks(&fresh).await?;
        for old in self.sinks.iter().filter(|old| !keep.contains(&old.node.name)) {
            old.close().await;
        }
        if let Err(fault) = open_sinks(&clashing).await {
            for driver in fresh.iter().chain(&clashing) {
                driver.close().await;
            }
            // The old ones open again with their next delivery.
            return Err(fault);
        }
        for driver in parts.sinks.iter().filter(|driver| keep.contains(&driver.node.name)) {
            if let Some(old) = self.sinks.iter().find(|old| old.node.name == driver.node.name) {
                driver.take_over(old).await;
            }
        }
        Ok(())
    }

    async fn restore_sinks(&self, new: &[Arc<SinkDriver>], keep: &HashSet<Arc<str>>) {
        for driver in new {
            let old = self.sinks.iter().find(|old| old.node.name == driver.node.name);
            match old {
                Some(old) if keep.contains(&driver.node.name) => old.take_over(driver).await,
                _ => driver.close().await,
            }
        }
    }

    /// Sources that stay the same go on standing; others are stopped and their successors opened. Yields what was opened.
    async fn exchange_sources(
        &mut self,
        parts: &Parts,
    ) -> Result<HashMap<Arc<str>, (SourceHandle, Option<Opened>)>, Fault> {
        let mut opened = HashMap::new();
        let mut replaced = Vec::new();
        for part in &parts.sources {
            let old = self.index(&part.node.name);
            if old.is_some_and(|old| self.sources[old].cx.node.fingerprint == part.node.fingerprint) {
                continue;
            }
            let part = SourcePart { node: Arc::clone(&part.node), intake: Arc::clone(&part.intake) };
            let name = Arc::clone(&part.node.name);
            let handle = self.handle(part);
            // A push source takes the place of the old one without a gap; one that is asked must let go first.
            let push =
                handle.cx.node.plan.claims().iter().any(|claim| matches!(claim, Claim::IngressPath(_)));
            replaced.extend(old);
            if let Some(old) = old.filter(|_| !push) {
                self.let_go(old).await;
            }
            match handle.cx.first_open().await {
                Ok(source) => {
                    opened.insert(name, (handle, source));
                }
                Err(fault) => {
                    // Nothing of the new plan stays.
                    drop(opened);
                    replaced.into_iter().for_each(|old| self.stand_again(old));
                    return Err(fault.clone().with_message(format!("source {name}: {fault}")));
                }
            }
        }
        Ok(opened)
    }

    /// Stops a source that is asked, and gives back what of it is not settled.
    pub(super) async fn let_go(&mut self, index: usize) {
        self.sources[index].cx.stop.cancel();
        self.core.return_source(index);
        self.carry_out();
        self.flush(index).await;
        self.sources[index].cx.close.cancel();
        if let Some(reader) = self.sources[index].reader.take() {
            let mut reader = reader;
            let deadline = Instant::now() + GRACE;
            // Its last batch may wait at the door: it goes back too.
            loop {
                tokio::select! {
                    _ = &mut reader => break,
                    Some(from) = self.records.1.recv() => self.pulled(from),
                    () = tokio::time::sleep_until(deadline) => break,
                }
                self.core.return_source(index);
                self.carry_out();
            }
        }
    }

    /// A source that was let go reads again, where its positions say.
    pub(super) fn stand_again(&mut self, index: usize) {
        let old = &mut self.sources[index];
        old.cx.stop.cancel();
        let (journal, stop_journal) = (old.journal.take(), std::mem::take(&mut old.stop_journal));
        let part = SourcePart { node: Arc::clone(&old.cx.node), intake: Arc::clone(&old.cx.intake) };
        let prepare = Arc::clone(&old.prepare);
        let handle = SourceHandle { journal, stop_journal, prepare, ..self.handle(part) };
        let handle = self.spawn_source(index, handle, None);
        let before = std::mem::replace(&mut self.sources[index], handle);
        before.cx.close.cancel();
    }

    async fn swap(&mut self, parts: Parts, mut opened: HashMap<Arc<str>, (SourceHandle, Option<Opened>)>) {
        // What waits at the door belongs to the old numbering of sources.
        let mut at_door = Vec::new();
        while let Ok(from) = self.records.1.try_recv() {
            at_door.push(from);
        }
        let settings = parts.sources.iter().map(SourcePart::settings).collect();
        let states = parts.sink_states(&self.services);
        // What was decided last still speaks of the old graph and the old numbers.
        self.carry_out();
        let old_sources = std::mem::take(&mut self.sources);
        self.core.swap(Arc::clone(&parts.graph), settings, states, parts.limit);
        self.sinks = parts.sinks;
        let mut old: HashMap<Arc<str>, SourceHandle> =
            old_sources.into_iter().map(|handle| (Arc::clone(&handle.cx.node.name), handle)).collect();
        for (index, part) in parts.sources.into_iter().enumerate() {
            let name = Arc::clone(&part.node.name);
            let handle = match (opened.remove(&name), old.remove(&name)) {
                (Some((mut handle, source)), Some(mut before)) => {
                    // Its reader knows what of the journal is on its way already.
                    handle.journal = before.journal.take();
                    handle.stop_journal = std::mem::take(&mut before.stop_journal);
                    self.retire(before);
                    self.spawn_source(index, handle, source)
                }
                (Some((handle, source)), None) => {
                    self.shared.counters.recover(self.held(&handle));
                    self.spawn_source(index, handle, source)
                }
                (None, Some(before)) => self.keep_source(index, before, part).await,
                (None, None) => continue,
            };
            self.sources.push(handle);
        }
        for gone in old.into_values() {
            // What its journal holds is nobody's now; it counts as recovered should the source return.
            self.shared.counters.give_back(self.held(&gone));
            self.retire(gone);
        }
        for from in at_door {
            self.pulled(from);
        }
    }

    /// A standing source under its new number, with the new plan's preparation.
    async fn keep_source(
        &mut self,
        index: usize,
        mut handle: SourceHandle,
        part: SourcePart,
    ) -> SourceHandle {
        let sinks = self.sinks.iter().map(|driver| driver.name.clone()).collect();
        // The settler knows sinks and sources by number.
        let renumber = Notice::Renumber { source: index, sinks };
        let notices = handle.cx.notices.clone();
        drop(self.hearing(notices.send(renumber)).await);
        handle.prepare = Arc::clone(&part.intake.prepare);
        handle
    }

    /// Ends the tasks of a source that is no longer there; its settler goes on until it is through.
    fn retire(&self, handle: SourceHandle) {
        handle.cx.stop.cancel();
        handle.stop_journal.cancel();
        handle.cx.close.cancel();
    }
}
