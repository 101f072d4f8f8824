//! Secrets and keys as a file gives them: one or a list, each with an end if it is being replaced.

use std::marker::PhantomData;

use base64::Engine as _;
use karez_api::{Checker, Millis, Path, Problem, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use subtle::Choice;

use super::BASE64;

/// What an entry is called where it is a map.
pub(in super::super) trait Named {
    const NAME: &'static str;
    const IS_SECRET: bool;
}

#[derive(Clone)]
pub(in super::super) struct Shared;
impl Named for Shared {
    const NAME: &'static str = "secret";
    const IS_SECRET: bool = true;
}

#[derive(Clone)]
pub(in super::super) struct Public;
impl Named for Public {
    const NAME: &'static str = "key";
    const IS_SECRET: bool = false;
}

/// What a shared secret is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SecretEncoding {
    /// The text itself, even if it looks like base64.
    #[default]
    Utf8,
    Base64,
    Hex,
}

/// Entry by entry what a file says.
#[derive(Clone)]
pub(in super::super) struct Secrets<N = Shared> {
    list: Vec<Entry>,
    written_as_list: bool,
    of: PhantomData<N>,
}

#[derive(Clone)]
struct Entry {
    text: Secret,
    not_after: Option<jiff::Timestamp>,
    written_as_map: bool,
}

/// One entry of a list, read by whoever knows what it is for.
pub(super) struct Dated<T> {
    pub(super) value: T,
    pub(super) not_after: Option<Millis>,
}

impl<T> Dated<T> {
    pub(super) fn counts(&self, now: Millis) -> bool {
        self.not_after.is_none_or(|end| now <= end)
    }

    /// Which of a list fits, the first if several do. Every one that counts is tried, so that time does not tell
    /// how near a wrong code came to one of them.
    pub(super) fn matching(list: &[Self], now: Millis, fits: impl Fn(&T) -> Choice) -> Option<usize> {
        let counting = list.iter().enumerate().filter(|(_, one)| one.counts(now));
        counting.fold(None, |found, (index, one)| {
            let fits = bool::from(fits(&one.value));
            found.or(fits.then_some(index))
        })
    }
}

pub(super) type Keys = Vec<Dated<Vec<u8>>>;

impl<N: Named> Secrets<N> {
    /// Reads each entry; reports those that are empty or that `read` refuses.
    pub(super) fn read<T>(
        &self,
        cx: &Checker<'_>,
        at: &Path,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Dated<T>>> {
        if self.list.is_empty() {
            cx.report(empty_secret(at.clone()));
        }
        let mut found = Vec::new();
        for (index, entry) in self.list.iter().enumerate() {
            let listed = if self.written_as_list { at.index(index) } else { at.clone() };
            let place = if entry.written_as_map { listed.field(N::NAME) } else { listed };
            let text = entry.text.expose();
            if text.is_empty() {
                cx.report(empty_secret(place));
                continue;
            }
            let end = |time: jiff::Timestamp| Millis(time.as_millisecond().try_into().unwrap_or(0));
            match read(text) {
                Ok(value) => found.push(Dated { value, not_after: entry.not_after.map(end) }),
                Err(what) => cx.report(
                    Problem::error("bad-key", place, what).help("is the variable that it comes from right?"),
                ),
            }
        }
        (!found.is_empty() && found.len() == self.list.len()).then_some(found)
    }
}

impl<N> Secrets<N> {
    /// Ones that always count.
    pub(super) fn of(texts: impl IntoIterator<Item = Secret>) -> Self {
        let entry = |text| Entry { text, not_after: None, written_as_map: false };
        Self { list: texts.into_iter().map(entry).collect(), written_as_list: true, of: PhantomData }
    }

    /// Each entry by itself and always counting, with its end.
    pub(super) fn alone(&self) -> impl Iterator<Item = (Self, Option<jiff::Timestamp>)> {
        self.list.iter().map(|entry| {
            let alone = Entry { text: entry.text.clone(), not_after: None, written_as_map: false };
            (Self { list: vec![alone], written_as_list: false, of: PhantomData }, entry.not_after)
        })
    }

