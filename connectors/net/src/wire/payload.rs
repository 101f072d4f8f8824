//! The body of a request or an answer as a fixture holds it: readable where it can be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use karez_api::{Json, parse_json};
use serde::{Deserialize, Serialize};

use crate::Scrub;

/// A body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Payload {
    Json(Json),
    Text(String),
    Base64(String),
}

impl Payload {
    /// Without what `scrub` knows; none where there is nothing.
    pub(super) fn read(bytes: &[u8], scrub: &Scrub) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let structured = parse_json(bytes).ok().filter(|tree| tree.is_object() || tree.is_array());
        Some(match (structured, std::str::from_utf8(bytes)) {
            (Some(tree), _) => Self::Json(scrub.json(&tree)),
            (None, Ok(text)) => Self::Text(scrub.text(text)),
            (None, Err(_)) => Self::Base64(STANDARD.encode(bytes)),
        })
    }

    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Json(tree) => tree.to_string().into(),
            Self::Text(text) => text.clone().into(),
            // What somebody wrote there by hand and is no base64 stands for itself.
            Self::Base64(text) => STANDARD.decode(text).unwrap_or_else(|_| text.clone().into_bytes()).into(),
        }
    }

    /// As people read it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Json(tree) => tree.to_string(),
            Self::Text(text) => text.clone(),
            Self::Base64(text) => format!("{} bytes", text.len() / 4 * 3),
        }
    }
}
