//! An API with a set of numbered records that grow and change as a test wants, under every way in which APIs are
//! paged, filtered, nested and encoded; and it misbehaves as it is told, answer by answer.
//!
//! | path | what |
//! |---|---|
//! | `/STYLE/COLLECTION?limit=` | a collection, paged in one of the styles of [`Style`] |
//! | `/STYLE/COLLECTION/N/COLLECTION` | those whose `parent` is N |
//! | `/FORM/…` | the same, not paged: `list` (`{count, items}`), `ndjson`, `csv`, `xml`, `gzip` (the body is a gzip file), `encoded` (gzip under `Content-Encoding`) |
//! | `/reports` | `POST` makes one, `GET /reports/ID` tells of it, `GET /reports/ID/file` is its CSV, `DELETE` aborts it |
//! | `/graphql` | `POST`: a Relay connection at `data.COLLECTION`, with what it costs |
//!
//! Parameters stand in the query, in a header (`X-Cursor`), in a body of JSON or in a form. Every list may be narrowed:
//! `since` and `until` by `updated_at`, `from` by `id`, all inclusive; `order=desc` is the newest first. A list that is
//! narrowed by time, or has an `order`, is in the order of `updated_at`.

mod data;
mod graph;
mod pages;
mod reports;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use crate::receiver::Reply;
use crate::server::{Answers, Seen, Server, Told};
use crate::{Json, eventually};

use data::Data;
use pages::Page;
pub use pages::Style;

/// What goes wrong with one answer.
#[derive(Clone)]
pub enum Trouble {
    /// This in its place; nothing was done.
    Instead(Reply),
    /// Its last bytes do not come: the connection ends.
    Truncated,
    /// It comes so late.
    Late(Duration),
    /// Its JSON is changed before it goes out.
    Edited(Arc<dyn Fn(&mut Json) + Send + Sync>),
    /// It has this in a header.
    Header(&'static str, String),
}

impl Trouble {
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Instead(Reply::Status(status))
    }
    #[must_use]
    pub fn html() -> Self {
        let kind = ("Content-Type", "text/html".to_owned());
        Self::Instead(Reply::Whole(200, vec![kind], "<html><body>Down for maintenance</body></html>".into()))
    }
    /// Nothing under status 200.
    #[must_use]
    pub fn empty() -> Self {
        Self::Instead(Reply::Whole(200, vec![("Content-Type", "application/json".to_owned())], String::new()))
    }
    #[must_use]
    pub fn edit(edit: impl Fn(&mut Json) + Send + Sync + 'static) -> Self {
        Self::Edited(Arc::new(edit))
    }
    /// The page gives this token for the next one.
    #[must_use]
    pub fn token(token: impl Into<Json>) -> Self {
        let token = token.into();
        Self::edit(move |body| body["next"] = token.clone())
    }
}

/// A request, for whoever decides what goes wrong.
pub struct Asked {
    /// Without its query.
    pub path: String,
    /// Its place among the requests to this path, from 0.
    pub nth: usize,
    pub seen: Seen,
}

type Rule = Arc<dyn Fn(&Asked) -> Option<Trouble> + Send + Sync>;

