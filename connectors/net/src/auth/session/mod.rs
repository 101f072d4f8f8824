//! Two steps: a call yields a token that goes with the others. Many who wait for it wait for one call, and a log-in
//! that failed is not tried again at once: far ends lock who tries too often.

mod login;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use karez_api::{Class, Clock, Fault, Millis, Path, Problem, Tasks};
use tokio::sync::Mutex;

use super::{AuthMetrics, AuthStatus, Build, Credentials, Spot, Stamp};
use crate::spec::{Place, Session};
use crate::transport::Carrier;
use crate::{Request, Response};
use login::{LogIn, LoggedIn, TIMEOUT};

/// Longest before its end that a token is replaced; at most a tenth of its life.
const MARGIN: u64 = 60_000;
/// How long after a failed log-in the next one is made, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A token that is refused sooner than this is refused for another reason than its age.
const YOUNG: Duration = Duration::from_secs(10);

pub(crate) struct SessionCredentials {
    name: Arc<str>,
    log_in: Arc<LogIn>,
    spot: Spot,
    prefix: String,
    carrier: Arc<dyn Carrier>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    state: Mutex<State>,
    metrics: Arc<AuthMetrics>,
    shown: RwLock<Shown>,
}

/// What others see without waiting for a log-in that is under way.
struct Shown {
    kept: BTreeMap<String, String>,
    status: AuthStatus,
}

#[derive(Default)]
struct State {
    token: Option<Held>,
    /// Goes up with each token.
    turn: u64,
    failure: Option<Failed>,
    /// Under way. Whoever waits for it may give up: it goes on, and the next one waits for the same.
    call: Option<Call>,
}

type Call = Shared<BoxFuture<'static, Result<Arc<LoggedIn>, Fault>>>;

struct Held {
    got: Arc<LoggedIn>,
    at: Instant,
    /// When it is replaced.
    until: Option<Millis>,
}

/// A log-in that failed: until when its fault stands for the next one.
struct Failed {
    fault: Fault,
    until: Instant,
    pause: Duration,
}

impl SessionCredentials {
    pub(super) fn new(spec: &Session, cx: &Build) -> Result<Self, String> {
        Ok(Self {
            name: Arc::clone(&cx.name),
            log_in: Arc::new(LogIn::read(spec, cx.base.as_ref())?),
            spot: Spot::read(&place(spec))?,
            prefix: spec.prefix.clone().unwrap_or_else(|| default_prefix(spec).into()),
            carrier: Arc::clone(&cx.carrier),
            clock: Arc::clone(&cx.clock),
            tasks: Arc::clone(&cx.tasks),
            state: Mutex::default(),
            metrics: Arc::clone(&cx.metrics),
            shown: RwLock::new(Shown {
                kept: BTreeMap::new(),
                status: AuthStatus { state: "idle", ..AuthStatus::default() },
            }),
        })
    }

    /// Logs in, unless it failed a moment ago.
    async fn renew(&self, state: &mut State) -> Result<(), Fault> {
        let now = self.clock.instant();
        if let Some(failed) = state.failure.as_ref().filter(|failed| now < failed.until) {
            return Err(failed.fault.clone());
        }
        let asked = self.clock.now();
        let call = state.call.get_or_insert_with(|| self.call(asked)).clone();
        let result = call.await;
        state.call = None;
        match result {
            Ok(got) => {
                self.metrics.refreshes.add();
                let status = AuthStatus { expires_at: got.expires, ..AuthStatus::default() };
                self.show(Shown { kept: got.kept.clone(), status });
                let until =
                    got.expires.map(|end| Millis(end.0 - MARGIN.min(end.0.saturating_sub(asked.0) / 10)));
                state.token = Some(Held { got, at: self.clock.instant(), until });
                state.turn += 1;
                state.failure = None;
                Ok(())
            }
            Err(fault) => {
                let fault = fault.clone().with_message(format!("{}: {}", self.name, fault.message()));
                self.metrics.failures.add();
                let why = Some(fault.message().to_owned());
                let expires_at = state.token.as_ref().and_then(|held| held.got.expires);
                let status = AuthStatus { state: "failing", why, expires_at, ..AuthStatus::default() };
                self.show(Shown { kept: self.kept(), status });
                let longer = state.failure.as_ref().map_or(PAUSE, |failed| failed.pause * 2);
                let pause = fault.retry_after().unwrap_or_default().max(longer.min(LONGEST_PAUSE));
                let until = self.clock.instant() + pause;
                state.failure =
                    Some(Failed { fault: fault.clone(), until, pause: longer.min(LONGEST_PAUSE) });
                Err(fault)
            }
        }
    }

