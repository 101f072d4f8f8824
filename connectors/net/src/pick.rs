//! Values picked from an answer: by JSONPath (RFC 9535) from its body, by name from its headers and cookies, or from
//! the query of a callback.

use http::{HeaderMap, HeaderName, header};
use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use karez_api::{Json, Path, Problem};

/// Where a value stands.
#[derive(Debug, Clone)]
pub(crate) enum Pick {
    Body(JpQuery),
    Header(HeaderName),
    Cookie(String),
    Callback(String),
}

/// What is picked from. What is not there yields nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) body: Option<&'a Json>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// Names and values, decoded.
    pub(crate) callback: Option<&'a [(String, String)]>,
}

impl Pick {
    /// # Errors
    /// What is wrong with the text, as a fragment.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("header", name)) => {
                let name = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
                Ok(Self::Header(name))
            }
            Some(("cookie", name)) if !name.is_empty() => Ok(Self::Cookie(name.into())),
            Some(("callback", name)) if !name.is_empty() => Ok(Self::Callback(name.into())),
            _ if text.starts_with('$') => {
                parse_json_path(text).map(Self::Body).map_err(|_| "it is not a JSONPath (RFC 9535)".into())
            }
            _ => Err("a pick begins with `$` (JSONPath), `header:`, `cookie:` or `callback:`".into()),
        }
    }

    /// The first value that stands there and is not null.
    pub(crate) fn find(&self, seen: Seen<'_>) -> Option<Json> {
        match self {
            Self::Body(path) => {
                let found = js_path_process(path, seen.body?).unwrap_or_default();
                found.into_iter().map(|found| found.val()).find(|value| !value.is_null()).cloned()
            }
            Self::Header(name) => seen.headers?.get(name)?.to_str().ok().map(Json::from),
            Self::Cookie(name) => cookie(seen.headers?, name).map(Json::from),
            Self::Callback(name) => {
                seen.callback?.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str().into())
            }
        }
    }

    /// The same as text, where it is a text, a number or a boolean.
    pub(crate) fn text(&self, seen: Seen<'_>) -> Option<String> {
        match self.find(seen)? {
            Json::String(text) => Some(text),
            value @ (Json::Number(_) | Json::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Whether it looks at callbacks.
    pub(crate) fn is_callback(&self) -> bool {
        matches!(self, Self::Callback(_))
    }
}

/// The value of a cookie that an answer sets (RFC 6265 §5.2); of several the last, as a browser keeps it.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let set = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = set.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    let value = pairs.rev().find(|(one, _)| one.trim() == name)?.1.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// Tells of a text that is no pick.
pub(crate) fn check(text: &str, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = Pick::read(text) {
        problems.push(Problem::error("bad-pick", at.clone(), what));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_found_where_the_pick_says() {
        let body =
            json!({"data": {"token": "t1", "none": null}, "n": 5, "list": [{"id": null}, {"id": "second"}]});
        let mut headers = HeaderMap::new();
        headers.insert("x-token", "t2".parse().unwrap());
        headers.append("set-cookie", "sid=old; Path=/".parse().unwrap());
        headers.append("set-cookie", "sid=\"t3\"; HttpOnly".parse().unwrap());
        headers.append("set-cookie", "other=x".parse().unwrap());
        let callback = [("realmId".to_owned(), "t4".to_owned())];
        let seen = Seen { body: Some(&body), headers: Some(&headers), callback: Some(&callback) };
        for (pick, expected) in [
            ("$.data.token", Some("t1")),
            ("$['n']", Some("5")),
            ("$.list[*].id", Some("second")),
            ("$.data.none", None),
            ("$.data", None),
            ("$.missing", None),
            ("header:X-Token", Some("t2")),
            ("header:X-Other", None),
            ("cookie:sid", Some("t3")),
            ("cookie:SID", None),
            ("callback:realmId", Some("t4")),
            ("callback:other", None),
        ] {
            let pick = Pick::read(pick).unwrap();
            assert_eq!(pick.text(seen).as_deref(), expected, "{pick:?}");
            assert_eq!(pick.text(Seen::default()), None, "{pick:?}");
        }
    }

    #[test]
    fn what_is_no_pick_is_told() {
        for (text, expected) in [
            ("data.token", "begins with `$`"),
            ("$.[", "not a JSONPath"),
            ("header:a b", "\"a b\" is not the name of a header"),
            ("cookie:", "begins with `$`"),
            ("", "begins with `$`"),
        ] {
            let what = Pick::read(text).unwrap_err();
            assert!(what.contains(expected), "{text}: {what}");
        }
    }
}
