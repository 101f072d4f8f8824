//! What stands between a call and the network. Outside in: deadline, cache, retries, redirects, new
//! credentials after a refusal; then for each request that is sent: circuit, credentials, its turn and its
//! place among those that run at once, the transport, and the judgement of the answer. Each attempt passes all
//! of the inner ones, so that none of them goes uncounted or carries a signature that was used before.

mod cache;
mod circuit;
mod deadline;
mod gate;
mod quota;
mod redirect;
mod retry;
mod verdict;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use karez_api::{Class, Clock, Fault};
use tracing::warn;

use crate::auth::{Credentials, Stamp};
use crate::metrics::Metrics;
use crate::transport::{Carrier, place};
use crate::{Failure, Request, Response};
use cache::Ask;
pub(crate) use cache::{Cache, address as redis_address};
pub use circuit::CircuitState;
pub(crate) use circuit::{Circuit, Pass};
pub(crate) use deadline::Deadline;
pub(crate) use gate::Gate;
use gate::Load;
pub use quota::QuotaLeft;
pub(crate) use quota::Quotas;
use quota::Turn;
pub(crate) use retry::Retries;
pub(crate) use verdict::{Judge, Refusal};

/// Credentials that were put on a request longer ago than this are put on anew before it is sent.
const FRESH: Duration = Duration::from_secs(1);

/// The layers of one connection.
pub(crate) struct Layers {
    pub(crate) name: Arc<str>,
    pub(crate) carrier: Arc<dyn Carrier>,
    /// For requests to somebody else: it shows no certificate of ours.
    pub(crate) unnamed: Arc<dyn Carrier>,
    pub(crate) credentials: Option<Arc<dyn Credentials>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    pub(crate) circuit: Circuit,
    pub(crate) quotas: Quotas,
    pub(crate) gate: Gate,
    pub(crate) retries: Retries,
    pub(crate) judge: Judge,
    pub(crate) metrics: Metrics,
    /// Most bytes of an answer.
    pub(crate) limit: usize,
    pub(crate) follows: bool,
}

/// What lies behind the cache.
struct Beyond<'l> {
    layers: &'l Layers,
    deadline: &'l Deadline,
}

impl Ask for Beyond<'_> {
    async fn ask(self, request: Cow<'_, Request>) -> Result<Response, Failure> {
        self.layers.persistent(&request, self.deadline).await
    }
}

/// What came of one request.
struct Attempt {
    outcome: Result<Response, Refusal>,
    stamp: Option<Stamp>,
}

impl Layers {
    /// The end of a call that begins now.
    pub(crate) fn deadline(&self, timeout: Duration) -> Deadline {
        Deadline::after(timeout, self.clock.instant())
    }

    /// What has to be done before a request can be written.
    ///
    /// # Errors
    /// It takes longer than the call may.
    pub(crate) async fn in_time<T>(
        &self,
        request: &Request,
        deadline: &Deadline,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        deadline.within(&*self.clock, work).await.ok_or_else(|| deadline.not_sent(request).named())
    }

    /// # Errors
    /// What it came to, classified.
    pub(crate) async fn call(&self, request: &Request, deadline: &Deadline) -> Result<Response, Failure> {
        if !self.cache.concerns(request) {
            return self.persistent(request, deadline).await;
        }
        let beyond = Beyond { layers: self, deadline };
        self.cache.call(request, deadline, &self.metrics.cache, beyond).await
    }

