//! Where a run begins, how its time is cut into windows, and what a request is told of one. Pure, so that what will be
//! read can be said before anything is asked.

use std::time::Duration;

use karez_api::Json;

use super::ask::Context;
use super::cursor::Point;
use super::page::Into;
use super::state::{Mark, Open, RunState, Token};
use super::stream::{Incremental, Reading};

impl Reading {
    /// How far before a mark is read again.
    pub(super) fn lookback(&self) -> Duration {
        self.incremental.as_ref().map_or(Duration::ZERO, |incremental| incremental.lookback)
    }

    /// The first window of a run.
    pub(super) fn begin(&self, mark: Option<&Mark>, run: &RunState) -> Open {
        let token = self.paging.first();
        let Some(incremental) = &self.incremental else {
            return Open { token, ..Open::default() };
        };
        let from = incremental.from(mark, run);
        let to = incremental.end_of(from.as_ref(), run);
        Open { from, to, token, ..Open::default() }
    }

    /// How many windows there are from here on, this one included.
    pub(super) fn windows(&self, open: &Open, run: &RunState) -> u64 {
        let step = self.incremental.as_ref().and_then(|incremental| incremental.step);
        match (step, &open.from, &run.to) {
            (Some(step), Some(Point::Time(from)), Some(Point::Time(to))) => {
                let length = to.duration_since(*from).as_secs().max(1).unsigned_abs();
                length.div_ceil(step.as_secs().max(1)).max(1)
            }
            _ => 1,
        }
    }

    /// What expressions of a request see of a window.
    pub(super) fn context(&self, open: &Open, parent: Option<Json>) -> Context {
        Context {
            parent,
            from: self.written(open.from.as_ref()),
            to: self.written(open.to.as_ref()),
            job: open.job.as_ref().map(|job| job.answer.clone()),
        }
    }

    /// What goes where for this page.
    pub(super) fn puts(&self, token: &Token, size: Option<u64>) -> Vec<(&Into, Json)> {
        let value = match token {
            Token::First | Token::Url(_) => None,
            Token::Cursor(value) => Some(value.clone()),
            Token::Number(number) | Token::Offset(number) => Some(Json::from(*number)),
        };
        let next = self.paging.into.as_ref().zip(value);
        let size = self.paging.size_into.as_ref().zip(size.map(Json::from));
        next.into_iter().chain(size).collect()
    }

    /// A point as it is sent.
    pub(super) fn written(&self, point: Option<&Point>) -> Option<Json> {
        Some(self.incremental.as_ref()?.format.write(point?))
    }
}

impl Incremental {
    /// Where a run begins to read.
    pub(super) fn from(&self, mark: Option<&Mark>, run: &RunState) -> Option<Point> {
        match mark {
            Some(mark) => Some(self.behind(&mark.at)),
            None => run.to.as_ref().and_then(|to| self.beginning(to)),
        }
    }

    /// Whether the far end may not keep any more what changed since then.
    pub(super) fn forgets(&self, mark: &Mark, run: &RunState) -> bool {
        let oldest = self.retention.zip(run.to.as_ref()).map(|(retention, to)| to.minus(retention));
        oldest.is_some_and(|oldest| mark.at < oldest)
    }

    /// Where the window ends that begins here.
    pub(super) fn end_of(&self, from: Option<&Point>, run: &RunState) -> Option<Point> {
        if !self.format.is_time() {
            return None;
        }
        let end = run.to.clone()?;
        match (self.step, from) {
            (Some(step), Some(from)) => Some(from.plus(step).min(end)),
            _ => Some(end),
        }
    }
}
