//! Which page comes next. Pure: an answer goes in, a token comes out. Counted before anything is filtered.

use http::{HeaderMap, HeaderName};
use karez_api::{Body, Checker, Condition, Fault, Json, Millis, Path, Problem, Record, Value};
use reqwest::Url;

use super::link::target;
use super::spec::{NumberSpec, OffsetSpec, PageSpec};
use super::state::Token;
use crate::http::as_record;

/// How the next page is asked for.
pub(super) struct Paging {
    manner: Manner,
    /// The first cursor.
    start: Option<Json>,
    pub(super) into: Option<Into>,
    pub(super) size_into: Option<Into>,
    more: Option<More>,
}

enum Manner {
    Single,
    Cursor(Value),
    Header(HeaderName),
    /// A field of the last record.
    Last(Value),
    Number {
        from: u64,
        size: Option<u64>,
        total: Option<Value>,
    },
    Offset {
        from: u64,
        size: u64,
        total: Option<Value>,
    },
    Link(String),
    NextUrl(Value),
    /// A connection of GraphQL.
    Relay {
        connection: Value,
        size: Option<u64>,
    },
}

enum More {
    If(Condition),
    Pick(Value),
}

/// Where in a request something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Into {
    Query(String),
    Header(HeaderName),
    Form(String),
    /// A path in the JSON body.
    Body(String),
}

/// What an answer says of its page.
pub(super) struct Seen<'a> {
    /// The answer without its records.
    pub(super) envelope: &'a Record,
    pub(super) headers: &'a HeaderMap,
    /// Where it came from.
    pub(super) url: &'a Url,
    pub(super) records: u64,
    pub(super) last: Option<&'a Record>,
}

impl Paging {
    pub(super) fn single() -> Self {
        Self { manner: Manner::Single, start: None, into: None, size_into: None, more: None }
    }

    pub(super) fn check(cx: &Checker<'_>, at: &Path, spec: &PageSpec) -> Option<Self> {
        let manner = manner(cx, at, spec);
        let into = place(cx, &at.field("into"), spec.into.as_deref());
        let size_into = place(cx, &at.field("size_into"), spec.size_into.as_deref());
        let more = match &spec.more {
            None => Some(None),
            Some(setting) => more(cx, &at.field("more"), setting).map(Some),
        };
        let manner = manner?;
        let (into, size_into) = (into?, size_into?);
        let asked = matches!(manner, Manner::Link(_) | Manner::NextUrl(_));
        if asked && into.is_some() {
            let message = "a next address holds everything, so nothing is put into the request";
            cx.report(Problem::error("bad-page", at.field("into"), message).on_key().help("remove it"));
            return None;
        }
        if spec.start.is_some() && spec.cursor.is_none() {
            let message = "only a cursor has it; number and offset have `from`";
            cx.report(Problem::error("bad-page", at.field("start"), message).on_key());
            return None;
        }
        let sized = matches!(
            manner,
            Manner::Number { size: Some(_), .. }
                | Manner::Offset { .. }
                | Manner::Relay { size: Some(_), .. }
        );
        if size_into.is_some() && !sized {
            let message = "there is no size to put there";
            let help = "set `size` of number or offset, or write it into `query`";
            cx.report(Problem::error("bad-page", at.field("size_into"), message).on_key().help(help));
            return None;
        }
        Some(Self { manner, start: spec.start.clone(), into, size_into, more: more? })
    }

    /// The first page.
    pub(super) fn first(&self) -> Token {
        match &self.manner {
            Manner::Number { from, .. } => Token::Number(*from),
            Manner::Offset { from, .. } => Token::Offset(*from),
            _ => self.start.clone().map_or(Token::First, Token::Cursor),
        }
    }