    /// Tries again what may be tried again.
    async fn persistent(&self, request: &Request, deadline: &Deadline) -> Result<Response, Failure> {
        let mut attempts = 1;
        self.retries.earn();
        loop {
            let failure = match self.followed(request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(pause) = self.retries.after(request, &failure, attempts, rand::random()) else {
                return Err(failure);
            };
            if self.clock.instant() + pause >= deadline.at {
                return Err(failure);
            }
            self.clock.sleep(pause).await;
            attempts += 1;
            self.metrics.retried();
        }
    }

    /// Goes where redirects point, if the connection says so.
    async fn followed(&self, request: &Request, deadline: &Deadline) -> Result<Response, Failure> {
        let mut answer = self.authorized(request, deadline).await?;
        if !self.follows {
            return Ok(answer);
        }
        let mut request = Cow::Borrowed(request);
        let mut trusted = true;
        for _ in 0..redirect::MOST {
            let Some(hop) = redirect::hop(&request, &answer)? else { return Ok(answer) };
            // Whoever was left once gets nothing more, not even on the way back.
            trusted &= hop.trusted;
            let next = if trusted { hop.request } else { redirect::bare(hop.request) };
            answer = match trusted {
                true => self.authorized(&next, deadline).await?,
                false => self.foreign(&next, deadline).await?,
            };
            request = Cow::Owned(next);
        }
        match redirect::hop(&request, &answer)? {
            None => Ok(answer),
            Some(_) => Err(redirect::too_many(&request)),
        }
    }

    /// Sends it once more where other credentials may help.
    async fn authorized(&self, request: &Request, deadline: &Deadline) -> Result<Response, Failure> {
        let Attempt { outcome, stamp } = self.attempt(request, deadline).await?;
        let refusal = match outcome {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusal,
        };
        let (Some(credentials), Some(stamp), true, Some(answer)) =
            (&self.credentials, stamp, refusal.renewable, refusal.failure.response.as_deref())
        else {
            return Err(refusal.failure);
        };
        let renewed = deadline.within(&*self.clock, credentials.refused(stamp, answer)).await;
        if !renewed.unwrap_or(Ok(false)).map_err(Failure::not_sent)? {
            return Err(refusal.failure);
        }
        self.metrics.replayed();
        self.attempt(request, deadline).await?.outcome.map_err(|refusal| refusal.failure)
    }

    /// One request: what is in its way, the network, and what the answer means.
    async fn attempt(&self, request: &Request, deadline: &Deadline) -> Result<Attempt, Failure> {
        // The clock is looked at where time may have passed.
        let begun = self.clock.instant();
        let pass = self.admitted(request, begun)?;
        let mut stamp = None;
        let mut marked = Cow::Borrowed(request);
        if let Some(credentials) = &self.credentials {
            stamp = Some(self.mark(&**credentials, marked.to_mut(), deadline).await?);
        }
        let asked = self.clock.instant();
        let mut turn = self.turn(request, asked, deadline).await?;
        if turn.begun > asked {
            self.metrics.throttled(turn.begun - asked);
        }
        if let Some(credentials) = &self.credentials
            && turn.begun.saturating_duration_since(begun) > FRESH
        {
            let mut anew = request.clone();
            stamp = Some(self.mark(&**credentials, &mut anew, deadline).await?);
            marked = Cow::Owned(anew);
            turn.begun = self.clock.instant();
        }
        let outcome = self.exchange(request, marked.into_owned(), pass, turn, deadline).await;
        if let (Some(credentials), Some(stamp), Ok(answer)) = (&self.credentials, stamp, &outcome) {
            credentials.accepted(stamp, answer);
        }
        Ok(Attempt { outcome, stamp })
    }

    /// `marked` is the request as it is sent, which nobody needs after that.
    async fn exchange(
        &self,
        request: &Request,
        marked: Request,
        pass: Pass<'_>,
        turn: Turn<'_>,
        deadline: &Deadline,
    ) -> Result<Response, Refusal> {
        let answer = self.send(&*self.carrier, request, marked, deadline).await;
        let now = self.clock.instant();
        if let Ok(answer) = &answer {
            turn.answered(answer);
        }
        let outcome = match answer {
            Ok(answer) => self.judge.judge(request, answer, self.clock.now()),
            Err(failure) => Err(Refusal { failure, renewable: false }),
        };
        let class = outcome.as_ref().err().map(|refusal| refusal.failure.fault.class());
        let took = now.saturating_duration_since(turn.begun);
        self.metrics.answered(class, took);
        turn.done(load(class), took, now);
        if pass.settle(outcome.as_ref().is_err_and(|refusal| is_trouble(&refusal.failure)), now) {
            warn!(connection = %self.name, "too many calls failed, so the far end is left alone for a while");
        }
        outcome
    }

    /// A request to somebody else, to whom we say nothing of ourselves.
    async fn foreign(&self, request: &Request, deadline: &Deadline) -> Result<Response, Failure> {
        let answer = self.send(&*self.unnamed, request, request.clone(), deadline).await?;
        self.judge.judge(request, answer, self.clock.now()).map_err(|refusal| refusal.failure)
    }

    async fn send(
        &self,
        carrier: &dyn Carrier,
        request: &Request,
        marked: Request,
        deadline: &Deadline,
    ) -> Result<Response, Failure> {
        let answer = deadline.within(&*self.clock, carrier.send(marked, self.limit)).await;
        answer.unwrap_or_else(|| Err(deadline.not_answered(request)))
    }

    /// Puts the credentials on a request.
    async fn mark(
        &self,
        credentials: &dyn Credentials,
        request: &mut Request,
        deadline: &Deadline,
    ) -> Result<Stamp, Failure> {
        let marked = deadline.within(&*self.clock, credentials.apply(request)).await;
        let Some(marked) = marked else {
            self.metrics.turned_away();
            return Err(deadline.not_sent(request));
        };
        marked.map_err(|fault| self.not_sent(fault))
    }

    fn admitted(&self, request: &Request, now: Instant) -> Result<Pass<'_>, Failure> {
        self.circuit.enter(now).map_err(|rest| {
            let to = place(&request.method, &request.url);
            let message = format!(
                "{to} was not sent: too many of the last calls of connection {} failed; the next try is in {} s",
                self.name,
                rest.as_secs().max(1)
            );
            self.not_sent(Fault::connection(message).with_code("circuit_open").with_retry_after(Some(rest)))
        })
    }

    async fn turn(&self, request: &Request, now: Instant, deadline: &Deadline) -> Result<Turn<'_>, Failure> {
        let to = (&request.method, &request.url);
        self.quotas.turn(to, &self.gate, &*self.clock, (now, deadline.at)).await.map_err(|fault| {
            let message = format!("{} was not sent: {fault}", place(to.0, to.1));
            self.not_sent(fault.with_message(message))
        })
    }

    fn not_sent(&self, fault: Fault) -> Failure {
        self.metrics.turned_away();
        Failure::not_sent(fault)
    }
}

/// Whether a failure says that the far end is in trouble: an address that is not called says nothing of it, and who
/// says when to come again is asked then.
fn is_trouble(failure: &Failure) -> bool {
    let fault = &failure.fault;
    matches!(fault.class(), Class::Connection | Class::Service)
        && fault.code() != "private_address"
        && fault.retry_after().is_none()
}

/// What the outcome of a call says of the far end's load.
fn load(class: Option<Class>) -> Load {
    match class {
        None | Some(Class::Validation) => Load::Good,
        Some(Class::RateLimit | Class::Connection | Class::Service) => Load::Pressed,
        Some(Class::Auth | Class::Fatal) => Load::Silent,
    }
}

/// Nothing that is done under these locks panics; and if it did, counters are no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
