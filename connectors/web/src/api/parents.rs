//! Goes through the records of parent streams, one level inside another, and yields what a partition is read for. The
//! place is a page and a key for each level, so that a restart goes through what is left and no more than a page besides.

use std::collections::{HashSet, VecDeque};

use karez_api::{Body, Condition, Extra, Fault, Json, JsonMap, Millis};

use super::ask::Context;
use super::cursor::Point;
use super::decode::trees;
use super::fetch::{Fetched, NoPage};
use super::live::{Live, Stop};
use super::records::{Common, Window, hash, key_text};
use super::spec::Order;
use super::state::{Level, Mark, Open, RunState, Token};
use super::stream::{Parent, Reading, Stream};
use super::tracker::Tracker;
use crate::http::as_record;

/// Largest parent that is shown whole in `@meta.parent`, in bytes.
const LARGEST_SHOWN: usize = 4 << 10;

/// Longest list of parents without pages, in bytes.
const LARGEST_LIST: usize = 256 << 20;

/// A partition to read.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) parent: Json,
    pub(super) shown: Json,
    /// Where going through the parents would go on to find it again.
    pub(super) place: Vec<Level>,
}

/// Where the parents of one stream come from.
pub(super) struct Parents<'a> {
    live: &'a Live,
    tracker: &'a Tracker,
    kinds: Vec<Kind<'a>>,
    stack: Vec<Frame>,
    /// Where to go on, from the outermost level; used up by the first descent.
    resume: VecDeque<Level>,
    begun: bool,
    /// An error rule left some of the parents out.
    pub(super) left_out: bool,
    /// Where the far end had come when the run began.
    to: Option<Point>,
    /// What of the parents is gone through, where it is not all of them.
    pub(super) meant: Option<Meant>,
}

