//! Lists: which records, in which order, which part of them, and how that is told.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::data::{Data, Item};
use crate::Json;
use crate::server::{Seen, Told};

/// An answer before it is written.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Page {
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type", kind.to_owned())], body: body.into() }
    }

    pub(super) fn json(status: u16, body: &Json) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(super) fn status(status: u16) -> Self {
        let headers = Vec::new();
        if status == 204 {
            return Self { status, headers, body: Vec::new() };
        }
        Self::json(status, &json!({"error": {"code": status, "message": "as the API has it"}}))
    }

    pub(super) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Whoever has this already gets no body.
    pub(super) fn tagged(self, seen: &Seen) -> Self {
        let digest = Sha256::digest(&self.body);
        let tag = format!("\"{:02x}{:02x}{:02x}{:02x}\"", digest[0], digest[1], digest[2], digest[3]);
        if seen.header("if-none-match") == Some(&tag) {
            return Self { status: 304, headers: vec![("ETag", tag)], body: Vec::new() };
        }
        self.header("ETag", tag)
    }

    pub(super) fn told(self) -> Told {
        Told::whole(self.status, &self.headers, &self.body)
    }
}

/// How a list is paged. Every one takes `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `{items, next}`; `next` is for `cursor`, and null at the end.
    Cursor,
    /// A list; `X-Next` is for `cursor`, and not there at the end.
    Header,
    /// A list; the last one's `id` is for `after`.
    Last,
    /// `{items, pages}`, by `page` from 0.
    Pages0,
    /// The same from 1.
    Pages1,
    /// `{items, total}`, by `offset`.
    Offset,
    /// A list with `Link`, by `page` from 1.
    Link,
    /// `{items, paging: {next}}`, which is an address.
    NextUrl,
}

impl Style {
    pub const ALL: [(&'static str, Self); 8] = [
        ("cursor", Self::Cursor),
        ("header", Self::Header),
        ("last", Self::Last),
        ("pages0", Self::Pages0),
        ("pages1", Self::Pages1),
        ("offset", Self::Offset),
        ("link", Self::Link),
        ("next-url", Self::NextUrl),
    ];
}

/// `GET /STYLE/PLACE`.
pub(super) fn answer(data: &Data, seen: &Seen, style: &str, place: &[&str]) -> Page {
    let items = match items(data, seen, place) {
        Ok(items) => items,
        Err(page) => return page,
    };
    if let Some((_, style)) = Style::ALL.iter().find(|(name, _)| *name == style) {
        return paged(data, seen, *style, &items);
    }
    let all: Vec<&Json> = items.iter().map(|item| &item.body).collect();
    let list = || json!(all).to_string();
    match style {
        "ndjson" => {
            let lines: String = all.iter().map(|body| format!("{body}\n")).collect();
            Page::new(200, "application/x-ndjson", lines)
        }
        "list" => Page::json(200, &json!({"count": all.len(), "items": all})),
        "csv" => Page::new(200, "text/csv", csv(&items)),
        "xml" => Page::new(200, "application/xml", xml(&items)),
        "gzip" => Page::new(200, "application/octet-stream", gzip(&list())),
        "encoded" => Page::new(200, "application/json", gzip(&list())).header("Content-Encoding", "gzip"),
        _ => Page::status(404),
    }
}

/// Which records, narrowed and in order.
fn items<'a>(data: &'a Data, seen: &Seen, place: &[&str]) -> Result<Vec<&'a Item>, Page> {
    let (collection, parent) = match place {
        [collection] => (collection, None),
        [above, parent, collection] => {
            let known = parent.parse().ok().filter(|id| data.has(above, *id));
            (collection, Some(known.ok_or_else(|| Page::status(404))?))
        }
        _ => return Err(Page::status(404)),
    };
    narrowed(data, collection, parent, |name| parameter(seen, name))
}

/// Of a collection, by parameters wherever they came from.
pub(super) fn narrowed<'a>(
    data: &'a Data,
    collection: &str,
    parent: Option<u64>,
    asked: impl Fn(&str) -> Option<String>,
) -> Result<Vec<&'a Item>, Page> {
    let time = |name: &str| match asked(name) {
        None => Ok(None),
        Some(text) => time_of(&text).map(Some).ok_or_else(|| Page::status(400)),
    };
    let (since, until) = (time("since")?, time("until")?);
    let from = asked("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let mut items: Vec<&Item> = data.items(collection).collect();
    items.retain(|item| {
        parent.is_none_or(|parent| item.parent == parent)
            && since.is_none_or(|since| item.at >= since)
            && until.is_none_or(|until| item.at <= until)
            && item.id >= from
    });
    if since.is_some() || until.is_some() || asked("order").is_some() {
        items.sort_by_key(|item| (item.at, item.id));
    }
    if asked("order").as_deref() == Some("desc") {
        items.reverse();
    }
    Ok(items)
}

/// From the query, the header `X-NAME`, or a body of JSON or of a form.
fn parameter(seen: &Seen, name: &str) -> Option<String> {
    let header = || seen.header(&format!("x-{name}")).map(str::to_owned);
    let body = || match serde_json::from_slice::<Json>(&seen.body) {
        Ok(body) => text(&body, name),
        Err(_) => {
            let found = form_urlencoded::parse(&seen.body).find(|(known, _)| known == name);
            found.map(|(_, value)| value.into_owned())
        }
    };
    seen.query(name).or_else(header).or_else(body)
}

