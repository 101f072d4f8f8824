//! The catalogue of providers: one file each under `providers/`, embedded in the binary. A new
//! provider is a new file; nothing here knows any of them by name.

mod description;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ::http::HeaderMap;
use include_dir::{Dir, File, include_dir};
use karez_api::{Decode, Duration, Json};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::handshake::HandshakeSpec;
use super::packed::Each;
use super::verify::{Message, Verify};

pub use description::Description;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/providers");

static CATALOGUE: LazyLock<BTreeMap<&str, Provider>> = LazyLock::new(|| {
    let named = |file: &'static File<'static>| {
        let name = file.path().file_stem()?.to_str()?;
        // A test keeps every file readable.
        Some((name, Provider::read(name, file.contents_utf8()?).ok()?))
    };
    FILES.files().filter_map(named).collect()
});

/// What a provider's file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFile {
    /// For people.
    title: String,
    /// Where the provider describes its signature.
    docs: String,
    /// What is worth knowing: one sentence.
    note: Option<String>,
    /// Within what time it wants an answer, where it says so.
    deadline: Option<Duration>,
    /// How long it may try again: as long a delivery is known.
    dedup: Duration,
    /// What its scheme needs to know beside a key, and what each of that is.
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    /// Media types that it sends its events as, beside those that fit them anyhow.
    #[serde(default)]
    media_types: Vec<String>,
    /// Whether what has no id is known by the hash of its body. Not where that only says that something changed: two
    /// with the same body are two.
    #[serde(default = "yes")]
    hash: bool,
    /// The list in the body whose items are events, where a delivery holds several; `.` if the body is the list.
    /// `event_id` and `event_type` then name fields of an event.
    each: Option<String>,
    /// Where the id of a delivery that holds several events stands.
    #[serde(default)]
    delivery_id: Vec<String>,
    /// Where the id of an event stands, in templates of which the first that can be filled in counts.
    #[serde(default)]
    event_id: Vec<String>,
    /// Where the type of an event stands, likewise.
    #[serde(default)]
    event_type: Vec<String>,
    /// Where the sender's count of tries stands.
    attempt: Option<AttemptFile>,
    /// What the body is, where it is not JSON.
    decode: Option<Decode>,
    /// The answer to what was taken, where the provider wants a certain one.
    answer: Option<Answer>,
    /// A scheme without its keys.
    verify: toml::Value,
    #[serde(default)]
    handshake: Vec<HandshakeSpec>,
}

fn yes() -> bool {
    true
}

/// A count of tries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptFile {
    /// A template, as in `event_id`; the first try may be without it.
    of: String,
    /// What it says at the first try.
    first: u32,
}

/// The answer to what was taken.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Of the body, where it is no plain text.
    pub(super) content_type: Option<String>,
    #[serde(default)]
    pub(super) body: String,
}

/// A provider of the catalogue.
pub struct Provider {
    name: &'static str,
    file: ProviderFile,
    event_id: Naming,
    event_type: Naming,
    each: Option<Each>,
    delivery_id: Naming,
    attempt: Option<Naming>,
}

impl Provider {
    fn read(name: &'static str, text: &str) -> Result<Self, String> {
        let file: ProviderFile = toml::from_str(text).map_err(|error| error.to_string())?;
        // What is wrong with the scheme shows here rather than where it is used.
        Verify::deserialize(file.verify.clone()).map_err(|error| error.to_string())?;
        let naming = |templates: &[String]| -> Result<Naming, String> {
            let read = |text: &String| {
                let message = Message::parse(text)?;
                message.has_only(&["header:NAME", "body:FIELD"]).map(|()| message)
            };
            templates.iter().map(read).collect::<Result<_, _>>().map(Naming)
        };
        let (event_id, event_type) = (naming(&file.event_id)?, naming(&file.event_type)?);
        let each = file.each.as_deref().map(Each::parse).transpose()?;
        let counted = |attempt: &AttemptFile| naming(std::slice::from_ref(&attempt.of));
        let attempt = file.attempt.as_ref().map(counted).transpose()?;
        let delivery_id = naming(&file.delivery_id)?;
        Ok(Self { name, event_id, event_type, each, delivery_id, attempt, file })
    }

