//! Tokens that are shared by all who use a connection: what is in use, what is wrong, and at most one renewal at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use karez_api::{Fault, Tasks};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::client::Client;
use super::dpop::DpopKey;
use super::held::Held;
use super::refusal::Refusal;
use super::renewal::Unsaved;
use super::slot::Slot;
use super::token::{Intent, Tokens};
use super::trouble::{Stop, Trouble};
use crate::auth::metrics::AuthMetrics;
use crate::spec::ClientAuth;

/// A token that is refused this soon after it came is not renewed: another one would fare no better.
const TOO_NEW: Duration = Duration::from_secs(10);

/// This process, among those that write to a vault one after the other.
pub(super) static RUN: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

pub(crate) struct Live {
    pub(crate) client: Client,
    pub(super) slot: Slot,
    tasks: Arc<dyn Tasks>,
    metrics: Arc<AuthMetrics>,
    current: ArcSwapOption<Held>,
    dpop: ArcSwapOption<DpopKey>,
    stamps: AtomicU64,
    flight: Mutex<Option<Flight>>,
    trouble: Mutex<Trouble>,
    unsaved: Mutex<Option<Unsaved>>,
    /// The attempt that is ours among those on record.
    attempt: Mutex<Option<String>>,
    /// Something changed that decides when to renew.
    pub(super) changed: Arc<Notify>,
}

/// What came of a renewal, once it is over.
type Flight = watch::Receiver<Option<Result<(), Fault>>>;

impl Live {
    pub(super) fn new(client: Client, slot: Slot, tasks: Arc<dyn Tasks>, metrics: Arc<AuthMetrics>) -> Self {
        Self {
            client,
            slot,
            tasks,
            metrics,
            current: ArcSwapOption::empty(),
            dpop: ArcSwapOption::empty(),
            stamps: AtomicU64::new(1),
            flight: Mutex::default(),
            trouble: Mutex::default(),
            unsaved: Mutex::default(),
            attempt: Mutex::default(),
            changed: Arc::default(),
        }
    }

