//! Strict JSON: what is accepted here comes out again with the same meaning, or is refused.
//!
//! `serde_json` alone silently keeps the last of two equal keys and turns an integer
//! beyond 64 bits into a float. Both are refused here (RFC 7493, I-JSON, asks senders for
//! the same), because a pipeline must never alter a value that it only passes on.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{Json, JsonMap};

/// Nesting that is accepted, in levels of arrays and objects.
pub const MAX_DEPTH: usize = 127;

/// Fields that an object gets room for at its first one: most have no more, and growing costs more than room.
const COMMON_FIELDS: usize = 7;

/// Why a text is not acceptable as JSON, with the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line} column {column}")]
pub struct JsonError {
    pub message: String,
    /// From 1; 0 where no place is known.
    pub line: usize,
    pub column: usize,
}

/// Parses one JSON text.
///
/// # Errors
/// Malformed or trailing input, nesting beyond [`MAX_DEPTH`], a key that stands twice in one
/// object, an integer outside -2^63 to 2^64-1, a float outside the range of a double.
pub fn parse(text: &[u8]) -> Result<Json, JsonError> {
    let mut floats_beyond_integers = false;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict(&mut floats_beyond_integers)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(placed)?;
    integers_fit(text, floats_beyond_integers).map(|()| value)
}

/// Judges one JSON text as [`parse`] does, without making a tree of it.
///
/// # Errors
/// As [`parse`].
pub fn verify(text: &[u8]) -> Result<(), JsonError> {
    // Text that is known to be UTF-8 is read faster.
    let Ok(text) = std::str::from_utf8(text) else { return parse(text).map(drop) };
    let mut seen = Seen::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    Verified(&mut seen).deserialize(&mut reader).and_then(|()| reader.end()).map_err(placed)?;
    integers_fit(text.as_bytes(), seen.floats_beyond_integers)
}

/// The values of these fields of an object, each where there is such a field. What else is in the text is not judged,
/// and not read where it comes behind them.
pub(crate) fn members(text: &[u8], names: &[String]) -> Vec<Option<Json>> {
    let mut found = vec![None; names.len()];
    // What is wrong with it is told by whoever reads all of it.
    serde_json::Deserializer::from_slice(text).deserialize_map(Members { names, found: &mut found }).ok();
    found
}

/// A float beyond the integers may have been written as an integer, which would have lost digits.
fn integers_fit(text: &[u8], floats_beyond_integers: bool) -> Result<(), JsonError> {
    match floats_beyond_integers.then(|| wide_integer(text)).flatten() {
        None => Ok(()),
        Some(offset) => Err(JsonError {
            message: "integer needs more than 64 bits; send it as a string".into(),
            ..place(text, offset)
        }),
    }
}

fn placed(error: serde_json::Error) -> JsonError {
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
    // The library's words for what senders do most often.
    let message = match message {
        "recursion limit exceeded" => format!("nested deeper than {MAX_DEPTH} levels"),
        "EOF while parsing a value" if error.column() == 0 && error.line() == 1 => "the text is empty".into(),
        "EOF while parsing a value" => "the text ends where a value is expected".into(),
        other => other.to_owned(),
    };
    JsonError { message, line: error.line(), column: error.column() }
}

fn place(text: &[u8], offset: usize) -> JsonError {
    let before = &text[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    JsonError { message: String::new(), line, column: offset - start + 1 }
}

/// Where the first integer literal of 19 or more digits begins that does not fit 64 bits.
fn wide_integer(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = end_of_string(text, at),
            b'-' | b'0'..=b'9' => {
                let end = text[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .map_or(text.len(), |length| at + length);
                let literal = std::str::from_utf8(&text[at..end]).unwrap_or_default();
                let integer = !literal.contains(['.', 'e', 'E']);
                if integer && literal.parse::<i64>().is_err() && literal.parse::<u64>().is_err() {
                    return Some(at);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Fields of an object that [`verify`] compares one by one before it hashes them.
const MANY_FIELDS: usize = 32;

/// Objects of up to this many fields are searched from the front: that is faster than hashing a name.
const FEW_FIELDS: usize = 8;

/// The field of that name.
#[must_use]
pub fn field<'a>(fields: &'a JsonMap, name: &str) -> Option<&'a Json> {
    match fields.len() <= FEW_FIELDS {
        true => fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value),
        false => fields.get(name),
    }
}

struct Strict<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        *self.0 |= is_beyond_integers(value);
        Ok(Json::from(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict(&mut *self.0))? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut map = JsonMap::new();
        while let Some(key) = fields.next_key::<String>()? {
            if map.is_empty() {
                map = JsonMap::with_capacity(COMMON_FIELDS);
            }
            let value = fields.next_value_seed(Strict(&mut *self.0))?;
            match map.entry(key) {
                serde_json::map::Entry::Vacant(slot) => {
                    slot.insert(value);
                }
                serde_json::map::Entry::Occupied(slot) => return Err(twice(slot.key())),
            }
        }
        Ok(Json::Object(map))
    }
}

fn is_beyond_integers(value: f64) -> bool {
    value.abs() >= 9_223_372_036_854_775_808.0
}

fn twice<E: serde::de::Error>(key: &str) -> E {
    E::custom(format_args!("key {key:?} stands twice"))
}

/// What [`verify`] has to remember of what it has read.
#[derive(Default)]
struct Seen<'de> {
    floats_beyond_integers: bool,
    /// The keys of the objects that are open, one behind the other.
    keys: Vec<Cow<'de, str>>,
}

