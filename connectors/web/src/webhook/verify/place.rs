//! Where a code stands in a request, and how it is cut out and decoded.

use ::http::HeaderName;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use karez_api::Json;

use super::BASE64;
use super::path::{BodyPath, plain};
use super::request::Request;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Most codes of one request that are looked at.
const MOST_CODES: usize = 100;

/// How a code or token is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64url,
}

impl Encoding {
    pub(in super::super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64url => BASE64URL.encode(bytes),
        }
    }

    pub(super) fn decode(self, text: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Hex => hex::decode(text).map_err(|_| "is not hex"),
            Self::Base64 => BASE64.decode(text).map_err(|_| "is not base64"),
            Self::Base64url => BASE64URL.decode(text).map_err(|_| "is not base64url"),
        }
    }
}

/// Where a piece of text stands.
#[derive(Clone)]
pub(super) enum Place {
    /// In each of these that is there; one of them at least.
    Headers(Vec<HeaderName>),
    Query(String),
    Body(BodyPath),
}

impl Place {
    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Headers(names) => names.first().map_or(String::new(), |name| name.to_string()),
            Self::Query(name) => name.clone(),
            Self::Body(path) => path.to_string(),
        }
    }

    pub(super) fn in_head(&self) -> bool {
        !matches!(self, Self::Body(_))
    }

    /// What stands there. `item` is the part of the body that is looked into, where it is not the whole.
    ///
    /// # Errors
    /// A fragment.
    pub(super) fn texts(
        &self,
        request: &Request<'_>,
        item: Option<&Json>,
    ) -> Result<Vec<Vec<u8>>, &'static str> {
        match self {
            Self::Headers(names) => {
                let there = names.iter().filter(|name| request.headers.contains_key(*name));
                let found: Result<Vec<_>, _> =
                    there.map(|name| request.header(name).map(<[u8]>::to_vec)).collect();
                found.and_then(|found| if found.is_empty() { Err("is missing") } else { Ok(found) })
            }
            Self::Query(name) => Ok(vec![request.parameter(name)?.into_bytes()]),
            Self::Body(path) => {
                let found = match item {
                    Some(item) => path.find(item),
                    None => request.field(path),
                };
                let text = found.and_then(plain).ok_or("is missing in the body")?;
                Ok(vec![text.into_owned().into_bytes()])
            }
        }
    }
}

/// A code as senders write it: alone, after a prefix, or among other things in a list.
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) prefix: String,
    /// What stands between the entries of a list; those that do not begin with the prefix are skipped.
    pub(super) separator: Option<char>,
    pub(super) encoding: Encoding,
}

impl Written {
    /// All codes that are there, `length` bytes each where it is known.
    ///
    /// # Errors
    /// What is wrong with the only one, as a sentence about its place.
    pub(super) fn codes(
        &self,
        request: &Request<'_>,
        item: Option<&Json>,
        length: Option<usize>,
    ) -> Result<Vec<Vec<u8>>, String> {
        let about = |what: &str| format!("{} {what}", self.place.name());
        let texts = self.place.texts(request, item).map_err(about)?;
        let entries: Vec<&[u8]> = texts.iter().flat_map(|text| self.entries(text)).take(MOST_CODES).collect();
        let mut wrong = None;
        let mut codes = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.encoding.decode(entry) {
                Ok(code) if length.is_none_or(|length| length == code.len()) => codes.push(code),
                Ok(_) => wrong = wrong.or(Some("has the wrong length")),
                Err(what) => wrong = wrong.or(Some(what)),
            }
        }
        match (codes.is_empty(), wrong, self.separator) {
            (false, ..) => Ok(codes),
            (true, Some(what), _) => Err(about(what)),
            (true, None, None) => Err(about(&format!("does not begin with {}", self.prefix))),
            (true, None, Some(_)) => Err(about(&format!("holds no {}", self.prefix))),
        }
    }

    /// What stands after the prefix.
    fn entries<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let prefix = self.prefix.as_bytes();
        match self.separator {
            None => text.strip_prefix(prefix).into_iter().collect(),
            Some(separator) => after(text, separator, prefix),
        }
    }
}

/// The rest of each entry of a list that begins with `prefix`.
pub(super) fn after<'t>(text: &'t [u8], separator: char, prefix: &[u8]) -> Vec<&'t [u8]> {
    let between = |byte: &u8| char::from(*byte) == separator;
    text.split(between).filter_map(|entry| entry.trim_ascii().strip_prefix(prefix)).collect()
}
