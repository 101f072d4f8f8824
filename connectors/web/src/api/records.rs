//! From the items of a page to records: identity, place in the order of changes, what belongs to the window.

use std::fmt::Write as _;
use std::hash::Hasher;
use std::sync::Arc;

use karez_api::{Body, Extra, Fault, Json, Meta, Millis, Record, RecordId, Value};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use super::cursor::{Point, PointFormat};
use super::spec::Order;
use super::state::{Known, Mark, Open};
use crate::http::as_record;

/// What identifies a record and when it changed.
pub(super) struct Identity {
    key: Vec<String>,
    cursor: Option<Cursor>,
    /// Where plain names lead to all of it: a record need not be parsed for it then.
    plain: Option<Plain>,
}

/// What tells when a record changed.
pub(super) struct Cursor {
    pick: Value,
    /// The names that `pick` consists of.
    way: Option<Vec<String>>,
    format: PointFormat,
}

/// The fields that key and cursor stand in.
struct Plain {
    names: Vec<String>,
    /// Each field of the key, by its place among the names.
    key: Vec<usize>,
    cursor: Option<usize>,
}

/// What the records of one partition have in common.
pub(super) struct Common {
    pub(super) source: Arc<str>,
    /// What their ids begin with.
    pub(super) base: String,
    /// `@meta.stream`, `@meta.parent`.
    pub(super) extra: Extra,
}

/// What became of a page's items.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) records: Vec<Record>,
    pub(super) deduped: u64,
    pub(super) outside: u64,
    pub(super) missing_cursor: u64,
    pub(super) disordered: u64,
    /// Records near the mark that could not be remembered: the next run may bring them again.
    pub(super) forgotten: u64,
    /// A record stands before the window: of a list that is sorted newest first, the rest does, too.
    pub(super) before_window: bool,
}

/// How the items of a window are told from others.
pub(super) struct Window<'a> {
    pub(super) mark: Option<&'a Mark>,
    pub(super) order: Order,
    /// Whether what the window does not hold is left out here.
    pub(super) filters: bool,
    pub(super) lookback: std::time::Duration,
}

impl Identity {
    pub(super) fn new(key: &[String], cursor: Option<Cursor>) -> Self {
        let plain = Plain::new(key, cursor.as_ref());
        Self { key: key.to_vec(), cursor, plain }
    }

    /// Makes records of a page's items, and notes in `open` what was seen.
    ///
    /// # Errors
    /// Class validation: an expression cannot be computed.
    pub(super) fn sort(
        &self,
        items: Vec<Body>,
        common: &Common,
        window: &Window<'_>,
        open: &mut Open,
        now: Millis,
    ) -> Result<Sorted, Fault> {
        let mut sorted = Sorted { records: Vec::with_capacity(items.len()), ..Sorted::default() };
        let mut id = String::new();
        // Of the page before, the latest is the last only where the list is sorted.
        let mut previous = open.seen.clone().filter(|_| window.order == Order::Asc);
        for body in items {
            let (key, point) = self.found(&body, now)?;
            sorted.missing_cursor += u64::from(self.cursor.is_some() && point.is_none());
            id.clear();
            id.push_str(&common.base);
            id.push_str(key.as_deref().unwrap_or_default());
            let written = match &point {
                Some(point) if key.is_some() => write!(id, "@{point}"),
                _ => write!(id, "#{}", hex::encode(&Sha256::digest(body.compact())[..16])),
            };
            debug_assert!(written.is_ok(), "a text takes all that is written");
            if let Some(point) = point {
                let wrong = previous.as_ref().is_some_and(|previous| match window.order {
                    Order::Asc => point < *previous,
                    Order::Desc => point > *previous,
                    Order::None => false,
                });
                sorted.disordered += u64::from(wrong);
                open.disordered |= wrong;
                previous = Some(point.clone());
                let before = open.from.as_ref().is_some_and(|from| point < *from);
                sorted.before_window |= before;
                if before && window.filters {
                    sorted.outside += 1;
                    continue;
                }
                let hash = hash(id.as_bytes());
                let known = window.mark.is_some_and(|mark| mark.known.has(&point, hash));
                if known || open.known.has(&point, hash) {
                    sorted.deduped += 1;
                    open.seen = open.seen.take().max(Some(point));
                    continue;
                }
                open.seen = open.seen.take().max(Some(point.clone()));
                if open.floor(window.lookback).is_none_or(|floor| point >= floor) {
                    sorted.forgotten += u64::from(!open.known.add(point, hash));
                }
            }
            let mut meta = Meta::new(RecordId::text(&*id), Arc::clone(&common.source), now);
            meta.extra = common.extra.clone();
            sorted.records.push(Record::new(body, meta));
        }
        if let Some(floor) = open.floor(window.lookback) {
            open.known.forget_before(&floor);
        }
        Ok(sorted)
    }

