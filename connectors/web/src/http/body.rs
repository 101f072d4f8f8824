//! What a request carries: a record as `encode` says, the `body` setting, or nothing.

use bytes::Bytes;
use karez_api::{Encode, Fault, Form, Json, Record, Value};

/// Where the bytes come from.
pub(super) enum Payload {
    Encoded(Encode),
    /// `body`: a value for each record.
    Value(Value, Encode),
    /// `body: null`.
    Nothing,
}

/// How several records stand in one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    One,
    Array,
    Lines,
}

impl Payload {
    /// How a batch is written; `None` where records cannot share a request.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self {
            Self::Encoded(encode) | Self::Value(_, encode) => match encode {
                Encode::Json => Some(Framing::Array),
                Encode::Ndjson => Some(Framing::Lines),
                Encode::Text => None,
            },
            Self::Nothing => None,
        }
    }

    /// The media type, absent where there is no body.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Encoded(encode) | Self::Value(_, encode) => Some(match encode {
                Encode::Json => "application/json",
                Encode::Ndjson => "application/x-ndjson",
                Encode::Text => "text/plain; charset=utf-8",
            }),
            Self::Nothing => None,
        }
    }

    /// One record's part of a body.
    ///
    /// # Errors
    /// Class validation: the record has no such form.
    pub(super) fn of(&self, record: &Record) -> Result<Bytes, Fault> {
        match self {
            Self::Nothing => Ok(Bytes::new()),
            Self::Encoded(Encode::Text) => text(record),
            Self::Encoded(Encode::Json) if record.body().form() == Form::Json => {
                Ok(record.body().bytes().clone())
            }
            Self::Encoded(_) => record.body().json_line().map_err(|error| Fault::validation("encode", error)),
            Self::Value(value, encode) => match (value.eval(record)?, encode) {
                (Some(Json::String(text)), Encode::Text) => Ok(Bytes::from(text)),
                (Some(tree), _) => Ok(Bytes::from(tree.to_string())),
                (None, _) => Err(Fault::validation("no_body", "`body` yields nothing for this record")),
            },
        }
    }
}

/// A JSON string goes out as its text, anything else as its bytes.
fn text(record: &Record) -> Result<Bytes, Fault> {
    let body = record.body();
    if body.form() != Form::Json {
        return Ok(body.bytes().clone());
    }
    match body.tree().map_err(|error| Fault::validation("encode", error))? {
        Json::String(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        _ => Ok(body.bytes().clone()),
    }
}

/// Puts the parts of one request together.
pub(super) fn join(framing: Framing, parts: &[&Bytes]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len() + 1).sum();
    match framing {
        Framing::One => parts.first().map_or_else(Bytes::new, |part| Bytes::clone(part)),
        Framing::Array => {
            let mut whole = Vec::with_capacity(length + 2);
            whole.push(b'[');
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    whole.push(b',');
                }
                whole.extend_from_slice(part);
            }
            whole.push(b']');
            whole.into()
        }
        Framing::Lines => {
            let mut whole = Vec::with_capacity(length);
            for part in parts {
                whole.extend_from_slice(part);
                whole.push(b'\n');
            }
            whole.into()
        }
    }
}