    /// A token that counts.
    ///
    /// # Errors
    /// There is none, and none can be got now.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<Held>, Fault> {
        let current = self.current.load_full();
        let now = self.client.clock.instant();
        if let Some(held) = current.as_ref().filter(|held| !held.is_expired(now)) {
            if held.is_first_use() {
                self.changed.notify_one();
            }
            return Ok(Arc::clone(held));
        }
        if current.as_ref().is_some_and(|held| held.tell_expired()) {
            self.metrics.expirations.add();
        }
        self.renewed_beyond(current.map(|held| held.stamp)).await?;
        let held = self.current.load_full();
        let held =
            held.ok_or_else(|| Fault::auth(format!("connection {} has no token", self.client.name)))?;
        if held.is_first_use() {
            self.changed.notify_one();
        }
        Ok(held)
    }

    /// The far end refused the token of this stamp. True where there is another one now.
    ///
    /// # Errors
    /// It cannot be renewed now.
    pub(crate) async fn refused(self: &Arc<Self>, stamp: u64) -> Result<bool, Fault> {
        self.metrics.failures.add();
        let Some(current) = self.current.load_full() else {
            return Ok(true);
        };
        if current.stamp != stamp {
            return Ok(true);
        }
        if self.client.clock.instant().saturating_duration_since(current.obtained) < TOO_NEW {
            return Ok(false);
        }
        self.renewed_beyond(Some(stamp)).await?;
        Ok(true)
    }

    /// Waits for tokens other than those of `stale`. Whoever comes while they are fetched waits for the same ones; it
    /// goes on when nobody waits any more, for what comes must not be lost.
    ///
    /// # Errors
    /// They cannot be had now.
    pub(crate) async fn renewed_beyond(self: &Arc<Self>, stale: Option<u64>) -> Result<(), Fault> {
        let Some(mut flight) = self.flight(stale)? else {
            return Ok(());
        };
        let ended = |_| Fault::connection(format!("connection {} is being closed", self.client.name));
        let outcome = flight.wait_for(Option::is_some).await.map_err(ended)?;
        outcome.clone().unwrap_or(Ok(()))
    }

    fn flight(self: &Arc<Self>, stale: Option<u64>) -> Result<Option<Flight>, Fault> {
        let mut flight = lock(&self.flight);
        if let Some(flight) = flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Ok(Some(flight.clone()));
        }
        let current = self.current.load_full();
        if current.as_ref().map(|held| held.stamp) != stale {
            return Ok(None);
        }
        if let Some(fault) = lock(&self.trouble).holds(self.client.clock.instant()) {
            return Err(fault);
        }
        let (over, waiting) = watch::channel(None);
        *flight = Some(waiting.clone());
        drop(flight);
        let live = Arc::clone(self);
        let renewal = async move {
            let outcome = live.renew(current).await;
            let outcome = live.judge(outcome);
            *lock(&live.flight) = None;
            live.changed.notify_one();
            let is_renewed = outcome.is_ok();
            over.send_replace(Some(outcome));
            if is_renewed {
                live.learn_expiry().await;
            }
        };
        self.tasks.spawn("token renewal", Box::pin(renewal));
        Ok(Some(waiting))
    }

    fn judge(&self, outcome: Result<(), Stop>) -> Result<(), Fault> {
        let (connection, now) = (&*self.client.name, self.client.clock.instant());
        let mut trouble = lock(&self.trouble);
        match outcome {
            Ok(()) => {
                *trouble = Trouble::default();
                Ok(())
            }
            Err(stop) => {
                let known = trouble.needs_login().is_some();
                // While a human is waited for, only the vault is asked: that is no failure more.
                if !known || !matches!(stop, Stop::NeedsLogin(_)) {
                    self.metrics.failures.add();
                }
                let fault = trouble.record(connection, stop.clone(), now, rand::random());
                match stop {
                    Stop::NeedsLogin(_) if known => {}
                    Stop::NeedsLogin(why) => tracing::error!(connection, why, "a log-in is needed"),
                    Stop::Refused(_) => tracing::error!(connection, %fault, "tokens are refused"),
                    Stop::Passing(_) => {
                        tracing::warn!(connection, %fault, "tokens cannot be renewed now, will retry")
                    }
                }
                Err(fault)
            }
        }
    }

    /// These tokens are in use from now on. They are where they have to be on disk.
    pub(super) fn adopt(&self, tokens: Tokens) {
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        let jitter = rand::random::<f64>().mul_add(2.0, -1.0);
        let held = Held::new(stamp, tokens, &*self.client.clock, jitter);
        self.current.store(Some(Arc::new(held)));
        self.changed.notify_one();
    }

    /// More is known of the tokens of `held`, unless others are in use by now.
    pub(super) fn amend(&self, held: &Arc<Held>, tokens: Tokens) {
        let jitter = rand::random::<f64>().mul_add(2.0, -1.0);
        let amended = Held::new(held.stamp, tokens, &*self.client.clock, jitter);
        drop(self.current.compare_and_swap(&Some(Arc::clone(held)), Some(Arc::new(amended))));
        self.changed.notify_one();
    }

    /// A log-in brought them: whatever was wrong is over.
    pub(super) fn adopt_log_in(&self, tokens: Tokens, key: Option<DpopKey>) {
        drop(self.take_unsaved());
        self.set_dpop(key);
        self.adopt(tokens);
        *lock(&self.trouble) = Trouble::default();
    }

    /// Nobody is logged in any more.
    pub(super) fn forget(&self) {
        drop(self.take_unsaved());
        self.current.store(None);
        *lock(&self.trouble) = Trouble::default();
        self.changed.notify_one();
    }

    pub(crate) fn current(&self) -> Option<Arc<Held>> {
        self.current.load_full()
    }

    pub(super) fn with_trouble<T>(&self, look: impl FnOnce(&Trouble) -> T) -> T {
        look(&lock(&self.trouble))
    }

    /// When the next attempt is allowed.
    pub(super) fn held_until(&self) -> Option<Instant> {
        lock(&self.trouble).until()
    }

    pub(crate) fn dpop(&self) -> Option<Arc<DpopKey>> {
        self.dpop.load_full()
    }
    pub(super) fn set_dpop(&self, key: Option<DpopKey>) {
        self.dpop.store(key.map(Arc::new));
    }
    pub(super) fn take_unsaved(&self) -> Option<Unsaved> {
        lock(&self.unsaved).take()
    }
    pub(super) fn put_unsaved(&self, unsaved: Unsaved) {
        *lock(&self.unsaved) = Some(unsaved);
    }
    pub(super) fn set_attempt(&self, attempt: Option<String>) {
        *lock(&self.attempt) = attempt;
    }
    /// An attempt that nobody goes on with: ours that failed, or that of a process that has ended.
    pub(super) fn is_left_behind(&self, intent: &Intent) -> bool {
        let has_ended = intent.run != *RUN && !self.slot.is_shared();
        has_ended || lock(&self.attempt).as_ref() == Some(&intent.attempt)
    }
    pub(super) fn count_refresh(&self) {
        self.metrics.refreshes.add();
    }

    /// What a human can do about it.
    pub(super) fn explained(&self, refusal: &Refusal) -> Fault {
        let fault = refusal.fault();
        let spec = &self.client.spec;
        let hint = match (fault.code(), spec.grant.is_repeatable()) {
            ("invalid_client" | "unauthorized_client", _) if spec.client_auth == ClientAuth::Tls => {
                "look at `client_id`, `tls.certificate` and the certificate that is registered there"
            }
            ("invalid_client" | "unauthorized_client", _) => {
                "look at `client_id`, its secret or key, and `client_auth`"
            }
            ("invalid_scope", _) => "look at `scopes`",
            (_, true) => "look at the settings of its grant, and at our clock",
            (_, false) => "look at its settings, and at the client's registration there",
        };
        let message = format!("connection {}: {}; {hint}", self.client.name, fault.message());
        fault.with_message(message)
    }

    pub(super) fn warn_of_missing_scopes(&self, tokens: &Tokens) {
        let Some(granted) = &tokens.scope else { return };
        let granted: Vec<&str> = granted.split([' ', ',']).collect();
        let is_missing = |scope: &&String| !granted.contains(&scope.as_str()) && *scope != "offline_access";
        let missing: Vec<&String> = self.client.spec.scopes.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            tracing::warn!(connection = %self.client.name, ?missing, "the server granted less than was asked for");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
