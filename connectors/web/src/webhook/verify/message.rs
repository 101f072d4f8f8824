//! What was signed: pieces of a request, put together as a template says.
//!
//! A part stands in braces: `{body}`, `{timestamp}`, `{method}`, `{url}`, `{header:NAME}`,
//! `{query:NAME}`, `{body:FIELD}`, `{crc32}`, `{sorted_form}`, `{secret}`; all else is as it stands.

use std::borrow::Cow;

use ::http::{HeaderMap, HeaderName, header};
use karez_api::Json;

use super::path::{BodyPath, plain};
use super::request::Request;

/// What is signed, checked.
pub(in super::super) struct Message {
    parts: Vec<Part>,
}

enum Part {
    Literal(String),
    Body,
    Timestamp,
    Method,
    Url,
    /// Of several names the first that is there.
    Header(Vec<HeaderName>),
    Query(String),
    Field {
        path: BodyPath,
        optional: bool,
    },
    Crc32,
    SortedForm,
    Secret,
    Hmac,
}

/// What a message is put together from, beside its request.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Given<'g> {
    pub(super) timestamp: Option<&'g str>,
    pub(super) url: Option<&'g str>,
    pub(super) secret: &'g [u8],
    /// What `{body:FIELD}` looks into, where it is not the whole body.
    pub(super) item: Option<&'g Json>,
    /// The body is signed by a hash in a parameter, so it is no form.
    pub(super) hashed_apart: bool,
    /// Of a handshake.
    pub(super) hmac: Option<&'g str>,
}

impl<'g> Given<'g> {
    /// What the answer to a handshake is put together from.
    pub(in super::super) fn hmac(hmac: Option<&'g str>) -> Self {
        Self { hmac, ..Self::default() }
    }
}

impl Message {
    /// # Errors
    /// What is wrong with the template, as a fragment.
    pub(in super::super) fn parse(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or("a `{` is not closed")? + open;
            literal(&mut parts, &rest[..open])?;
            parts.push(part(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        literal(&mut parts, rest)?;
        match parts.is_empty() {
            true => Err("nothing would be signed".into()),
            false => Ok(Self { parts }),
        }
    }

    fn any(&self, is: impl Fn(&Part) -> bool) -> bool {
        self.parts.iter().any(is)
    }
    pub(super) fn names_url(&self) -> bool {
        self.any(|part| matches!(part, Part::Url))
    }
    pub(super) fn names_secret(&self) -> bool {
        self.any(|part| matches!(part, Part::Secret))
    }
    pub(super) fn names_timestamp(&self) -> bool {
        self.any(|part| matches!(part, Part::Timestamp))
    }
    pub(super) fn names_body(&self) -> bool {
        self.any(|part| matches!(part, Part::Body))
    }
    pub(super) fn names_query(&self, name: &str) -> bool {
        self.any(|part| matches!(part, Part::Query(named) if named == name))
    }
    pub(super) fn names_header(&self, name: &HeaderName) -> bool {
        self.any(|part| matches!(part, Part::Header(names) if names.contains(name)))
    }

    /// Whether all of its parts are among those that `allowed` names.
    pub(in super::super) fn has_only(&self, allowed: &[&str]) -> Result<(), String> {
        let name = |part: &Part| match part {
            Part::Literal(_) => "",
            Part::Body => "body",
            Part::Timestamp => "timestamp",
            Part::Method => "method",
            Part::Url => "url",
            Part::Header(_) => "header:NAME",
            Part::Query(_) => "query:NAME",
            Part::Field { .. } => "body:FIELD",
            Part::Crc32 => "crc32",
            Part::SortedForm => "sorted_form",
            Part::Secret => "secret",
            Part::Hmac => "hmac",
        };
        let unfit = self.parts.iter().map(name).find(|name| !name.is_empty() && !allowed.contains(name));
        unfit.map_or(Ok(()), |name| Err(format!("{{{name}}} cannot stand here, only {}", allowed.join(", "))))
    }

    pub(in super::super) fn names_field(&self) -> bool {
        self.any(|part| matches!(part, Part::Field { .. }))
    }

    /// As text, from headers and fields alone; nothing where one of them is missing.
    pub(in super::super) fn text(&self, headers: &HeaderMap, tree: Option<&Json>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Header(names) => {
                    let value = names.iter().find_map(|name| headers.get(name))?;
                    text.push_str(value.to_str().ok()?.trim());
                }
                Part::Field { path, optional } => match tree.and_then(|tree| path.find(tree)).and_then(plain)
                {
                    Some(value) => text.push_str(&value),
                    None if *optional => {}
                    None => return None,
                },
                _ => return None,
            }
        }
        Some(text)
    }

