//! What was signed: pieces of a request, put together as a template says.
//!
//! A part stands in braces: `{body}`, `{timestamp}`, `{method}`, `{url}`, `{header:NAME}`,
//! `{query:NAME}`, `{body:FIELD}`, `{fields:A,B}`, `{crc32}`, `{sorted_form}`, `{secret}`,
//! `{parameter:NAME}`; all else is as it stands.

mod part;

use std::borrow::Cow;

use ::http::{HeaderMap, HeaderName};
use karez_api::Json;

use super::path::{BodyPath, plain};
use super::request::Request;
use super::texts::Parameters;

use part::Part;

/// What is signed, checked.
pub(in super::super) struct Message {
    parts: Vec<Part>,
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
            parts.push(Part::read(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        literal(&mut parts, rest)?;
        match parts.is_empty() {
            true => Err("nothing would be signed".into()),
            false => Ok(Self { parts }),
        }
    }

    /// With the texts of the file in place of `{parameter:NAME}`.
    ///
    /// # Errors
    /// A fragment: there is no such parameter, or it is a list.
    pub(super) fn with(self, parameters: &Parameters) -> Result<Self, String> {
        let filled_in = |part| match part {
            Part::Parameter(name) => match parameters.get(&name).map(|values| &*values.list) {
                Some([value]) => Ok(Part::Literal(value.clone())),
                Some(_) => Err(format!("{{parameter:{name}}} is not one text")),
                None => Err(format!("there is no {{parameter:{name}}}")),
            },
            other => Ok(other),
        };
        Ok(Self { parts: self.parts.into_iter().map(filled_in).collect::<Result<_, _>>()? })
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
    pub(super) fn names_query(&self, name: &str) -> bool {
        self.any(|part| matches!(part, Part::Query(named) if named == name))
    }
    /// Whether a field of the body is signed, wherever the rest of it is.
    pub(super) fn names_path(&self, named: &BodyPath) -> bool {
        self.any(|part| match part {
            Part::Body => true,
            Part::Field { path, .. } => path == named,
            Part::Fields(fields) => fields.iter().any(|field| field.path == *named),
            _ => false,
        })
    }
    pub(super) fn names_header(&self, name: &HeaderName) -> bool {
        self.any(|part| matches!(part, Part::Header(names) if names.contains(name)))
    }

    pub(super) fn names_sorted_form(&self) -> bool {
        self.any(|part| matches!(part, Part::SortedForm))
    }

    /// The headers that it takes in, by all their names.
    pub(in super::super) fn headers(&self) -> impl Iterator<Item = &[HeaderName]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Header(names) => Some(&**names),
            _ => None,
        })
    }
    /// The query parameters that it takes in.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Query(name) => Some(&**name),
            _ => None,
        })
    }
    /// The fields of the body that have to be there.
    pub(in super::super) fn fields(&self) -> impl Iterator<Item = &BodyPath> {
        self.parts.iter().flat_map(|part| match part {
            Part::Field { path, optional: false } => vec![path],
            Part::Fields(fields) => {
                fields.iter().filter(|field| !field.optional).map(|field| &field.path).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Whether all of its parts are among those that `allowed` names.
    pub(in super::super) fn has_only(&self, allowed: &[&str]) -> Result<(), String> {
        let unfit =
            self.parts.iter().map(Part::name).find(|name| !name.is_empty() && !allowed.contains(name));
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