    /// Whether there is one page.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.manner, Manner::Single)
    }

    /// Whether [`Paging::next`] looks at the last record.
    pub(super) fn needs_last(&self) -> bool {
        matches!(self.manner, Manner::Last(_))
    }

    /// Whether a page may be smaller than asked for at first, without moving those behind it.
    pub(super) fn is_elastic(&self) -> bool {
        matches!(self.manner, Manner::Relay { size: Some(_), .. })
    }

    pub(super) fn size(&self) -> Option<u64> {
        match &self.manner {
            Manner::Number { size, .. } => *size,
            Manner::Offset { size, .. } => Some(*size),
            Manner::Relay { size, .. } => *size,
            _ => None,
        }
    }

    /// The page after `token`'s; none where that was the last.
    ///
    /// # Errors
    /// Class service: what the answer says of the next page cannot be used.
    pub(super) fn next(&self, token: &Token, seen: &Seen<'_>) -> Result<Option<Token>, Fault> {
        if let Some(more) = &self.more
            && !more.holds(seen.envelope)?
        {
            return Ok(None);
        }
        match &self.manner {
            Manner::Single => Ok(None),
            Manner::Cursor(pick) => Ok(cursor(pick.eval(seen.envelope)?)),
            Manner::Header(name) => {
                let value = seen.headers.get(name).and_then(|value| value.to_str().ok());
                // A header knows no null but the word.
                Ok(cursor(value.filter(|value| *value != "null").map(Json::from)))
            }
            Manner::Last(pick) => match seen.last {
                None => Ok(None),
                Some(last) => match cursor(pick.eval(last)?) {
                    Some(token) => Ok(Some(token)),
                    None => {
                        Err(bad("the last record of the page has no such field as `page.cursor.last` names"))
                    }
                },
            },
            Manner::Number { from, size, total } => {
                let Token::Number(number) = token else { return Ok(None) };
                // Where it is said how many there are, a short page in the middle is one that had something left out.
                let total = count(total.as_ref(), seen)?;
                let short = size.is_some_and(|size| seen.records < size);
                let done = seen.records == 0 || total.map_or(short, |total| number + 1 - from >= total);
                Ok((!done).then_some(Token::Number(number + 1)))
            }
            Manner::Offset { size, total, .. } => {
                let Token::Offset(offset) = token else { return Ok(None) };
                // By what came, not by what was asked for: some cap the size silently.
                let next = offset + seen.records;
                let total = count(total.as_ref(), seen)?;
                let done = seen.records == 0 || total.map_or(seen.records < *size, |total| next >= total);
                Ok((!done).then_some(Token::Offset(next)))
            }
            Manner::Link(relation) => match target(seen.headers, relation) {
                None => Ok(None),
                Some(target) => here(seen.url, &target).map(Some),
            },
            Manner::Relay { connection, .. } => {
                let info = connection.eval(seen.envelope)?.unwrap_or_default();
                let info = info.get("pageInfo").and_then(Json::as_object);
                let info = info.ok_or_else(|| {
                    bad("the connection has no pageInfo; ask for pageInfo {hasNextPage endCursor}")
                })?;
                match (info.get("hasNextPage"), info.get("endCursor")) {
                    (Some(Json::Bool(true)), Some(end @ Json::String(_))) => {
                        Ok(Some(Token::Cursor(end.clone())))
                    }
                    (Some(Json::Bool(true)), _) => {
                        Err(bad("pageInfo says that there is a next page, and has no endCursor"))
                    }
                    (Some(Json::Bool(false)), _) => Ok(None),
                    _ => Err(bad("pageInfo has no hasNextPage; ask for pageInfo {hasNextPage endCursor}")),
                }
            }
            Manner::NextUrl(pick) => match pick.eval(seen.envelope)? {
                None | Some(Json::Null | Json::Bool(false)) => Ok(None),
                Some(Json::String(text)) if text.is_empty() => Ok(None),
                Some(Json::String(target)) => here(seen.url, &target).map(Some),
                Some(other) => Err(bad(&format!("the next address is no text but {}", kind(&other)))),
            },
        }
    }
}

impl More {
    fn holds(&self, envelope: &Record) -> Result<bool, Fault> {
        match self {
            Self::If(condition) => condition.eval(envelope),
            Self::Pick(pick) => Ok(match pick.eval(envelope)? {
                None | Some(Json::Null | Json::Bool(false)) => false,
                Some(Json::String(text)) => !matches!(text.as_str(), "" | "false" | "0"),
                Some(Json::Number(number)) => number.as_f64() != Some(0.0),
                Some(_) => true,
            }),
        }
    }
}

