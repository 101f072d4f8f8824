//! The parts that a message can be put together from.

use std::borrow::Cow;

use ::http::HeaderName;
use karez_api::Json;

use super::super::super::headers::is_form;
use super::super::path::{BodyPath, plain};
use super::super::request::Request;
use super::Given;

pub(super) enum Part {
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
    /// Of each that is there a line with its name and one with its value.
    Fields(Vec<Field>),
    Crc32,
    SortedForm,
    Secret,
    Hmac,
    /// Of a provider, to be filled in before anything is signed.
    Parameter(String),
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) path: BodyPath,
    pub(super) optional: bool,
}

impl Part {
    pub(super) fn read(name: &str) -> Result<Self, String> {
        Ok(match name.split_once(':') {
            None => match name {
                "body" => Self::Body,
                "timestamp" => Self::Timestamp,
                "method" => Self::Method,
                "url" => Self::Url,
                "crc32" => Self::Crc32,
                "sorted_form" => Self::SortedForm,
                "secret" => Self::Secret,
                "hmac" => Self::Hmac,
                _ => return Err(unknown(name)),
            },
            Some(("header", names)) => Self::Header(header_names(names)?),
            Some(("fields", names)) => Self::Fields(names.split(',').map(listed).collect::<Result<_, _>>()?),
            Some(("parameter", name)) if !name.is_empty() => Self::Parameter(name.into()),
            Some(("query", parameter)) if !parameter.is_empty() => Self::Query(parameter.into()),
            Some(("body", field)) => {
                let optional = field.ends_with('?');
                Self::Field { path: BodyPath::parse(field.trim_end_matches('?'))?, optional }
            }
            Some(_) => return Err(unknown(name)),
        })
    }

    /// As it is written among the parts that may stand somewhere; nothing for what stands as it is.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Literal(_) => "",
            Self::Body => "body",
            Self::Timestamp => "timestamp",
            Self::Method => "method",
            Self::Url => "url",
            Self::Header(_) => "header:NAME",
            Self::Query(_) => "query:NAME",
            Self::Field { .. } => "body:FIELD",
            Self::Fields(_) => "fields:A,B",
            Self::Crc32 => "crc32",
            Self::SortedForm => "sorted_form",
            Self::Secret => "secret",
            Self::Hmac => "hmac",
            Self::Parameter(_) => "parameter:NAME",
        }
    }

    /// # Errors
    /// What a request lacks, as a fragment.
    pub(super) fn of<'r>(
        &'r self,
        request: &'r Request<'_>,
        given: &Given<'r>,
    ) -> Result<Cow<'r, [u8]>, String> {
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
            Self::Fields(listed) => Cow::Owned(lines(request, given, listed)?),
            Self::Parameter(name) => return Err(format!("nothing is filled in for {{parameter:{name}}}")),
            Self::Crc32 => Cow::Owned(crc32fast::hash(request.body).to_string().into_bytes()),
            Self::SortedForm if given.hashed_apart => Cow::Borrowed(b""),
            Self::SortedForm => Cow::Owned(sorted_form(request)?),
        })
    }
}

/// One of `{fields:A,B?}`.
fn listed(name: &str) -> Result<Field, String> {
    let optional = name.ends_with('?');
    let name = name.trim_end_matches('?');
    Ok(Field { name: name.into(), path: BodyPath::parse(name)?, optional })
}

fn unknown(name: &str) -> String {
    format!(
        "there is no part {{{name}}}; there are body, timestamp, method, url, header:NAME, query:NAME, \
         body:FIELD, fields:A,B, crc32, sorted_form, secret and parameter:NAME"
    )
}

/// `A|B`.
fn header_names(names: &str) -> Result<Vec<HeaderName>, String> {
    let name = |name: &str| name.parse().map_err(|_| format!("{name:?} is not a header name"));
    names.split('|').map(name).collect()
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

/// `NAME`, a line's end, its value, a line's end, and the next.
fn lines(request: &Request<'_>, given: &Given<'_>, listed: &[Field]) -> Result<Vec<u8>, String> {
    let mut signed = Vec::with_capacity(request.body.len());
    for one in listed {
        let there = match given.item {
            Some(item) => one.path.find(item),
            None => request.field(&one.path),
        };
        if one.optional && there.is_none_or(Json::is_null) {
            continue;
        }
        let value = field(request, given, &one.path, false)?;
        for line in [one.name.as_bytes(), &value] {
            signed.extend_from_slice(line);
            signed.push(b'\n');
        }
    }
    Ok(signed)
}

/// Each name of a form in order, with each of its values in order, once: Twilio's way.
fn sorted_form(request: &Request<'_>) -> Result<Vec<u8>, String> {
    if request.body.is_empty() {
        return Ok(Vec::new());
    }
    if !is_form(request.headers) {
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