struct State {
    data: Data,
    seen: Vec<Seen>,
    /// Requests by path.
    counts: HashMap<String, usize>,
    rule: Rule,
    /// Grows with each change of the rule.
    changes: u64,
    ends: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// An API of a test's own.
pub struct ApiServer {
    shared: Arc<Shared>,
    server: Server,
}

impl ApiServer {
    /// Without records, and well.
    #[must_use]
    pub fn start() -> Self {
        let state = State {
            data: Data::new(),
            seen: Vec::new(),
            counts: HashMap::new(),
            rule: Arc::new(|_| None),
            changes: 0,
            ends: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Self { server: Server::start(Arc::clone(&shared) as _), shared }
    }

    /// With so many `records`.
    #[must_use]
    pub fn with(count: u64) -> Self {
        let server = Self::start();
        server.grow("records", count);
        server
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Like `http://127.0.0.1:4711/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Records in a page where the request does not say how many. Default 10.
    pub fn pages_of(&self, size: usize) {
        self.state().data.page_size = size;
    }

    /// When it was started, in whole seconds: what records were there then is a day older, a second apart.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.state().data.began
    }

    /// More records of nobody's.
    pub fn grow(&self, collection: &str, count: u64) {
        self.grow_under(collection, 0, count);
    }

    /// More records of this parent.
    pub fn grow_under(&self, collection: &str, parent: u64, count: u64) {
        let mut state = self.state();
        (0..count).for_each(|_| state.data.add(collection, parent));
    }

    /// A record is changed, or is new: it says so, and that it was at this time.
    pub fn touch(&self, collection: &str, id: u64, parent: u64, at: Timestamp) {
        self.state().data.touch(collection, id, parent, at);
    }

    /// A record with a body of its own, which is shown as it is.
    pub fn show(&self, collection: &str, body: Json) {
        self.state().data.show(collection, body);
    }

    /// Every record of a collection as it is now, by its number.
    #[must_use]
    pub fn records(&self, collection: &str) -> Vec<Json> {
        self.state().data.all(collection)
    }

    /// What goes wrong from now on, also with requests that hang.
    pub fn trouble(&self, rule: impl Fn(&Asked) -> Option<Trouble> + Send + Sync + 'static) {
        let mut state = self.state();
        state.rule = Arc::new(rule);
        state.changes += 1;
        self.shared.changed.notify_all();
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.trouble(|_| None);
    }

    /// Tokens that were given out so far lead to 410.
    pub fn expire_tokens(&self) {
        self.state().data.generation += 1;
    }

    /// Long answers come in parts, with this time between two of them.
    pub fn pour(&self, pause: Duration) {
        self.state().data.pause = pause;
    }

    /// Answers have an `ETag`, and whoever knows it gets 304.
    pub fn tags(&self) {
        self.state().data.tags = true;
    }

    /// How often a report is asked for until it is there. Default 2.
    pub fn reports_take(&self, polls: u32) {
        self.state().data.reports.polls = polls;
    }

    /// The states of all reports, by when they were made: `pending`, `done`, `failed` or `aborted`.
    #[must_use]
    pub fn reports(&self) -> Vec<&'static str> {
        self.state().data.reports.states()
    }

    /// Reports that are made from now on fail, or do so no more.
    pub fn reports_fail(&self, fail: bool) {
        self.state().data.reports.fail = fail;
    }

    /// What GraphQL queries may cost, and what comes back in a second; a record costs a point.
    pub fn budget(&self, points: f64, per_second: f64) {
        self.state().data.budget = Some(graph::Budget::new(points, per_second));
    }

    /// All requests, in the order in which they arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The requests to a path, whatever their query.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Seen> {
        let state = self.state();
        state.seen.iter().filter(|seen| without_query(&seen.path) == path).cloned().collect()
    }

    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.state().counts.get(path).copied().unwrap_or_default()
    }

    /// Waits for so many requests to a path in all.
    ///
    /// # Panics
    /// They do not come.
    #[track_caller]
    pub fn sees(&self, path: &str, count: usize) {
        eventually(&format!("the API is asked for {path}"), || self.count(path) >= count);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.state().ends = true;
        self.shared.changed.notify_all();
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

impl Answers for Shared {
    fn answer(&self, mut seen: Seen) -> Told {
        let mut state = self.state.lock().unwrap();
        seen.number = state.seen.len();
        state.seen.push(seen.clone());
        let path = without_query(&seen.path).to_owned();
        let count = state.counts.entry(path.clone()).or_default();
        let nth = *count;
        *count += 1;
        let asked = Asked { path, nth, seen };
        loop {
            let trouble = (state.rule)(&asked);
            match trouble {
                Some(Trouble::Instead(Reply::Hang)) => {}
                Some(Trouble::Instead(reply)) => return reply.told(),
                Some(Trouble::Late(time)) => {
                    let waited = self.changed.wait_timeout_while(state, time, |state| !state.ends);
                    return page(&mut waited.unwrap().0.data, &asked).told();
                }
                trouble => {
                    let (page, pause) = (page(&mut state.data, &asked), state.data.pause);
                    drop(state);
                    return poured(hurt(page, trouble), pause);
                }
            }
            let changes = state.changes;
            let changed = |state: &mut State| state.changes == changes && !state.ends;
            state = self.changed.wait_while(state, changed).unwrap();
            if state.ends {
                return Told::Nothing;
            }
        }
    }
}

/// The answer of an API that is well.
fn page(data: &mut Data, asked: &Asked) -> Page {
    let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
    let page = match (asked.seen.method.as_str(), &*parts) {
        (_, ["reports", rest @ ..]) => reports::answer(data, &asked.seen, rest),
        ("POST", ["graphql"]) => graph::answer(data, &asked.seen),
        ("GET" | "POST", [style, place @ ..]) => pages::answer(data, &asked.seen, style, place),
        _ => Page::status(405),
    };
    if data.tags && page.status == 200 { page.tagged(&asked.seen) } else { page }
}

fn poured(told: Told, pause: Duration) -> Told {
    match told {
        Told::Answer(bytes) if pause > Duration::ZERO => Told::Poured(bytes, pause),
        other => other,
    }
}

fn hurt(mut page: Page, trouble: Option<Trouble>) -> Told {
    match trouble {
        Some(Trouble::Edited(edit)) => {
            let mut body = serde_json::from_slice(&page.body).unwrap();
            edit(&mut body);
            page.body = body.to_string().into();
        }
        Some(Trouble::Header(name, value)) => {
            page.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            page.headers.push((name, value));
        }
        Some(Trouble::Truncated) => {
            let Told::Answer(mut bytes) = page.told() else { return Told::Nothing };
            bytes.truncate(bytes.len() - bytes.len().min(40));
            return Told::Last(bytes);
        }
        _ => {}
    }
    page.told()
}

#[cfg(test)]
mod tests;
