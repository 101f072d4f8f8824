//! What all streams of an open source share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use karez_api::{Clock, Fault, Lane, Position, Runs, Timetable};
use karez_net::{Connection, Reuse, Tally};

use super::fetch::Fetch;
use super::outlet::{Closed, Outlet};
use super::state::State;
use super::stream::{Reading, Streams};

pub(super) struct Live {
    pub(super) streams: Arc<Streams>,
    pub(super) source: Arc<str>,
    pub(super) connection: Arc<Connection>,
    /// To whom reports may lie with.
    pub(super) elsewhere: Option<Arc<Connection>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runs: Arc<dyn Runs>,
    pub(super) timetable: Option<Arc<dyn Timetable>>,
    pub(super) once: bool,
    pub(super) outlet: Outlet,
    /// Where each lane was left, kept up to date.
    pub(super) positions: Mutex<BTreeMap<Lane, Position>>,
}

/// Why reading ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    /// The engine wants no more.
    Closed,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Live {
    pub(super) fn fetch<'a>(&'a self, reading: &'a Reading, tally: &'a Arc<Tally>) -> Fetch<'a> {
        Fetch {
            reading,
            connection: &self.connection,
            elsewhere: self.elsewhere.as_deref(),
            clock: &*self.clock,
            tally,
            own_parameters: &self.streams.own_parameters,
            reuse: Reuse::Connection,
            at_once: false,
        }
    }

    pub(super) fn position(&self, lane: &Lane) -> Option<Position> {
        self.positions().get(lane).cloned()
    }

    /// # Errors
    /// Class fatal: what is saved is damaged.
    pub(super) fn state(&self, lane: &Lane) -> Result<State, Fault> {
        self.position(lane).map_or(Ok(State::default()), |position| State::read(lane, &position))
    }

    /// Saves a lane's position by itself; nothing of it may be on its way.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(super) async fn save(&self, lane: &Lane, position: Position) -> Result<(), Closed> {
        self.outlet.save(lane, position.clone()).await?;
        self.keep(lane, position);
        Ok(())
    }

    /// Notes what the engine has saved.
    pub(super) fn keep(&self, lane: &Lane, position: Position) {
        self.positions().insert(lane.clone(), position);
    }

    pub(super) fn forget(&self, lane: &Lane) {
        self.positions().remove(lane);
    }

    /// Lanes of a stream's partitions.
    pub(super) fn lanes_of(&self, stream: &str) -> Vec<Lane> {
        let prefix = format!("{stream}/");
        self.positions().keys().filter(|lane| lane.0.starts_with(&prefix)).cloned().collect()
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<Lane, Position>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lane in which the engine says from when on a stream is to be read again.
pub(super) fn rewind(stream: &str) -> Lane {
    Lane::new(format!("rewind/{stream}"))
}
