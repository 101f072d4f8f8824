//! What a file of the catalogue says.

use std::collections::BTreeMap;

use karez_api::JsonMap;
use serde::{Deserialize, Serialize};

/// A provider of the catalogue: its file under `providers/`, and the file's name.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What `provider: NAME` calls it.
    #[serde(skip_deserializing)]
    pub name: &'static str,
    /// What people call it.
    pub title: String,
    /// Like `crm` or `payments`.
    pub category: String,
    /// Its own page about this.
    pub docs: String,
    /// What people trip over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What its addresses need to know, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Settings of a connection (`spec::ConnectionSpec`), whichever way one logs in. `{NAME}` in a text stands for a
    /// parameter, or for a value kept from the log-in.
    pub connection: JsonMap,
    /// Ways to log in, no two with the same kind and grant. The first is the one that counts where a file says nothing.
    #[serde(rename(deserialize = "way"))]
    pub ways: Vec<Way>,
    /// How its lists come in pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paging: Option<Paging>,
    /// How often it may be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A part of addresses that is different for each customer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What it is and where it is found.
    pub about: String,
    pub example: String,
    /// A regular expression that a value matches whole. It keeps a value from leading to another host.
    pub pattern: String,
    /// Needed wherever an address has it, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A way to log in.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// For whom it is, or where its keys come from.
    pub about: String,
    /// `auth` of a connection, without secrets.
    pub auth: JsonMap,
    /// What is different elsewhere in the connection.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub connection: JsonMap,
    /// Fields that a file has to say, behind the kind (`assertion.jwt.key`), and what each of them is. Those that
    /// every one of its kind needs are known without this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, String>,
    /// Headers of the connection that a file has to say, and what each of them is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// How lists come in pieces.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    pub kind: PagingKind,
    /// Parameters of the request that say which piece.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request: Vec<String>,
    /// Where the answer says what comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The parameter for the size of a piece, and the most it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PagingKind {
    /// `Link: <…>; rel="next"` (RFC 8288).
    LinkHeader,
    /// A token from one piece leads to the next.
    Cursor,
    /// So many are skipped.
    Offset,
    /// Pieces are numbered.
    Page,
    /// The answer has the whole address of the next piece.
    NextUrl,
}

impl PagingKind {
    /// As a file says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkHeader => "link_header",
            Self::Cursor => "cursor",
            Self::Offset => "offset",
            Self::Page => "page",
            Self::NextUrl => "next_url",
        }
    }
}

/// How often it may be called.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// As it documents it.
    pub text: String,
    /// Headers of answers that say what is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
}