    fn call(&self, asked: Millis) -> Call {
        let (log_in, carrier) = (Arc::clone(&self.log_in), Arc::clone(&self.carrier));
        let late = self.clock.sleep(TIMEOUT);
        // Nobody's own time ends it: it has one of its own, or all who come later would wait for it, too.
        let call = async move {
            tokio::select! {
                done = log_in.call(&*carrier, asked) => done.map(Arc::new),
                () = late => Err(Fault::connection(format!("the log-in gave no answer within {}s", TIMEOUT.as_secs()))),
            }
        };
        let call = call.boxed().shared();
        self.tasks.spawn("log-in", Box::pin(call.clone().map(drop)));
        call
    }

    fn show(&self, shown: Shown) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn shown(&self) -> std::sync::RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Credentials for SessionCredentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let due = |held: &Held| held.until.is_some_and(|until| until <= now);
        if state.token.as_ref().is_some_and(|held| held.got.expires.is_some_and(|end| end <= now)) {
            self.metrics.expirations.add();
            state.token = None;
        }
        if state.token.as_ref().is_none_or(due) {
            let renewed = self.renew(&mut state).await;
            // What is replaced early is good for a while yet.
            if state.token.is_none() {
                renewed?;
            }
        }
        let held = state.token.as_ref().ok_or_else(|| Fault::auth("there is no token"))?;
        self.spot.put(request, &format!("{}{}", self.prefix, held.got.token.expose()))?;
        Ok(Stamp(state.turn))
    }

    async fn refused(&self, stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        let mut state = self.state.lock().await;
        if stamp.0 != state.turn {
            return Ok(true);
        }
        let young = |held: &Held| self.clock.instant().saturating_duration_since(held.at) < YOUNG;
        if state.token.as_ref().is_some_and(young) {
            return Ok(false);
        }
        state.token = None;
        self.renew(&mut state).await.map(|()| true)
    }

    async fn prepare(&self) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        match state.token {
            Some(_) => Ok(()),
            None => self.renew(&mut state).await,
        }
    }

    fn kept(&self) -> BTreeMap<String, String> {
        self.shown().kept.clone()
    }

    fn status(&self) -> AuthStatus {
        self.shown().status.clone()
    }
}

fn place(spec: &Session) -> Place {
    spec.place.clone().unwrap_or_else(|| Place::Header("Authorization".into()))
}

/// A token in a place that the file names stands there alone.
fn default_prefix(spec: &Session) -> &'static str {
    match spec.place {
        None => "Bearer ",
        Some(_) => "",
    }
}

pub(super) fn check(spec: &Session, at: &Path, problems: &mut Vec<Problem>) {
    login::check(spec, at, problems);
    if let Some(place) = &spec.place {
        super::place::check(place, &at.field("in"), problems);
    }
    if let (Ok(spot), Some(prefix)) = (Spot::read(&place(spec)), &spec.prefix)
        && let Err(what) = spot.takes(prefix.trim_end())
    {
        problems.push(Problem::error("bad-prefix", at.field("prefix"), what));
    }
}

/// Whether a human has to look at it.
pub(super) fn class_of(status: http::StatusCode) -> Class {
    match status.as_u16() {
        429 => Class::RateLimit,
        500..=599 => Class::Service,
        408 | 425 => Class::Connection,
        _ => Class::Auth,
    }
}

#[cfg(test)]
mod tests;
