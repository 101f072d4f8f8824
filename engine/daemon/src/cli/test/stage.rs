//! Fixtures as far ends: connections whose calls are answered as `karez record` wrote them down.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use karez_api::{Clock, Millis, Secret, Shared};
use karez_config::STAND_IN;
use karez_connectors::net::wire::{Fixture, Planned, Player, Trouble, Wire};
use karez_connectors::net::{Connections, Options};
use karez_runtime::{FarEnd, PlannedFault, Play, Stage};

/// The fixtures beside one pipeline file.
pub(super) struct Fixtures {
    folder: PathBuf,
    read: RefCell<HashMap<String, Arc<Fixture>>>,
}

impl Fixtures {
    pub(super) fn beside(file: &str) -> Self {
        let folder = Path::new(file).parent().unwrap_or(Path::new(".")).to_owned();
        Self { folder, read: RefCell::default() }
    }

    fn fixture(&self, name: &str) -> Result<Arc<Fixture>, String> {
        if let Some(known) = self.read.borrow().get(name) {
            return Ok(Arc::clone(known));
        }
        let path = self.folder.join(name);
        let shown = path.display();
        let text = std::fs::read(&path)
            .map_err(|error| format!("cannot read {shown}: {error}; `karez record` writes it"))?;
        let fixture: Fixture =
            serde_json::from_slice(&text).map_err(|error| format!("{shown} is no fixture: {error}"))?;
        let fixture = Arc::new(fixture);
        self.read.borrow_mut().insert(name.to_owned(), Arc::clone(&fixture));
        Ok(fixture)
    }
}

impl Stage for Fixtures {
    fn begun(&self, fixture: &str) -> Result<Millis, String> {
        Ok(self.fixture(fixture)?.now)
    }

    fn play(
        &self,
        fixture: &str,
        clock: Arc<dyn Clock>,
        fault: Option<&PlannedFault>,
    ) -> Result<Play, String> {
        let planned = fault.and_then(|fault| {
            let trouble = Trouble::ALL.into_iter().find(|trouble| trouble.name() == fault.what)?;
            Some(Planned { at: fault.at, trouble })
        });
        let player = Arc::new(Player::new(self.fixture(fixture)?, planned, vec![Secret::new(STAND_IN)]));
        let options = Options { wire: Wire::Played(Arc::clone(&player)), ..Options::default() };
        let connections = Connections::new(clock, None, options);
        Ok(Play {
            shared: Shared::default().with(Arc::new(connections)),
            far_end: Arc::new(Recorded(player)),
        })
    }
}

struct Recorded(Arc<Player>);

impl FarEnd for Recorded {
    fn asked(&self) -> usize {
        self.0.asked()
    }
    fn faults(&self) -> Vec<PlannedFault> {
        let told = |planned: Planned| PlannedFault {
            at: planned.at,
            what: planned.trouble.name(),
            request: self.0.name(planned.at),
            code: (planned.trouble == Trouble::Cycle).then_some("page_cycle"),
        };
        self.0.faults().into_iter().map(told).collect()
    }
    fn crashed(&self) -> bool {
        self.0.crashed()
    }
    fn is_over(&self) -> bool {
        self.0.is_over()
    }
    fn unknown(&self) -> Vec<String> {
        self.0.unknown()
    }
}