    /// What `verify: {provider: …}` calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// What people call it.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.file.title
    }
    /// Where it describes its signature.
    #[must_use]
    pub fn docs(&self) -> &str {
        &self.file.docs
    }
    /// What is worth knowing, in a sentence.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.file.note.as_deref()
    }
    /// Within what time it wants an answer, where it says so.
    #[must_use]
    pub fn deadline(&self) -> Option<std::time::Duration> {
        self.file.deadline.map(|deadline| deadline.0)
    }
    /// How long a delivery is known, so that it is taken once.
    #[must_use]
    pub fn dedup_window(&self) -> std::time::Duration {
        self.file.dedup.0
    }
    /// Whether what has no id is known by the hash of its body.
    #[must_use]
    pub fn hashes(&self) -> bool {
        self.file.hash
    }

    /// What its scheme needs to know beside a key, and what each of that is.
    #[must_use]
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.file.parameters
    }

    pub(super) fn sends_as(&self, media_type: &str) -> bool {
        self.file.media_types.iter().any(|own| own == media_type)
    }
    pub(super) fn wants_verify_token(&self) -> bool {
        self.file.handshake.iter().any(HandshakeSpec::wants_verify_token)
    }
    pub(super) fn decode(&self) -> Option<Decode> {
        self.file.decode
    }
    pub(super) fn event_id(&self) -> &Naming {
        &self.event_id
    }
    /// What a whole delivery is known by.
    pub(super) fn delivery_id(&self) -> &Naming {
        if self.each.is_some() { &self.delivery_id } else { &self.event_id }
    }
    pub(super) fn event_type(&self) -> &Naming {
        &self.event_type
    }
    pub(super) fn each(&self) -> Option<&Each> {
        self.each.as_ref()
    }
    /// Which try a delivery is, from 1.
    pub(super) fn attempt(&self, headers: &HeaderMap, tree: Option<&Json>) -> Option<u32> {
        let (naming, file) = (self.attempt.as_ref()?, self.file.attempt.as_ref()?);
        let count = naming.of(headers, tree).map_or(Some(file.first), |text| text.parse().ok())?;
        count.checked_sub(file.first)?.checked_add(1)
    }
    /// Whether the count of tries stands in the body.
    pub(super) fn counts_in_the_body(&self) -> bool {
        self.attempt.as_ref().is_some_and(Naming::looks_into_the_body)
    }
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.file.answer.as_ref()
    }
    pub(super) fn handshakes(&self) -> &[HandshakeSpec] {
        &self.file.handshake
    }

    /// Its scheme, without keys.
    pub(super) fn verify(&self) -> Verify {
        Verify::deserialize(self.file.verify.clone()).unwrap_or_default()
    }
}

/// Where a piece of text stands that names something: the first template that can be filled in.
pub(super) struct Naming(Vec<Message>);

impl Naming {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Message> {
        self.0.first()
    }

    pub(super) fn looks_into_the_body(&self) -> bool {
        self.0.iter().any(Message::names_field)
    }
    pub(super) fn of(&self, headers: &HeaderMap, tree: Option<&Json>) -> Option<String> {
        self.0.iter().find_map(|template| template.text(headers, tree)).filter(|text| !text.is_empty())
    }
}

/// All providers, by name.
pub fn providers() -> impl Iterator<Item = &'static Provider> {
    CATALOGUE.values()
}

/// By the name that a file has for it.
pub fn find(name: &str) -> Option<&'static Provider> {
    CATALOGUE.get(name)
}

/// The names of all.
pub fn names() -> Vec<&'static str> {
    CATALOGUE.keys().copied().collect()
}

pub(super) fn names_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": CATALOGUE.keys().collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests;