fn bad(message: &str) -> Fault {
    Fault::service(message).with_code("bad_page")
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// Absent, null, false, the empty text and 0 as text or number of nothing end the pages.
fn cursor(value: Option<Json>) -> Option<Token> {
    match value {
        None | Some(Json::Null | Json::Bool(false)) => None,
        Some(Json::String(text)) if text.is_empty() => None,
        Some(value) => Some(Token::Cursor(value)),
    }
}

fn count(total: Option<&Value>, seen: &Seen<'_>) -> Result<Option<u64>, Fault> {
    let Some(total) = total else { return Ok(None) };
    match total.eval(seen.envelope)? {
        Some(Json::Number(number)) => Ok(number.as_u64()),
        Some(Json::String(text)) => Ok(text.trim().parse().ok()),
        _ => Ok(None),
    }
}

/// A next address is followed on the host that named it only, and without its fragment: others would learn who we are.
fn here(from: &Url, target: &str) -> Result<Token, Fault> {
    let mut url = from.join(target).map_err(|_| bad("the next address cannot be read"))?;
    url.set_fragment(None);
    if url.origin() != from.origin() {
        let host = url.host_str().unwrap_or("nowhere").to_owned();
        return Err(bad(&format!(
            "the next address is on {host}, which is another place: nothing is sent there"
        )));
    }
    Ok(Token::Url(url.into()))
}

fn manner(cx: &Checker<'_>, at: &Path, spec: &PageSpec) -> Option<Manner> {
    let named = [
        ("cursor", spec.cursor.is_some()),
        ("number", spec.number.is_some()),
        ("offset", spec.offset.is_some()),
        ("link", spec.link.is_some()),
        ("next_url", spec.next_url.is_some()),
        ("relay", spec.relay.is_some()),
    ];
    let given: Vec<&str> = named.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    let [_one] = given.as_slice() else {
        let message = match given.as_slice() {
            [] => "it is not said how the next page is found".to_owned(),
            several => format!("takes one of {}, not several", several.join(" and ")),
        };
        let help = "one of cursor, number, offset, link and next_url";
        cx.report(Problem::error("bad-page", at.clone(), message).help(help));
        return None;
    };
    let pick = |name: &str, text: &str| cx.value(&at.field(name), &Json::from(text));
    let total = |at: Path, text: Option<&String>| match text {
        None => Some(None),
        Some(text) => cx.value(&at.field("total"), &Json::from(text.as_str())).map(Some),
    };
    match spec {
        PageSpec { cursor: Some(setting), .. } => cursor_of(cx, &at.field("cursor"), setting),
        PageSpec { number: Some(NumberSpec { from, size, total: text }), .. } => {
            let total = total(at.field("number"), text.as_ref())?;
            Some(Manner::Number { from: *from, size: *size, total })
        }
        PageSpec { offset: Some(OffsetSpec { size, from, total: text }), .. } => {
            let total = total(at.field("offset"), text.as_ref())?;
            Some(Manner::Offset { from: *from, size: *size, total })
        }
        PageSpec { relay: Some((text, size)), .. } => {
            pick("relay", text).map(|connection| Manner::Relay { connection, size: *size })
        }
        PageSpec { link: Some(relation), .. } => Some(Manner::Link(relation.clone())),
        PageSpec { next_url: Some(text), .. } => pick("next_url", text).map(Manner::NextUrl),
        _ => None,
    }
}

fn cursor_of(cx: &Checker<'_>, at: &Path, setting: &Json) -> Option<Manner> {
    let fields = setting.as_object().filter(|fields| fields.len() == 1);
    let one = fields.and_then(|fields| fields.iter().next());
    match one.map(|(name, value)| (name.as_str(), value)) {
        Some(("header", Json::String(name))) => match name.parse() {
            Ok(name) => Some(Manner::Header(name)),
            Err(_) => {
                let message = format!("{name:?} is not a header name");
                cx.report(Problem::error("bad-header-name", at.field("header"), message));
                None
            }
        },
        Some(("last", pick)) => cx.value(&at.field("last"), pick).map(Manner::Last),
        _ => cx.value(at, setting).map(Manner::Cursor),
    }
}

fn more(cx: &Checker<'_>, at: &Path, setting: &Json) -> Option<More> {
    match setting {
        Json::String(text) if text.starts_with('$') => cx.value(at, setting).map(More::Pick),
        _ => cx.condition(at, setting).map(More::If),
    }
}

/// Reads `query.page` and the like.
fn place(cx: &Checker<'_>, at: &Path, written: Option<&str>) -> Option<Option<Into>> {
    let Some(written) = written else { return Some(None) };
    let into = match written.split_once('.') {
        Some(("query", name)) if !name.is_empty() => Some(Into::Query(name.to_owned())),
        Some(("form", name)) if !name.is_empty() => Some(Into::Form(name.to_owned())),
        Some(("header", name)) => name.parse().ok().map(Into::Header),
        Some(("body", path)) if !path.is_empty() => Some(Into::Body(path.to_owned())),
        _ => None,
    };
    if into.is_none() {
        let message = format!("{written:?} is no place in a request");
        let help = "like query.page, header.X-Page, form.page or body.$.page.after";
        cx.report(Problem::error("bad-page", at.clone(), message).help(help));
    }
    into.map(Some)
}

/// An answer without its records, for picks.
pub(super) fn envelope(tree: Json, now: Millis) -> Record {
    as_record(Body::from_tree(tree), now)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
