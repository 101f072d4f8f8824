//! Leaves a far end alone for a while when too many of the last calls failed. Then one call tries.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::lock;
use crate::spec::CircuitSpec;

pub(super) const WINDOW: u32 = 20;
const FAILURES: u8 = 50;
const OPEN: Duration = Duration::from_secs(30);
/// How long it is open at first; twice as long each time that the far end is still not back.
const FIRST: Duration = Duration::from_millis(500);
/// It is never worth asking again sooner than after this.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Circuit {
    window: usize,
    /// Failures that open it, in percent.
    failures: usize,
    /// At most.
    open: Duration,
    state: Mutex<State>,
    /// The call that tries has ended.
    tried: Notify,
}

/// Why a call is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// It is open: how long it stays so at least.
    For(Duration),
    /// Another call tries whether the far end is back.
    Tried,
}

#[derive(Default)]
struct State {
    /// The last calls: whether each failed.
    last: VecDeque<bool>,
    failed: usize,
    opened: Option<Instant>,
    /// For how long.
    pause: Duration,
    /// A call tries whether the far end is back.
    trying: bool,
}

/// For status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    Closed,
    Open,
    /// The time is over; the next call tries, or one does already.
    HalfOpen,
}

/// A call that was let through. One that is given up says nothing about the far end.
pub(crate) struct Pass<'a> {
    circuit: &'a Circuit,
    /// It is the one that tries.
    tries: bool,
    settled: bool,
}

impl Circuit {
    pub(crate) fn new(spec: &CircuitSpec) -> Self {
        Self {
            window: spec.window.unwrap_or(WINDOW).max(1) as usize,
            failures: spec.failures.unwrap_or(FAILURES).into(),
            open: spec.open.map_or(OPEN, |open| open.0),
            state: Mutex::default(),
            tried: Notify::new(),
        }
    }

    /// # Errors
    /// The far end is left alone.
    pub(crate) fn enter(&self, now: Instant) -> Result<Pass<'_>, Shut> {
        let mut state = lock(&self.state);
        if let Some(opened) = state.opened {
            let rest = (opened + state.pause).saturating_duration_since(now);
            if !rest.is_zero() {
                return Err(Shut::For(rest.max(AGAIN)));
            }
            if state.trying {
                return Err(Shut::Tried);
            }
            state.trying = true;
        }
        Ok(Pass { circuit: self, tries: state.trying, settled: false })
    }

    /// Whether a call tries now.
    pub(crate) fn is_tried(&self) -> bool {
        lock(&self.state).trying
    }

    /// Is over when the call that tries has ended.
    pub(crate) fn tried(&self) -> Notified<'_> {
        self.tried.notified()
    }

    pub(crate) fn state(&self, now: Instant) -> CircuitState {
        let state = lock(&self.state);
        match state.opened {
            None => CircuitState::Closed,
            Some(opened) if now < opened + state.pause => CircuitState::Open,
            Some(_) => CircuitState::HalfOpen,
        }
    }
}

impl Pass<'_> {
    /// Yields whether the circuit opened.
    pub(crate) fn settle(mut self, failed: bool, now: Instant) -> bool {
        self.settled = true;
        let mut state = lock(&self.circuit.state);
        if state.opened.is_some() {
            // Calls from before it opened may end now; only the one that tries decides.
            if !self.tries {
                return false;
            }
            state.trying = false;
            self.circuit.tried.notify_waiters();
            state.opened = failed.then_some(now);
            state.pause = (state.pause * 2).min(self.circuit.open);
            state.last.clear();
            state.failed = 0;
            return failed;
        }
        state.last.push_back(failed);
        state.failed += usize::from(failed);
        if state.last.len() > self.circuit.window && state.last.pop_front() == Some(true) {
            state.failed -= 1;
        }
        let enough = state.last.len() >= self.circuit.window.div_ceil(2);
        let opens =
            enough && state.failed * 100 >= state.last.len() * self.circuit.failures && state.failed > 0;
        if opens {
            state.opened = Some(now);
            state.pause = FIRST.min(self.circuit.open);
        }
        opens
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.tries && !self.settled {
            lock(&self.circuit.state).trying = false;
            self.circuit.tried.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit(window: u32) -> Circuit {
        Circuit::new(&CircuitSpec { window: Some(window), ..CircuitSpec::default() })
    }

    fn run(circuit: &Circuit, outcomes: &str, now: Instant) {
        for outcome in outcomes.chars() {
            circuit.enter(now).ok().unwrap().settle(outcome == 'x', now);
        }
    }

    #[test]
    fn it_opens_when_half_of_enough_calls_failed() {
        let now = Instant::now();
        for (outcomes, open) in
            [("xxxx", false), ("xxxxx", true), (".x.x.", false), (".x.x.x", true), ("....", false)]
        {
            let circuit = circuit(10);
            run(&circuit, outcomes, now);
            assert_eq!(circuit.state(now) == CircuitState::Open, open, "{outcomes}");
        }
    }

    #[test]
    fn old_calls_are_forgotten() {
        let now = Instant::now();
        let circuit = circuit(4);
        run(&circuit, "....x..", now);
        run(&circuit, ".x", now);
        assert_eq!(circuit.state(now), CircuitState::Closed);
        run(&circuit, "x", now);
        assert_eq!(circuit.state(now), CircuitState::Open);
    }

    #[test]
    fn after_a_while_one_call_tries() {
        let now = Instant::now();
        let circuit = circuit(4);
        run(&circuit, "xx", now);
        assert_eq!(circuit.enter(now).err(), Some(Shut::For(FIRST)));
        let later = now + FIRST;
        assert_eq!(circuit.state(later), CircuitState::HalfOpen);
        let first = circuit.enter(later).ok().unwrap();
        assert_eq!(circuit.enter(later).err(), Some(Shut::Tried), "another one waits for what comes of it");
        first.settle(true, later);
        assert_eq!(circuit.enter(later).err(), Some(Shut::For(2 * FIRST)), "it is still not back");
        let later = later + 2 * FIRST;
        circuit.enter(later).ok().unwrap().settle(false, later);
        assert_eq!(circuit.state(later), CircuitState::Closed);
    }

    #[test]
    fn it_stays_open_for_no_longer_than_it_may() {
        let mut now = Instant::now();
        let circuit = circuit(4);
        run(&circuit, "xx", now);
        for _ in 0..12 {
            now += OPEN;
            circuit.enter(now).ok().unwrap().settle(true, now);
        }
        assert_eq!(circuit.enter(now).err(), Some(Shut::For(OPEN)));
    }

    #[test]
    fn a_call_that_was_given_up_lets_another_try() {
        let now = Instant::now();
        let circuit = circuit(4);
        run(&circuit, "xx", now);
        let later = now + FIRST;
        drop(circuit.enter(later).ok().unwrap());
        assert!(circuit.enter(later).is_ok());
    }
}