/// A field of an object as a query would have it.
pub(super) fn text(object: &Json, name: &str) -> Option<String> {
    match &object[name] {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// RFC 3339, a date, or seconds or milliseconds since 1970.
fn time_of(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return if number > 100_000_000_000 {
            Timestamp::from_millisecond(number).ok()
        } else {
            Timestamp::from_second(number).ok()
        };
    }
    text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok()
}

fn paged(data: &Data, seen: &Seen, style: Style, items: &[&Item]) -> Page {
    let number = |name: &str| parameter(seen, name).map(|text| text.parse::<usize>());
    let size = match number("limit") {
        None => data.page_size,
        Some(Ok(limit)) if limit > 0 => limit,
        Some(_) => return Page::status(400),
    };
    let first = match style {
        Style::Cursor | Style::Header => match behind(data, items, parameter(seen, "cursor")) {
            Ok(first) => first,
            Err(page) => return page,
        },
        Style::Last => {
            let after = number("after").and_then(Result::ok);
            let known = |after| items.iter().position(|item| item.id == after as u64);
            after.and_then(known).map_or(0, |last| last + 1)
        }
        Style::Pages0 => size * number("page").and_then(Result::ok).unwrap_or(0),
        Style::Pages1 | Style::Link | Style::NextUrl => {
            size * (number("page").and_then(Result::ok).unwrap_or(1).max(1) - 1)
        }
        Style::Offset => number("offset").and_then(Result::ok).unwrap_or(0),
    };
    let end = (first + size).min(items.len());
    let part = items.get(first..end).unwrap_or_default();
    let more = (end < items.len()).then_some(end);
    let list: Vec<&Json> = part.iter().map(|item| &item.body).collect();
    let token = more.and(part.last()).map(|last| token(data, last));
    let next_page = || more.map(|end| address(seen, end / size + 1));
    match style {
        Style::Cursor => Page::json(200, &json!({"items": list, "next": token})),
        Style::Header => {
            let page = Page::json(200, &json!(list));
            token.into_iter().fold(page, |page, token| page.header("X-Next", token))
        }
        Style::Last => Page::json(200, &json!(list)),
        Style::Pages0 | Style::Pages1 => {
            Page::json(200, &json!({"items": list, "pages": items.len().div_ceil(size)}))
        }
        Style::Offset => Page::json(200, &json!({"items": list, "total": items.len()})),
        Style::Link => {
            let last = format!("<{}>; rel=\"last\"", address(seen, items.len().div_ceil(size)));
            let next = next_page().map(|next| format!("<{next}>; rel=\"next\", "));
            Page::json(200, &json!(list)).header("Link", next.unwrap_or_default() + &last)
        }
        Style::NextUrl => Page::json(200, &json!({"items": list, "paging": {"next": next_page()}})),
    }
}

/// It holds although records are added, and until tokens expire.
pub(super) fn token(data: &Data, last: &Item) -> String {
    format!("t{}-{}", data.generation, last.id)
}

/// The place of the first record behind the one that the token names.
///
/// # Errors
/// 400 for one that was never given out, 410 for one that has expired.
pub(super) fn behind(data: &Data, items: &[&Item], token: Option<String>) -> Result<usize, Page> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(0) };
    let parts = token.strip_prefix('t').and_then(|rest| rest.split_once('-'));
    let parts = parts.and_then(|(generation, id)| Some((generation.parse::<u64>().ok()?, id.parse().ok()?)));
    let (generation, id): (u64, u64) = parts.ok_or_else(|| Page::status(400))?;
    if generation != data.generation {
        return Err(Page::status(410));
    }
    let place = items.iter().position(|item| item.id == id);
    place.map(|place| place + 1).ok_or_else(|| Page::status(400))
}

/// The request's own address with another page.
fn address(seen: &Seen, page: usize) -> String {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "page");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("page", &page.to_string())
        .finish();
    format!("http://{}{path}?{query}", seen.header("host").unwrap_or_default())
}

pub(super) fn csv(items: &[&Item]) -> String {
    let line = |item: &&Item| {
        let text = |name: &str| item.body[name].as_str().unwrap_or_default().replace('"', "\"\"");
        format!("{},{},{},\"{}\"\n", item.id, text("updated_at"), item.parent, text("payload"))
    };
    "id,updated_at,parent,payload\n".to_owned() + &items.iter().map(line).collect::<String>()
}

/// `Line` comes as often as the number's last digit says, up to twice.
fn xml(items: &[&Item]) -> String {
    let one = |item: &&Item| {
        let text = |name: &str| {
            let text = item.body[name].as_str().unwrap_or_default();
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
        };
        let lines: String = (0..item.id % 3).map(|n| format!("<Line>{n}</Line>")).collect();
        format!("<Order><Id>{}</Id><Payload>{}</Payload>{lines}</Order>", item.id, text("payload"))
    };
    let orders: String = items.iter().map(one).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Orders>{orders}</Orders>\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
