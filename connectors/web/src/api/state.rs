//! Where a stream was left: what is saved of it. Kept in lanes `STREAM` (the run, and the stream itself where it has
//! no parent) and `STREAM/PARTITION`.

use std::collections::BTreeSet;

use karez_api::{Fault, Json, Lane, Millis, Position};
use serde::{Deserialize, Serialize};

use super::cursor::Point;

/// The version of what is saved.
const VERSION: u8 = 1;
/// Most records whose identity is kept around a mark.
const MOST_KNOWN: usize = 10_000;
/// Runs that the next one is compared with.
const HISTORY: usize = 10;
/// Longest name of a partition in a lane; a longer one is hashed.
const LONGEST_NAME: usize = 200;

/// All that a lane holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "v")]
    version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<RunState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<PartState>,
}

/// One run of a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    pub(super) number: u64,
    pub(super) started: Millis,
    /// Where the far end had come when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Point>,
    pub(super) done: bool,
    /// The last run that was not suspicious. What partitions reached since does not count.
    pub(super) good: u64,
    /// Records that this run has read up to the place that is saved.
    pub(super) read: u64,
    /// Records that the last good runs read.
    pub(super) history: Vec<u64>,
    /// Which parents are being gone through, from the outermost stream inwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) place: Vec<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rewound: Option<Rewound>,
}

/// Somebody asked for everything since then to be read again; for partitions that were last read before this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rewound {
    pub(super) to: Point,
    pub(super) run: u64,
}

/// How far a parent stream was gone through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) token: Token,
    pub(super) pages: u64,
    /// The parent whose partition was not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

/// One partition of a stream; the stream itself where it has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PartState {
    /// The run that read it last.
    pub(super) run: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Mark>,
    /// What the mark was before that run, until that one is known to be good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Mark>,
    /// What is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<Open>,
}

/// Everything up to here was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) at: Point,
    /// Records at the mark or after it that were given out already.
    #[serde(default, skip_serializing_if = "Known::is_empty")]
    pub(super) known: Known,
}

/// A window in progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Point>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Point>,
    /// The mark may not pass this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cap: Option<Point>,
    pub(super) token: Token,
    pub(super) pages: u64,
    /// The latest change that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Point>,
    /// The order was not as declared: the window begins anew rather than at what was seen.
    #[serde(default)]
    pub(super) disordered: bool,
    #[serde(default, skip_serializing_if = "Known::is_empty")]
    pub(super) known: Known,
    /// A page that was named though it was read already; it would be again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cycle: Option<u64>,
    /// The window began anew because this page was not known there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restarted: Option<u64>,
    /// Records of a page, where the far end did not manage as many as the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// The report that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<JobState>,
}

/// A report that is made there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobState {
    /// The last answer about it.
    pub(super) answer: Json,
    pub(super) since: Millis,
    pub(super) ready: bool,
    /// How often it was ordered.
    pub(super) orders: u32,
}

/// Which page is next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Token {
    #[default]
    First,
    Cursor(Json),
    Number(u64),
    Offset(u64),
    /// Path and query behind the connection's address.
    Url(String),
}