enum Kind<'a> {
    Values(&'a [Json]),
    Stream { stream: &'a Stream, key: &'a [String], when: Option<&'a Condition> },
}

/// One level that is being gone through.
struct Frame {
    /// The parent of what is listed here.
    parent: Option<Json>,
    name: String,
    shown: Option<Json>,
    items: VecDeque<Json>,
    /// The page that `items` came from.
    token: Token,
    next: Option<Token>,
    pages: u64,
    used: HashSet<u64>,
    /// Go on behind what comes before this one.
    until: Option<String>,
    key: Option<String>,
    /// What to ask for, where the far end does not manage the size of the file.
    size: Option<u64>,
}

impl<'a> Parents<'a> {
    pub(super) fn new(
        live: &'a Live,
        tracker: &'a Tracker,
        index: usize,
        run: &RunState,
        meant: Option<Meant>,
    ) -> Self {
        let all = &live.streams.all;
        let mut kinds = Vec::new();
        let mut below = &all[index].parent;
        loop {
            match below {
                Parent::None => break,
                Parent::Values(values) => {
                    kinds.insert(0, Kind::Values(values.as_slice()));
                    break;
                }
                Parent::Stream { index, key, when, .. } => {
                    let stream = &all[*index];
                    kinds.insert(0, Kind::Stream { stream, key: key.as_slice(), when: when.as_ref() });
                    below = &all[*index].parent;
                }
            }
        }
        Self {
            live,
            tracker,
            kinds,
            stack: Vec::new(),
            resume: run.place.clone().into(),
            begun: false,
            left_out: false,
            to: run.to.clone(),
            meant,
        }
    }

    /// The next partition; none where there is no other.
    ///
    /// # Errors
    /// A page of parents cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, Stop> {
        if !self.begun {
            self.begun = true;
            self.descend(None, String::new(), None);
        }
        loop {
            let depth = self.stack.len();
            let Some(frame) = self.stack.last_mut() else { return Ok(None) };
            let Some(item) = frame.items.pop_front() else {
                if !self.turn().await? {
                    self.stack.pop();
                }
                continue;
            };
            let kind = &self.kinds[depth - 1];
            let key = key_of(kind, &item);
            if let Some(until) = &frame.until {
                // What comes before it is through. Where it is gone, all of its page is gone through again.
                if *until != key && frame.items.iter().any(|item| key_of(kind, item) == *until) {
                    continue;
                }
                frame.until = None;
            }
            frame.key = Some(key.clone());
            if !meant_by(kind, &item, self.live.clock.now())? {
                continue;
            }
            let name = if frame.name.is_empty() { key } else { format!("{}/{key}", frame.name) };
            let shown = shown(kind, &item, frame.shown.as_ref());
            let parent = inside(item, frame.parent.as_ref());
            if depth < self.kinds.len() {
                self.descend(Some(parent), name, Some(shown));
                continue;
            }
            return Ok(Some(Found { name, parent, shown, place: self.place() }));
        }
    }

    fn place(&self) -> Vec<Level> {
        let level =
            |frame: &Frame| Level { token: frame.token.clone(), pages: frame.pages, key: frame.key.clone() };
        self.stack.iter().map(level).collect()
    }

    /// Opens the next level.
    fn descend(&mut self, parent: Option<Json>, name: String, shown: Option<Json>) {
        let first = match &self.kinds[self.stack.len()] {
            Kind::Values(_) => Token::First,
            Kind::Stream { stream, .. } => stream.reading.paging.first(),
        };
        let resumed = self.resume.pop_front();
        let (token, pages, until) = match resumed {
            Some(level) => (level.token, level.pages, level.key),
            None => (first, 0, None),
        };
        let next = Some(token.clone());
        self.stack.push(Frame {
            parent,
            name,
            shown,
            items: VecDeque::new(),
            token,
            next,
            pages,
            used: HashSet::new(),
            until,
            key: None,
            size: None,
        });
    }

    /// Turns to the next page of the innermost level; false where there is none.
    async fn turn(&mut self) -> Result<bool, Stop> {
        let depth = self.stack.len();
        let Some(frame) = self.stack.last_mut() else { return Ok(false) };
        // Whatever else was saved is about a level that is not there any more.
        if !frame.items.is_empty() {
            return Ok(true);
        }
        let Some(token) = frame.next.take() else {
            self.resume.clear();
            return Ok(false);
        };
        let stream = match &self.kinds[depth - 1] {
            Kind::Values(values) => {
                frame.items = values.iter().map(|value| serde_json::json!({"value": value})).collect();
                return Ok(true);
            }
            Kind::Stream { stream, .. } => *stream,
        };
        let reading = &stream.reading;
        let fetch = self.live.fetch(reading, &self.tracker.tally);
        // All parents are gone through, whenever they changed, unless only those are meant that did.
        let window = self.meant.as_ref().filter(|_| depth == 1);
        let incremental = reading.incremental.as_ref();
        let (from, to) = match window {
            Some(window) => (window.open.from.clone(), window.open.to.clone()),
            None => {
                let end = self.to.clone().filter(|_| incremental.is_some_and(|each| each.format.is_time()));
                (incremental.and_then(|each| each.beginning(self.to.as_ref()?)), end)
            }
        };
        let written = |point: Option<Point>| Some(incremental?.format.write(&point?));
        let context =
            Context { parent: frame.parent.clone(), from: written(from), to: written(to), job: None };
        let mut token = token;
        let mut fetched = fetch.page(&context, &token, &mut frame.size).await;
        if fetched.as_ref().is_err_and(NoPage::is_unknown)
            && frame.used.is_empty()
            && token != reading.paging.first()
        {
            // A saved page that has expired: from the beginning; partitions that are through are known.
            self.tracker.anomaly("page_expired", "a saved page of parents has expired".into());
            token = reading.paging.first();
            (frame.pages, frame.until) = (0, None);
            fetched = fetch.page(&context, &token, &mut frame.size).await;
        }
        let (records, next) = match fetched.map_err(|none| none.fault)? {
            Fetched::Page(page) => {
                let next = fetch.next(&token, &page)?;
                (page.records, next)
            }
            Fetched::Long(mut long) => (long.all(LARGEST_LIST).await?, None),
            Fetched::Nothing => {
                self.left_out = true;
                return Ok(true);
            }
            Fetched::Skip(why) => {
                self.left_out = true;
                self.tracker.tell(|report| {
                    report.partitions_skipped += 1;
                    report.note = Some(why);
                });
                return Ok(true);
            }
        };
        frame.pages += 1;
        frame.used.insert(token.hash());
        if let Some(next) = &next
            && (!frame.used.insert(next.hash()) || frame.pages >= reading.max_pages)
        {
            let message = format!(
                "{}: the answer to page {} names a page that was read already, or there are too many",
                stream.name, frame.pages
            );
            return Err(Fault::service(message).with_code("page_cycle").into());
        }
        let items = match self.meant.as_mut().filter(|_| depth == 1) {
            Some(meant) => meant.changed(reading, records, self.live.clock.now())?,
            None => trees(records)?,
        };
        frame.items = items.into();
        frame.token = token;
        frame.next = next;
        Ok(true)
    }

    /// What of the outermost parents was gone through, once all are.
    pub(super) fn into_meant(self) -> Option<Meant> {
        self.meant
    }
}

