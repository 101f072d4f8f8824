//! From the items of a page to records: identity, place in the order of changes, what belongs to the window.

use std::hash::Hasher;
use std::sync::Arc;

use karez_api::{Body, Fault, Json, JsonMap, Meta, Millis, Record, RecordId, Value};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use super::cursor::{Point, PointFormat};
use super::spec::Order;
use super::state::{Known, Mark, Open};

/// What identifies a record and when it changed.
pub(super) struct Identity {
    pub(super) key: Vec<String>,
    pub(super) cursor: Option<(Value, PointFormat)>,
}

/// What the records of one partition have in common.
pub(super) struct Common {
    pub(super) source: Arc<str>,
    /// What their ids begin with.
    pub(super) base: String,
    /// `@meta.stream`, `@meta.parent`.
    pub(super) extra: JsonMap,
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
    /// Makes records of a page's items, and notes in `open` what was seen.
    ///
    /// # Errors
    /// Class validation: an expression cannot be computed.
    pub(super) fn sort(
        &self,
        items: Vec<Json>,
        common: &Common,
        window: &Window<'_>,
        open: &mut Open,
        now: Millis,
    ) -> Result<Sorted, Fault> {
        let mut sorted = Sorted { records: Vec::with_capacity(items.len()), ..Sorted::default() };
        let base: Arc<str> = common.base.as_str().into();
        // Of the page before, the latest is the last only where the list is sorted.
        let mut previous = open.seen.clone().filter(|_| window.order == Order::Asc);
        for item in items {
            let key = self.key_of(&item);
            let mut meta = Meta::new(
                RecordId::At { base: Arc::clone(&base), offset: 0 },
                Arc::clone(&common.source),
                now,
            );
            meta.extra = common.extra.clone();
            let record = Record::new(Body::from_tree(item), meta);
            let point = match &self.cursor {
                None => None,
                Some((pick, format)) => {
                    let point = pick.eval(&record)?.and_then(|value| format.point(&value));
                    sorted.missing_cursor += u64::from(point.is_none());
                    point
                }
            };
            let id = match (&key, &point) {
                (Some(key), Some(point)) => format!("{base}{key}@{point}"),
                (key, _) => {
                    let digest = hex::encode(&Sha256::digest(record.body().bytes())[..16]);
                    format!("{base}{}#{digest}", key.as_deref().unwrap_or_default())
                }
            };
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
            sorted.records.push(record.with_meta(|meta| meta.id = RecordId::text(id)));
        }
        if let Some(floor) = open.floor(window.lookback) {
            open.known.forget_before(&floor);
        }
        Ok(sorted)
    }

    /// The values of the key fields; none where there are no such fields.
    pub(super) fn key_of(&self, item: &Json) -> Option<String> {
        key_text(&self.key, item)
    }
}

/// The values of these fields as one text; none where one is missing.
pub(super) fn key_text(fields: &[String], item: &Json) -> Option<String> {
    let mut text = String::new();
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        match item.get(field)? {
            Json::Null => return None,
            Json::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
    }
    (!fields.is_empty()).then_some(text)
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