impl Token {
    /// What tells one page from another.
    pub(super) fn hash(&self) -> u64 {
        super::records::hash(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Identities of records by where they stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known(BTreeSet<(Point, u64)>);

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, at: &Point, hash: u64) -> bool {
        // The point is copied only where there is something to find.
        !self.0.is_empty() && self.0.contains(&(at.clone(), hash))
    }

    /// Notes one; false where there is no more room.
    pub(super) fn add(&mut self, at: Point, hash: u64) -> bool {
        let room = self.0.len() < MOST_KNOWN;
        if room {
            self.0.insert((at, hash));
        }
        room
    }

    /// Forgets what stands before this.
    pub(super) fn forget_before(&mut self, floor: &Point) {
        if self.0.first().is_some_and(|(at, _)| at < floor) {
            self.0 = self.0.split_off(&(floor.clone(), 0));
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        for (at, hash) in other.0 {
            self.add(at, hash);
        }
    }
}

impl State {
    pub(super) fn new(run: Option<RunState>, part: Option<PartState>) -> Self {
        Self { version: VERSION, run, part }
    }

    /// # Errors
    /// Class fatal: it was not written by this version, or is damaged.
    pub(super) fn read(lane: &Lane, position: &Position) -> Result<Self, Fault> {
        let what =
            |why: String| Fault::fatal(format!("the saved position of {} cannot be used: {why}", lane.0));
        let state: Self = serde_json::from_slice(&position.0).map_err(|error| what(error.to_string()))?;
        match state.version {
            VERSION => Ok(state),
            other => Err(what(format!("it has version {other}, this karez knows {VERSION}"))),
        }
    }

    pub(super) fn position(&self) -> Position {
        Position(serde_json::to_vec(self).unwrap_or_default().into())
    }
}

impl RunState {
    /// The run after this one.
    pub(super) fn next(&self, started: Millis, to: Option<Point>) -> Self {
        Self { number: self.number + 1, started, to, done: false, read: 0, place: Vec::new(), ..self.clone() }
    }

    /// The run that reads from there on again: this one, or one after it where this one had begun.
    pub(super) fn rewound(self, to: Point, resumed: bool, now: Millis) -> Self {
        let run = if resumed { self.next(now, Some(Point::end_of(now))) } else { self };
        let rewound = Some(Rewound { to, run: run.number });
        Self { rewound, ..run }
    }

    /// It has brought what it should.
    pub(super) fn is_good(&mut self) {
        self.good = self.number;
        self.history.push(self.read);
        if self.history.len() > HISTORY {
            self.history.remove(0);
        }
    }

    /// What the middle one of the last runs read.
    pub(super) fn usual(&self) -> Option<u64> {
        let mut sorted = self.history.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

impl PartState {
    /// Where reading goes on in `run`.
    pub(super) fn mark(&self, run: &RunState) -> Option<Mark> {
        // What is not finished has moved nothing yet.
        let doubtful = self.open.is_none() && self.run > run.good && self.run < run.number;
        let reached = if doubtful { &self.before } else { &self.mark };
        let mark = reached.clone()?;
        match &run.rewound {
            Some(rewound) if self.run < rewound.run && rewound.to < mark.at => {
                Some(Mark { at: rewound.to.clone(), known: Known::default() })
            }
            _ => Some(mark),
        }
    }
}

/// The lane of a partition.
pub(super) fn lane(stream: &str, partition: &str) -> Lane {
    match partition {
        "" => Lane::new(stream),
        short if short.len() <= LONGEST_NAME => Lane::new(format!("{stream}/{short}")),
        long => Lane::new(format!("{stream}/#{:016x}", super::records::hash(long.as_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: i64) -> Mark {
        Mark { at: Point::Integer(at), known: Known::default() }
    }

    #[test]
    fn what_a_suspicious_run_reached_does_not_count() {
        let part = PartState { run: 7, mark: Some(mark(70)), before: Some(mark(60)), open: None };
        let run = |number, good| RunState { number, good, ..RunState::default() };
        assert_eq!(part.mark(&run(8, 7)), Some(mark(70)));
        assert_eq!(part.mark(&run(8, 6)), Some(mark(60)));
        // It goes on within its own run.
        assert_eq!(part.mark(&run(7, 6)), Some(mark(70)));
    }

    #[test]
    fn a_rewind_concerns_partitions_that_were_read_before_it() {
        let rewound = Some(Rewound { to: Point::Integer(30), run: 8 });
        let run = RunState { number: 9, good: 8, rewound, ..RunState::default() };
        let part = |read| PartState { run: read, mark: Some(mark(70)), before: None, open: None };
        assert_eq!(part(7).mark(&run), Some(mark(30)));
        assert_eq!(part(8).mark(&run), Some(mark(70)));
    }

    #[test]
    fn a_state_of_another_version_is_refused_by_name() {
        let lane = Lane::new("issues");
        let saved = State::new(Some(RunState::default()), None).position();
        assert!(State::read(&lane, &saved).is_ok());
        for wrong in [r#"{"v":9}"#, "{", ""] {
            let fault = State::read(&lane, &Position(wrong.into())).unwrap_err();
            assert!(fault.message().contains("issues"), "{fault:?}");
        }
    }

    #[test]
    fn what_is_known_is_bounded_and_forgotten_from_below() {
        let mut known = Known::default();
        assert!((0..MOST_KNOWN as i64).all(|n| known.add(Point::Integer(n), 0)));
        assert!(!known.add(Point::Integer(0), 1));
        known.forget_before(&Point::Integer(9_999));
        assert!(known.has(&Point::Integer(9_999), 0) && !known.has(&Point::Integer(9_998), 0));
    }
}
