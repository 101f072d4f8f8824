//! What happens to unsettled records when a pipeline stops, lets a source go, or is reloaded:
//! they go back to where they came from, or start again from their source record.

use std::sync::Arc;

use karez_api::{InFlight, Origin, Verdict};

use super::{Command, Core, SettledItem, SinkState, SourceSettings, SourceState, Via, origins};
use crate::graph::Graph;
use crate::planted;
use crate::worker::{Entry, Work};

impl Core {
    /// Everything unsettled goes back: the pipeline stops.
    pub(crate) fn give_back(&mut self) {
        self.generation += 1;
        for (_, state) in self.origins.take_all() {
            self.return_origin(state);
        }
    }

    /// Everything unsettled of one source goes back: it is let go.
    pub(crate) fn return_source(&mut self, source: usize) {
        let batch = |state: &origins::State| matches!(state.via, Via::Batch { .. });
        let gone: Vec<Origin> = self
            .origins
            .iter()
            .filter(|(_, state)| state.source == source && batch(state))
            .map(|(origin, _)| *origin)
            .collect();
        let unblocked = self.reservations.give_up(&gone.iter().copied().collect());
        for origin in unblocked {
            // Nobody is first any more: it comes again from its source record.
            if let Some(state) = self.origins.remove(origin) {
                self.restart(origin, state);
            }
        }
        for origin in gone {
            if let Some(state) = self.origins.remove(origin) {
                self.return_origin(state);
            }
        }
    }

    fn return_origin(&mut self, state: origins::State) {
        match state.via {
            // The journal keeps it; it is in flight until somebody delivers it.
            Via::Journal(_) => {}
            Via::Replay { ticket, .. } => {
                self.counters.give_back(1);
                self.commands.push(Command::Replayed { ticket, end: None });
            }
            via @ Via::Batch { .. } => {
                self.counters.give_back(1);
                let item = SettledItem {
                    via,
                    id: state.record.id().clone(),
                    end: None,
                    verdict: Verdict::Returned,
                    dedup: Vec::new(),
                    delivered: Vec::new(),
                };
                self.settled.entry(state.source).or_default().push(item);
            }
        }
    }

    /// Puts another graph in the place of this one: everything unsettled starts again from its source record,
    /// in the order it came. `sources` says what each source is called now, by its old number.
    /// Commands of before have been taken: carried out later, they would be taken for those of the new graph.
    pub(crate) fn swap(
        &mut self,
        graph: Arc<Graph>,
        sources: Vec<SourceSettings>,
        sinks: Vec<SinkState>,
        limit: InFlight,
    ) {
        debug_assert!(
            self.commands.is_empty() && self.settled.is_empty(),
            "commands of the old graph are left"
        );
        self.generation += 1;
        self.paused = false;
        self.graph = graph;
        self.sinks = sinks;
        self.limit = limit;
        self.burying = 0;
        self.burials.clear();
        self.reservations.restart();
        let old: Vec<SourceState> =
            std::mem::replace(&mut self.sources, sources.into_iter().map(SourceState::new).collect());
        let moved: Vec<Option<usize>> = old.iter().map(|source| self.source(&source.settings.name)).collect();
        for (source, to) in old.into_iter().zip(&moved) {
            if let Some(to) = to {
                self.sources[*to].inherit(source);
            }
        }
        for (origin, mut state) in self.origins.take_all() {
            match moved.get(state.source).copied().flatten() {
                Some(source) => {
                    state.source = source;
                    self.restart(origin, state);
                }
                None => self.return_origin(state),
            }
        }
    }

    fn source(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|source| &*source.settings.name == name)
    }

    fn restart(&mut self, origin: Origin, state: origins::State) {
        if planted::drop_on_reload() {
            return;
        }
        let source = state.source;
        let entry = match &state.via {
            Via::Replay { node: Some(node), .. } => match self.graph.target(node) {
                Some(target) => Entry::Node { target, key: None, diverted: false },
                None => return self.return_origin(state),
            },
            Via::Replay { node: None, .. } => Entry::Again,
            Via::Journal(_) => Entry::Journaled,
            Via::Batch { lane, .. } => {
                let lane = lane.clone();
                Entry::Source { lane: self.sources[source].lane_key(source, &lane) }
            }
        };
        let record = self.origins.readmit(origin, state);
        self.run(source, vec![Work { record, entry }]);
    }
}
