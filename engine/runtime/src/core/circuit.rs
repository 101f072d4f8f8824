//! Whether a sink may be tried at this moment: closed while records get through, open after
//! failures in a row, then one probe at a time.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row, of class connection or service, after which it opens.
const THRESHOLD: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    Open,
    /// Open, with a probe on its way.
    Probing,
}

#[derive(Debug)]
pub(crate) struct Circuit {
    state: State,
    failures: u32,
    wait: Duration,
    until: Instant,
    /// Told by the far end, or by a failed log-in: nothing is sent before.
    paused_until: Option<Instant>,
    opened: u64,
}

impl Circuit {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            wait: FIRST_WAIT,
            until: now,
            paused_until: None,
            opened: 0,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// How often it opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether a delivery may begin; `Some(true)` if it is a probe: one record, nothing beside it.
    pub(crate) fn admits(&self, now: Instant) -> Option<bool> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        match self.state {
            State::Closed => Some(false),
            State::Open if now >= self.until => Some(true),
            State::Open | State::Probing => None,
        }
    }

    pub(crate) fn begin_probe(&mut self) {
        self.state = State::Probing;
    }

    /// When it may admit something, if it does not now and time alone decides.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        let pause = self.paused_until.filter(|until| *until > now);
        let open = (self.state == State::Open).then_some(self.until).filter(|until| *until > now);
        pause.max(open)
    }

    pub(crate) fn succeeded(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
        self.wait = FIRST_WAIT;
    }

    /// A delivery failed by connection or service; `jitter` in 0..1 spreads the probes of many sinks.
    pub(crate) fn failed(&mut self, now: Instant, jitter: f64) {
        self.failures += 1;
        match self.state {
            State::Closed if self.failures < THRESHOLD => return,
            State::Closed => self.opened += 1,
            State::Probing => self.wait = (self.wait * 2).min(LONGEST_WAIT),
            // Sent while it was still closed.
            State::Open => return,
        }
        self.state = State::Open;
        self.until = now + self.wait.mul_f64(0.5 + jitter / 2.0);
    }

    /// The probe ended without saying anything about the sink (rate limit, auth, refused record).
    pub(crate) fn probe_inconclusive(&mut self, now: Instant) {
        if self.state == State::Probing {
            self.state = State::Open;
            self.until = now;
        }
    }

    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |set| set.max(until)));
    }

    /// An operator says that the wait is over.
    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
    }

    pub(crate) fn paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_probes_one_at_a_time() {
        let now = Instant::now();
        let mut circuit = Circuit::new(now);
        for _ in 0..THRESHOLD - 1 {
            circuit.failed(now, 0.0);
        }
        assert_eq!(circuit.admits(now), Some(false));
        circuit.failed(now, 0.0);
        assert_eq!(circuit.admits(now), None);
        let later = circuit.next_change(now).unwrap();
        assert_eq!(circuit.admits(later), Some(true));
        circuit.begin_probe();
        assert_eq!(circuit.admits(later), None);
        circuit.failed(later, 0.0);
        assert!(circuit.next_change(later).unwrap() - later > later - now);
        circuit.begin_probe();
        circuit.succeeded();
        assert_eq!(circuit.admits(later), Some(false));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut circuit = Circuit::new(now);
        for _ in 0..20 {
            circuit.failed(now, 0.0);
            circuit.failed(now, 0.0);
            circuit.succeeded();
        }
        assert_eq!(circuit.state(), State::Closed);
        assert_eq!(circuit.opened(), 0);
    }

    #[test]
    fn a_pause_holds_whatever_the_state() {
        let now = Instant::now();
        let mut circuit = Circuit::new(now);
        circuit.pause(now + Duration::from_secs(9));
        assert_eq!(circuit.admits(now), None);
        assert_eq!(circuit.next_change(now), Some(now + Duration::from_secs(9)));
        assert_eq!(circuit.admits(now + Duration::from_secs(9)), Some(false));
        circuit.resume();
        assert_eq!(circuit.admits(now), Some(false));
    }
}