    /// # Errors
    /// What a request lacks, as a fragment.
    pub(in super::super) fn of<'r>(
        &'r self,
        request: &'r Request<'_>,
        given: &Given<'r>,
    ) -> Result<Vec<Cow<'r, [u8]>>, String> {
        self.parts.iter().map(|part| part.of(request, given)).collect()
    }
}

fn literal(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.contains('}') {
        return Err("a `}` closes nothing".into());
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.into()));
    }
    Ok(())
}

fn part(name: &str) -> Result<Part, String> {
    Ok(match name.split_once(':') {
        None => match name {
            "body" => Part::Body,
            "timestamp" => Part::Timestamp,
            "method" => Part::Method,
            "url" => Part::Url,
            "crc32" => Part::Crc32,
            "sorted_form" => Part::SortedForm,
            "secret" => Part::Secret,
            "hmac" => Part::Hmac,
            _ => return Err(unknown(name)),
        },
        Some(("header", names)) => Part::Header(header_names(names)?),
        Some(("query", parameter)) if !parameter.is_empty() => Part::Query(parameter.into()),
        Some(("body", field)) => {
            let optional = field.ends_with('?');
            Part::Field { path: BodyPath::parse(field.trim_end_matches('?'))?, optional }
        }
        Some(_) => return Err(unknown(name)),
    })
}

fn unknown(name: &str) -> String {
    format!(
        "there is no part {{{name}}}; there are body, timestamp, method, url, header:NAME, query:NAME, \
         body:FIELD, crc32, sorted_form and secret"
    )
}

/// `A|B`.
pub(super) fn header_names(names: &str) -> Result<Vec<HeaderName>, String> {
    let name = |name: &str| name.parse().map_err(|_| format!("{name:?} is not a header name"));
    names.split('|').map(name).collect()
}

impl Part {
    fn of<'r>(&'r self, request: &'r Request<'_>, given: &Given<'r>) -> Result<Cow<'r, [u8]>, String> {
        Ok(match self {
            Self::Literal(text) => text.as_bytes().into(),
            Self::Body => request.body.into(),
            Self::Timestamp => given.timestamp.ok_or("the timestamp is missing")?.as_bytes().into(),
            Self::Method => request.method.as_str().as_bytes().into(),
            Self::Url => given.url.ok_or("the address is not known")?.as_bytes().into(),
            Self::Secret => given.secret.into(),
            Self::Hmac => given.hmac.ok_or("nothing was hashed")?.as_bytes().into(),
            Self::Header(names) => first(request, names)?.into(),
            Self::Query(name) => {
                let value = request.parameter(name).map_err(|what| format!("{name} {what}"))?;
                Cow::Owned(value.into_bytes())
            }
            Self::Field { path, optional } => field(request, given, path, *optional)?,
            Self::Crc32 => Cow::Owned(crc32fast::hash(request.body).to_string().into_bytes()),
            Self::SortedForm if given.hashed_apart => Cow::Borrowed(b""),
            Self::SortedForm => Cow::Owned(sorted_form(request)?),
        })
    }
}

/// Of several headers the first that is there.
fn first<'r>(request: &Request<'r>, names: &[HeaderName]) -> Result<&'r [u8], String> {
    let named = names.iter().find(|name| request.headers.contains_key(*name)).or(names.first());
    let name = named.ok_or("no header is named")?;
    request.header(name).map_err(|what| format!("{name} {what}"))
}

fn field<'r>(
    request: &'r Request<'_>,
    given: &Given<'r>,
    path: &BodyPath,
    optional: bool,
) -> Result<Cow<'r, [u8]>, String> {
    let found = match given.item {
        Some(item) => path.find(item),
        None => request.field(path),
    };
    match found.filter(|value| !value.is_null()) {
        None if optional => Ok(Cow::Borrowed(b"")),
        None => Err(format!("{path} is missing in the body")),
        Some(value) => match plain(value) {
            Some(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Some(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            None => Err(format!("{path} is neither text nor a number")),
        },
    }
}

/// Each name of a form in order, with each of its values in order, once: Twilio's way.
fn sorted_form(request: &Request<'_>) -> Result<Vec<u8>, String> {
    if request.body.is_empty() {
        return Ok(Vec::new());
    }
    let content_type = request.header(&header::CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Err("the body is neither a form nor signed in another way".into());
    }
    let mut pairs: Vec<_> = form_urlencoded::parse(request.body).collect();
    pairs.sort();
    pairs.dedup();
    let mut signed = Vec::with_capacity(request.body.len());
    for (name, value) in &pairs {
        signed.extend_from_slice(name.as_bytes());
        signed.extend_from_slice(value.as_bytes());
    }
    Ok(signed)
}
