//! All live connections of the process: one for each name and its settings, shared by every pipeline that
//! uses it, so that quotas, tokens and what is known of the far end are shared too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use karez_api::{Clock, Fault, Network, Vault};

use crate::check::Checked;
use crate::connection::Connection;
use crate::login::Logins;
use crate::status::ConnectionStatus;
use crate::tasks::Owned;
use crate::wire::Wire;

/// How long a renewal may take when the process ends.
const LONGEST_RENEWAL: Duration = Duration::from_secs(35);

/// What holds for all connections of the process.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Networks that are not public and may be called all the same, in addition to each connection's own.
    pub allow_private: Vec<Network>,
    /// What their calls go through.
    pub wire: Wire,
}

/// Opens connections, and keeps them.
pub struct Connections {
    clock: Arc<dyn Clock>,
    vault: Option<Arc<dyn Vault>>,
    options: Options,
    /// By name; the newest last, older ones as long as somebody uses them.
    live: Mutex<BTreeMap<String, Vec<Arc<Connection>>>>,
    /// What outlives a connection: an answer with a new refresh token must be written down.
    lasting: Arc<Owned>,
    logins: Logins,
}

impl Connections {
    /// `vault` is where tokens are kept; without one, only what needs no log-in can be used.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, vault: Option<Arc<dyn Vault>>, options: Options) -> Self {
        let logins = Logins::new(Arc::clone(&clock));
        Self { clock, vault, options, live: Mutex::default(), lasting: Arc::default(), logins }
    }

    /// The live connection of this name and these settings. Within a tokio runtime.
    ///
    /// # Errors
    /// Class fatal: the system's root certificates cannot be used.
    pub fn open(&self, checked: &Checked) -> Result<Arc<Connection>, Fault> {
        let mut live = self.live();
        let known = live.entry(checked.name().to_owned()).or_default();
        if let Some(number) = known.iter().position(|each| each.fingerprint() == checked.fingerprint()) {
            // It is the newest again: a file that was changed may be changed back.
            let connection = known.remove(number);
            known.push(Arc::clone(&connection));
            return Ok(connection);
        }
        let opened = Connection::open(
            checked,
            &self.clock,
            self.vault.clone(),
            &self.options,
            Arc::clone(&self.lasting) as _,
        )?;
        let connection = Arc::new(opened);
        known.push(Arc::clone(&connection));
        release(known);
        Ok(connection)
    }

    /// How each is doing, by name. Of one whose settings were changed, the newest.
    #[must_use]
    pub fn status(&self) -> Vec<ConnectionStatus> {
        let newest: Vec<Arc<Connection>> = {
            let mut live = self.live();
            live.values_mut().for_each(release);
            live.values().filter_map(|known| known.last().cloned()).collect()
        };
        newest.iter().map(|connection| connection.status()).collect()
    }

    /// Log-ins to them.
    #[must_use]
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Ends the connections' own tasks and waits until they have ended. A renewal of tokens that has begun is not cut
    /// short, unless it takes longer than any should.
    pub async fn close(&self) {
        let all = std::mem::take(&mut *self.live());
        for connection in all.into_values().flatten() {
            connection.tasks.close().await;
        }
        tokio::select! {
            () = self.lasting.finish() => {}
            () = self.clock.sleep(LONGEST_RENEWAL) => self.lasting.close().await,
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Connection>>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of older ones that nobody uses any more.
fn release(known: &mut Vec<Arc<Connection>>) {
    let newest = known.len().saturating_sub(1);
    let mut number = 0;
    known.retain(|connection| {
        number += 1;
        number > newest || Arc::strong_count(connection) > 1
    });
}