/// Parents that changed since the last run: only those are gone through (`changed_only`).
pub(super) struct Meant {
    pub(super) open: Open,
    pub(super) mark: Option<Mark>,
}

impl Meant {
    fn changed(&mut self, reading: &Reading, items: Vec<Body>, now: Millis) -> Result<Vec<Json>, Fault> {
        let lookback = reading.lookback();
        let window = Window { mark: self.mark.as_ref(), order: Order::None, filters: true, lookback };
        let common = Common { source: "parents".into(), base: String::new(), extra: Extra::default() };
        let sorted = reading.identity.sort(items, &common, &window, &mut self.open, now)?;
        trees(sorted.records.into_iter().map(|record| record.into_body().0).collect())
    }
}

/// Whether a parent is one of those that are read for.
fn meant_by(kind: &Kind<'_>, item: &Json, now: Millis) -> Result<bool, Fault> {
    match kind {
        Kind::Stream { when: Some(when), .. } => when.eval(&as_record(Body::from_tree(item.clone()), now)),
        _ => Ok(true),
    }
}

fn key_of(kind: &Kind<'_>, item: &Json) -> String {
    let fields: &[String] = match kind {
        Kind::Values(_) => {
            return item["value"].as_str().map_or_else(|| item["value"].to_string(), str::to_owned);
        }
        Kind::Stream { key, .. } => key,
    };
    // Without its key it is still the same while nothing of it changes.
    key_text(fields.iter().map(|field| item.get(field)))
        .unwrap_or_else(|| format!("#{:016x}", hash(item.to_string().as_bytes())))
}

/// What `@meta.parent` shows: its key fields, or all of it where that is short.
fn shown(kind: &Kind<'_>, item: &Json, above: Option<&Json>) -> Json {
    let mut fields = JsonMap::new();
    match kind {
        Kind::Values(_) => {
            fields.insert("value".into(), item["value"].clone());
        }
        Kind::Stream { key, .. } => {
            for name in *key {
                fields.extend(item.get(name).map(|value| (name.clone(), value.clone())));
            }
            if fields.is_empty() && item.is_object() && item.to_string().len() <= LARGEST_SHOWN {
                fields = item.as_object().cloned().unwrap_or_default();
            }
        }
    }
    fields.extend(above.map(|above| ("parent".to_owned(), above.clone())));
    fields.into()
}

/// The parent's own parent is reached through it, unless it has a field of that name.
fn inside(mut item: Json, above: Option<&Json>) -> Json {
    if let (Some(fields), Some(above)) = (item.as_object_mut(), above)
        && !fields.contains_key("parent")
    {
        fields.insert("parent".into(), above.clone());
    }
    item
}
