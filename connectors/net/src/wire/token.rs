//! Which part of an answer names the page that was asked for next, found without knowing how the API is paged: a value
//! that stands in the next request and not in the one that it answers.

use karez_api::Json;

use super::{Exchange, Payload};

/// `current` with the token of its own page in the place where `before` named that page; none where it has no such
/// token, or would not change by it.
pub(super) fn cycle(before: &Exchange, current: &Exchange) -> Option<Exchange> {
    let mut changed = current.clone();
    if let Some(link) = before.headers.get("link").filter(|link| names(link, before, current)) {
        changed.headers.insert("link".to_owned(), link.clone());
        return (changed != *current).then_some(changed);
    }
    let (Some(Payload::Json(answer)), Some(Payload::Json(own))) = (&before.answer, &mut changed.answer)
    else {
        return None;
    };
    let mut path = Vec::new();
    let token = found(answer, before, current, &mut path)?;
    put(own, &path, token);
    (changed != *current).then_some(changed)
}

/// Whether a header of links leads to the request.
fn names(link: &str, before: &Exchange, current: &Exchange) -> bool {
    link.contains(current.target.as_str()) && !before.target.ends_with(current.target.as_str())
}

/// Lists are not looked into: what stands there are records.
fn found(answer: &Json, before: &Exchange, current: &Exchange, path: &mut Vec<String>) -> Option<Json> {
    match answer {
        Json::Object(fields) => fields.iter().find_map(|(name, value)| {
            path.push(name.clone());
            let token = found(value, before, current, path);
            if token.is_none() {
                path.pop();
            }
            token
        }),
        Json::String(text) if text.len() > 1 => {
            let whole = text.ends_with(current.target.as_str()) && !text.ends_with(before.target.as_str());
            (whole || (carries(current, text) && !carries(before, text))).then(|| answer.clone())
        }
        Json::Number(number) => {
            let text = number.to_string();
            (carries(current, &text) && !carries(before, &text)).then(|| answer.clone())
        }
        _ => None,
    }
}

/// Whether a value stands in a request: whole, in its query or its body.
fn carries(exchange: &Exchange, text: &str) -> bool {
    let query = exchange.target.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).any(|(_, value)| value == text)
        || match &exchange.request {
            Some(Payload::Json(body)) => stands_in(body, text),
            Some(Payload::Text(form)) => {
                form_urlencoded::parse(form.as_bytes()).any(|(_, value)| value == text)
            }
            _ => false,
        }
}

fn stands_in(body: &Json, text: &str) -> bool {
    match body {
        Json::Object(fields) => fields.values().any(|value| stands_in(value, text)),
        Json::Array(items) => items.iter().any(|value| stands_in(value, text)),
        Json::String(value) => value == text,
        Json::Number(number) => number.to_string() == text,
        _ => false,
    }
}

fn put(tree: &mut Json, path: &[String], token: Json) {
    let mut at = tree;
    for name in path {
        if !at.is_object() {
            // The last page has null where others have more.
            *at = Json::Object(karez_api::JsonMap::new());
        }
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(name.clone()).or_insert(Json::Null);
    }
    *at = token;
}
