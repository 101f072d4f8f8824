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
mod rules;
mod verdict;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use karez_api::{Class, Clock, Fault};
use tracing::warn;

use crate::auth::{Credentials, Stamp};
use crate::metrics::Metrics;
use crate::tally::Saying;
use crate::transport::{Carrier, Rest, place};
use crate::{Failure, Request, Response};
use cache::Ask;
pub(crate) use cache::{Cache, address as redis_address};
pub use circuit::CircuitState;
pub(crate) use circuit::{Circuit, Pass, Shut};
pub(crate) use deadline::Deadline;
pub(crate) use gate::Gate;
use gate::Load;
pub use quota::QuotaLeft;
pub(crate) use quota::Quotas;
use quota::Turn;
pub(crate) use retry::Retries;
pub use rules::Rules;
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

/// One call, with all of its attempts.
struct Call {
    deadline: Deadline,
    /// Where the body of the answer is left that is not read as a whole, if the caller wants it so.
    rest: Option<Mutex<Option<Rest>>>,
}

/// What lies behind the cache.
struct Beyond<'l> {
    layers: &'l Layers,
    call: &'l Call,
}

impl Ask for Beyond<'_> {
    async fn ask(self, request: Cow<'_, Request>) -> Result<Response, Failure> {
        self.layers.persistent(&request, self.call).await
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
    pub(crate) async fn call(&self, request: &Request, deadline: Deadline) -> Result<Response, Failure> {
        let call = Call { deadline, rest: None };
        if !self.cache.concerns(request) {
            return self.persistent(request, &call).await;
        }
        let beyond = Beyond { layers: self, call: &call };
        let answer = self.cache.call(request, &call.deadline, &self.metrics.cache, beyond).await?;
        match answer.cached {
            // Whoever asked when it came may have had other rules.
            true => self.judged(request, answer),
            false => Ok(answer),
        }
    }

    /// As [`Layers::call`], but the body of a good answer has only begun to come, and the answer is never one of before.
    /// The call is over as far as turns and places are concerned: who reads for long keeps nobody else waiting.
    ///
    /// # Errors
    /// As [`Layers::call`].
    pub(crate) async fn begin(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> Result<(Response, Option<Rest>), Failure> {
        let call = Call { deadline, rest: Some(Mutex::default()) };
        let answer = self.persistent(request, &call).await?;
        let rest = call.rest.and_then(|rest| rest.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok((answer, rest))
    }

    /// Tries again what may be tried again.
    async fn persistent(&self, request: &Request, call: &Call) -> Result<Response, Failure> {
        let mut attempts = 1;
        let mut saying = Saying::First;
        self.retries.earn();
        loop {
            let failure = match self.followed(request, saying, call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(pause) = self.retries.after(request, &failure, attempts, rand::random()) else {
                return Err(failure);
            };
            if self.clock.instant() + pause >= call.deadline.at {
                return Err(failure);
            }
            self.clock.sleep(pause).await;
            if let (Some(tally), Some(_)) = (&request.tally, failure.fault.retry_after()) {
                tally.waited(pause);
            }
            saying = Saying::Again;
            attempts += 1;
            self.metrics.retried();
        }
    }

    /// Goes where redirects point, if the connection says so.
    async fn followed(&self, request: &Request, saying: Saying, call: &Call) -> Result<Response, Failure> {
        let mut answer = self.authorized(request, saying, call).await?;
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
                true => self.authorized(&next, Saying::First, call).await?,
                false => self.foreign(&next, call).await?,
            };
            request = Cow::Owned(next);
        }
        match redirect::hop(&request, &answer)? {
            None => Ok(answer),
            Some(_) => Err(redirect::too_many(&request)),
        }
    }

    /// Sends it once more where other credentials may help.
    async fn authorized(&self, request: &Request, saying: Saying, call: &Call) -> Result<Response, Failure> {
        let Attempt { outcome, stamp } = self.attempt(request, saying, call).await?;
        let refusal = match outcome {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusal,
        };
        let (Some(credentials), Some(stamp), true, Some(answer)) =
            (&self.credentials, stamp, refusal.renewable, refusal.failure.response.as_deref())
        else {
            return Err(refusal.failure);
        };
        let renewed = call.deadline.within(&*self.clock, credentials.refused(stamp, answer)).await;
        if !renewed.unwrap_or(Ok(false)).map_err(Failure::not_sent)? {
            return Err(refusal.failure);
        }
        self.metrics.replayed();
        let Attempt { outcome, .. } = self.attempt(request, Saying::Again, call).await?;
        outcome.map_err(|refusal| refusal.failure)
    }

    /// One request: what is in its way, the network, and what the answer means.
    async fn attempt(&self, request: &Request, saying: Saying, call: &Call) -> Result<Attempt, Failure> {
        // The clock is looked at where time may have passed.
        let (pass, begun) = self.admitted(request, call).await?;
        let mut stamp = None;
        let mut marked = Cow::Borrowed(request);
        if let Some(credentials) = &self.credentials {
            stamp = Some(self.mark(&**credentials, marked.to_mut(), call).await?);
        }
        let asked = self.clock.instant();
        let turn = self.turn(request, asked, call).await;
        let ended = turn.as_ref().map_or_else(|_| self.clock.instant(), |turn| turn.begun);
        if ended > asked {
            self.metrics.throttled(ended - asked);
            if let Some(tally) = &request.tally {
                tally.waited(ended - asked);
            }
        }
        let mut turn = turn?;
        if let Some(credentials) = &self.credentials
            && turn.begun.saturating_duration_since(begun) > FRESH
        {
            let mut anew = request.clone();
            stamp = Some(self.mark(&**credentials, &mut anew, call).await?);
            marked = Cow::Owned(anew);
            turn.begun = self.clock.instant();
        }
        let outcome = self.exchange(request, (marked.into_owned(), saying), pass, turn, call).await;
        if let (Some(credentials), Some(stamp), Ok(answer)) = (&self.credentials, stamp, &outcome) {
            credentials.accepted(stamp, answer);
        }
        Ok(Attempt { outcome, stamp })
    }

    /// `marked` is the request as it is sent, which nobody needs after that.
    async fn exchange(
        &self,
        request: &Request,
        marked: (Request, Saying),
        pass: Pass<'_>,
        turn: Turn<'_>,
        call: &Call,
    ) -> Result<Response, Refusal> {
        let answer = self.send(&*self.carrier, request, marked, call).await;
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
    async fn foreign(&self, request: &Request, call: &Call) -> Result<Response, Failure> {
        let marked = (request.clone(), Saying::First);
        let answer = self.send(&*self.unnamed, request, marked, call).await?;
        self.judged(request, answer)
    }

    fn judged(&self, request: &Request, answer: Response) -> Result<Response, Failure> {
        self.judge.judge(request, answer, self.clock.now()).map_err(|refusal| refusal.failure)
    }

    async fn send(
        &self,
        carrier: &dyn Carrier,
        request: &Request,
        (marked, saying): (Request, Saying),
        call: &Call,
    ) -> Result<Response, Failure> {
        if let Some(tally) = &request.tally {
            tally.sent(saying);
        }
        let answer = call.deadline.within(&*self.clock, self.carry(carrier, marked, call)).await;
        let answer = answer.unwrap_or_else(|| Err(call.deadline.not_answered(request)));
        if let (Some(tally), Ok(answer)) = (&request.tally, &answer) {
            tally.answered(answer);
        }
        answer
    }

    async fn carry(&self, carrier: &dyn Carrier, marked: Request, call: &Call) -> Result<Response, Failure> {
        let limit =
            marked.max_response.map_or(self.limit, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let Some(slot) = &call.rest else { return carrier.send(marked, limit).await };
        let (answer, rest) = carrier.begin(marked, limit).await?;
        // The answer of an attempt before this one is given up.
        *lock(slot) = rest;
        Ok(answer)
    }

    /// Puts the credentials on a request.
    async fn mark(
        &self,
        credentials: &dyn Credentials,
        request: &mut Request,
        call: &Call,
    ) -> Result<Stamp, Failure> {
        let marked = call.deadline.within(&*self.clock, credentials.apply(request)).await;
        let Some(marked) = marked else {
            self.metrics.turned_away();
            return Err(call.deadline.not_sent(request));
        };
        marked.map_err(|fault| self.not_sent(fault))
    }

    /// Let through, and when. Where another call tries whether the far end is back, its outcome is waited for: whoever
    /// was turned away for it might make its caller give up the one that tries, again and again.
    async fn admitted(&self, request: &Request, call: &Call) -> Result<(Pass<'_>, Instant), Failure> {
        let rest = loop {
            let now = self.clock.instant();
            let mut tried = pin!(self.circuit.tried());
            match self.circuit.enter(now) {
                Ok(pass) => return Ok((pass, now)),
                Err(Shut::For(rest)) => break rest,
                Err(Shut::Tried) => {}
            }
            // Told from now on: if it has ended since, nobody tries any more.
            tried.as_mut().enable();
            if self.circuit.is_tried() && call.deadline.within(&*self.clock, tried).await.is_none() {
                break circuit::AGAIN;
            }
        };
        let to = place(&request.method, &request.url);
        let message = format!(
            "{to} was not sent: too many of the last calls of connection {} failed; the next try is in {} s",
            self.name,
            rest.as_secs().max(1)
        );
        let fault = Fault::connection(message).with_code("circuit_open").with_retry_after(Some(rest));
        Err(self.not_sent(fault))
    }

    async fn turn(&self, request: &Request, now: Instant, call: &Call) -> Result<Turn<'_>, Failure> {
        let to = (&request.method, &request.url);
        let times = (now, call.deadline.at);
        self.quotas.turn(to, &self.gate, &*self.clock, times).await.map_err(|fault| {
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