    /// A record's key and place in the order of changes, where it has them.
    fn found(&self, body: &Body, now: Millis) -> Result<(Option<String>, Option<Point>), Fault> {
        if let Some(plain) = &self.plain {
            let values = body.members(&plain.names);
            let key = key_text(plain.key.iter().map(|at| values[*at].as_ref()));
            let value = plain.cursor.and_then(|at| values[at].as_ref());
            let point = self.cursor.as_ref().and_then(|cursor| cursor.of(value?));
            return Ok((key, point));
        }
        // What cannot be read is told where its record is looked into.
        let tree = body.tree().unwrap_or(&Json::Null);
        let key = key_text(self.key.iter().map(|field| tree.get(field)));
        let point = match &self.cursor {
            Some(Cursor { pick, format, .. }) if !tree.is_null() => {
                pick.eval(&as_record(body.clone(), now))?.and_then(|value| format.point(&value))
            }
            _ => None,
        };
        Ok((key, point))
    }
}

impl Cursor {
    pub(super) fn new(pick: Value, way: Option<Vec<String>>, format: PointFormat) -> Self {
        Self { pick, way: way.filter(|way| !way.is_empty()), format }
    }

    /// `value` stands in the field that the way begins with.
    fn of(&self, value: &Json) -> Option<Point> {
        let rest = self.way.iter().flatten().skip(1);
        let value = rest.into_iter().try_fold(value, |value, name| value.get(name))?;
        self.format.point(value)
    }
}

impl Plain {
    fn new(key: &[String], cursor: Option<&Cursor>) -> Option<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut place = |name: &String| match names.iter().position(|known| known == name) {
            Some(at) => at,
            None => {
                names.push(name.clone());
                names.len() - 1
            }
        };
        let key = key.iter().map(&mut place).collect();
        let cursor = match cursor {
            None => None,
            Some(cursor) => Some(place(cursor.way.as_ref()?.first()?)),
        };
        Some(Self { names, key, cursor })
    }
}

/// These values as one text; none where one is missing or null, and where there are none.
pub(super) fn key_text<'v>(values: impl Iterator<Item = Option<&'v Json>>) -> Option<String> {
    let mut text: Option<String> = None;
    for value in values {
        let text = match &mut text {
            None => text.insert(String::new()),
            Some(text) => {
                text.push(',');
                text
            }
        };
        match value? {
            Json::Null => return None,
            Json::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

impl Open {
    /// What was seen up to now and may be trusted to be complete.
    fn reached(&self) -> Option<&Point> {
        match (&self.seen, &self.cap) {
            (Some(seen), Some(cap)) => Some(seen.min(cap)),
            (seen, _) => seen.as_ref(),
        }
    }

    /// Records from here on may come again in the next run.
    fn floor(&self, lookback: std::time::Duration) -> Option<Point> {
        self.reached().map(|reached| reached.minus(lookback))
    }

    /// The mark after the last window of a run.
    pub(super) fn mark(self, before: Option<Mark>, lookback: std::time::Duration) -> Option<Mark> {
        // The windows before the last one are through, whatever came in them.
        let begun = self.from.as_ref().map(|from| self.cap.as_ref().map_or(from, |cap| from.min(cap)));
        let reached =
            self.reached().max(begun).filter(|_| self.seen.is_some()).or(self.cap.as_ref()).cloned();
        let (old, mut known) = before.map_or((None, Known::default()), |mark| (Some(mark.at), mark.known));
        let at = reached.max(old)?;
        known.forget_before(&at.minus(lookback));
        known.join(self.known);
        known.forget_before(&at.minus(lookback));
        Some(Mark { at, known })
    }
}

/// Stable across versions and machines: it is saved.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}