struct Verified<'a, 'de>(&'a mut Seen<'de>);

impl<'de> DeserializeSeed<'de> for Verified<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Verified<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.floats_beyond_integers |= is_beyond_integers(value);
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Verified(&mut *self.0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let first = self.0.keys.len();
        // Of an object with many fields; a few are compared one by one.
        let mut many: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = fields.next_key_seed(Key)? {
            let few = &self.0.keys[first..];
            if few.contains(&key) || many.contains(&key) {
                return Err(twice(&key));
            }
            match few.len() < MANY_FIELDS {
                true => self.0.keys.push(key),
                false => drop(many.insert(key)),
            }
            fields.next_value_seed(Verified(&mut *self.0))?;
        }
        self.0.keys.truncate(first);
        Ok(())
    }
}

/// A key, copied only where it holds escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

struct Members<'a> {
    names: &'a [String],
    found: &'a mut [Option<Json>],
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while self.found.iter().any(Option::is_none)
            && let Some(key) = fields.next_key_seed(Key)?
        {
            match self.names.iter().position(|name| *name == key) {
                Some(at) => self.found[at] = Some(fields.next_value()?),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_comes_out_again() {
        for text in [
            r#"{"b":1,"a":[null,true,1.5,"x\ny"],"c":{}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "0.1",
        ] {
            let value = parse(text.as_bytes()).unwrap();
            let again = parse(value.to_string().as_bytes()).unwrap();
            assert_eq!(value, again, "{text}");
        }
        let kept = r#"{"z":0,"a":123456789012345678}"#;
        assert_eq!(parse(kept.as_bytes()).unwrap().to_string(), kept);
    }

    #[test]
    fn what_would_be_altered_is_refused_with_its_place() {
        let refused = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            refused("{\"s\": \"1\",\n \"id\": 1234567890123456789012345678901234567890}"),
            "integer needs more than 64 bits; send it as a string at line 2 column 8"
        );
        assert!(refused(r#"{"a":1,"a":2}"#).starts_with("key \"a\" stands twice"));
        assert!(refused("1e400").contains("out of range"));
        assert!(refused("[1] x").contains("trailing"));
        assert!(refused("\u{feff}{}").contains("expected value"));
        assert!(refused("NaN").contains("expected"));
        assert_eq!(refused(""), "the text is empty at line 1 column 0");
        assert_eq!(refused("{\"a\":"), "the text ends where a value is expected at line 1 column 5");
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(br#""\ud800""#).is_err());
    }

    #[test]
    fn what_is_judged_without_a_tree_is_judged_alike() {
        let many = |last: usize| {
            let fields: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{{\"k0\":{n}}}")).collect();
            format!("{{{},\"k{last}\":0}}", fields.join(","))
        };
        let nested = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
        for text in [
            r#"{"a":1,"b":{"a":[{"a":null},{"a":"\u0061\n"}]},"c":[]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"[{"a":1},{"a":2}]"#,
            "[123456789012345678901]",
            "[1e300, 0.1, -7]",
            "1e400",
            "[1] x",
            "",
            "{\"a\":",
            r#""\ud800""#,
            "\"a\tb\"",
            "nul",
            &many(100),
            &many(99),
            &many(3),
            &nested,
        ] {
            // A key that stands twice is seen before its value here, and behind it there.
            let told = |error: JsonError| (error.message, error.line);
            let tree = parse(text.as_bytes()).map(drop);
            assert_eq!(verify(text.as_bytes()).map_err(told), tree.map_err(told), "{text}");
        }
        assert_eq!(verify(b"[\"\xff\"]"), parse(b"[\"\xff\"]").map(drop));
    }

    #[test]
    fn fields_are_found_without_reading_on() {
        let names = ["id".to_owned(), "at".to_owned()];
        let found = |text: &str| members(text.as_bytes(), &names);
        let both = vec![Some(Json::from(1)), Some(Json::from("x"))];
        assert_eq!(found(r#"{"n":{"id":2},"at":"x","i\u0064":1,"rest":["#), both);
        assert_eq!(found(r#"{"id":1,"id":2,"at":"x"}"#), vec![Some(Json::from(2)), Some(Json::from("x"))]);
        assert_eq!(found(r#"{"at":null}"#), vec![None, Some(Json::Null)]);
        for none in ["[1]", "7", "", "{", "null"] {
            assert_eq!(found(none), vec![None, None], "{none}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        let deep = parse("[".repeat(1_000_000).as_bytes()).unwrap_err();
        assert_eq!(deep.to_string(), "nested deeper than 127 levels at line 1 column 128");
    }
}