    /// The same entries with other texts.
    pub(super) fn reworded(&self, word: impl Fn(&str) -> String) -> Self {
        let entry = |entry: &Entry| Entry {
            text: Secret::new(word(entry.text.expose())),
            not_after: entry.not_after,
            written_as_map: entry.written_as_map,
        };
        let list = self.list.iter().map(entry).collect();
        Self { list, written_as_list: self.written_as_list, of: PhantomData }
    }
}

impl Secrets {
    /// As bytes; `prefix` (`whsec_`) may stand before.
    pub(super) fn bytes(
        &self,
        cx: &Checker<'_>,
        at: &Path,
        encoding: SecretEncoding,
        prefix: &str,
    ) -> Option<Keys> {
        self.read(cx, at, |text| {
            let text = text.strip_prefix(prefix).unwrap_or(text);
            let bytes = match encoding {
                SecretEncoding::Utf8 => text.as_bytes().to_vec(),
                SecretEncoding::Base64 => {
                    BASE64.decode(text).map_err(|_| "the secret is not base64, as it has to be here")?
                }
                SecretEncoding::Hex => {
                    hex::decode(text).map_err(|_| "the secret is not hex, as it has to be here")?
                }
            };
            if bytes.is_empty() { Err("nothing is left of the secret".into()) } else { Ok(bytes) }
        })
    }

    /// The only entry, for what cannot be a list.
    pub(in super::super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|entry| entry.text.expose())
    }
}

pub(super) fn empty_secret(at: Path) -> Problem {
    Problem::error("empty-secret", at, "an empty secret lets anybody in")
        .help("is the variable that it comes from set?")
}

impl<'de, N: Named> Deserialize<'de> for Secrets<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany<N>(PhantomData<N>);
        impl<'de, N: Named> Visitor<'de> for OneOrMany<N> {
            type Value = Secrets<N>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a {} or a list of them", N::NAME)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Secrets<N>, E> {
                let entry = Entry { text: Secret::new(text), not_after: None, written_as_map: false };
                Ok(Secrets { list: vec![entry], written_as_list: false, of: PhantomData })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secrets<N>, A::Error> {
                let list = vec![entry::<N, A>(map)?];
                Ok(Secrets { list, written_as_list: false, of: PhantomData })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Secrets<N>, A::Error> {
                let mut list = Vec::new();
                while let Some(One(entry, _)) = items.next_element::<One<N>>()? {
                    list.push(entry);
                }
                Ok(Secrets { list, written_as_list: true, of: PhantomData })
            }
        }
        deserializer.deserialize_any(OneOrMany(PhantomData))
    }
}

/// An item of a list.
struct One<N>(Entry, PhantomData<N>);

impl<'de, N: Named> Deserialize<'de> for One<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Secrets::<N>::deserialize(deserializer)?;
        match (read.list.pop(), read.written_as_list) {
            (Some(entry), false) => Ok(Self(entry, PhantomData)),
            _ => Err(D::Error::custom("a list inside a list")),
        }
    }
}

fn entry<'de, N: Named, A: MapAccess<'de>>(mut map: A) -> Result<Entry, A::Error> {
    let (mut text, mut not_after) = (None, None);
    while let Some(key) = map.next_key::<String>()? {
        match &*key {
            name if name == N::NAME => text = Some(map.next_value()?),
            "not_after" => not_after = Some(time(&map.next_value::<String>()?).map_err(A::Error::custom)?),
            other => return Err(A::Error::custom(format_args!("unknown field {other:?}"))),
        }
    }
    let text = text.ok_or_else(|| A::Error::missing_field(N::NAME))?;
    Ok(Entry { text, not_after, written_as_map: true })
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| format!("{text:?} is not a time; write 2026-12-31T00:00:00Z"))
}

impl<N: Named> JsonSchema for Secrets<N> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Listed_{}", N::NAME).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({
            "type": ["string", "object"],
            "properties": {
                N::NAME: {"type": "string", "minLength": 1, "x-karez-secret": N::IS_SECRET},
                "not_after": {
                    "type": "string",
                    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$",
                    "description": "It counts no more after this time, like 2026-12-31T00:00:00Z. Default: it always counts."
                }
            },
            "required": [N::NAME],
            "additionalProperties": false,
            "x-karez-secret": N::IS_SECRET
        });
        let mut whole = one.clone();
        whole.insert("type".into(), serde_json::json!(["string", "object", "array"]));
        whole.insert("minItems".into(), 1.into());
        whole.insert("items".into(), one.to_value());
        whole
    }
}
