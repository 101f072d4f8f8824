//! Builds the tree of a document, within bounds, with merge keys written out.

use std::cell::{Cell, RefCell};
use std::fmt;

use karez_api::{Json, JsonMap, Path};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Nodes that a file may have once its aliases are written out.
const MAX_NODES: usize = 100_000;
/// Bytes of strings that a file may have once its aliases are written out.
const MAX_STRING_BYTES: usize = 8 << 20;

/// What is kept beside the tree while a document is read.
#[derive(Default)]
pub(super) struct Reading {
    nodes: Cell<usize>,
    string_bytes: Cell<usize>,
    /// The code of an error that this module raised itself.
    pub(super) code: Cell<Option<&'static str>>,
    pub(super) moved: RefCell<Vec<(Path, Path)>>,
}

impl Reading {
    fn fail<E: Error>(&self, code: &'static str, message: impl fmt::Display) -> E {
        self.code.set(Some(code));
        E::custom(message)
    }

    fn count<E: Error>(&self, string_bytes: usize) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        self.string_bytes.set(self.string_bytes.get() + string_bytes);
        if self.nodes.get() > MAX_NODES || self.string_bytes.get() > MAX_STRING_BYTES {
            return Err(self.fail("too-large", "the file is too large once its aliases are written out"));
        }
        Ok(())
    }
}

/// Builds the tree of one node.
pub(super) struct Node<'a> {
    pub(super) reading: &'a Reading,
    pub(super) at: &'a Path,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::from(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::from(value))
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<Json, E> {
        Err(self.reading.fail("bad-number", "a number needs more than 64 bits; write it in quotes"))
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<Json, E> {
        Err(self.reading.fail("bad-number", "a number needs more than 64 bits; write it in quotes"))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        self.reading.count(0)?;
        serde_json::Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| self.reading.fail("bad-number", "infinity and not-a-number are no values here"))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        self.reading.count(value.len())?;
        Ok(Json::String(value.to_owned()))
    }
    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Json, A::Error> {
        Err(self
            .reading
            .fail("yaml-tag", "YAML tags (`!name`) are not used here; `${NAME}` reads a variable"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        self.reading.count(0)?;
        let mut list = Vec::new();
        loop {
            let at = self.at.index(list.len());
            match items.next_element_seed(Node { reading: self.reading, at: &at })? {
                Some(item) => list.push(item),
                None => return Ok(Json::Array(list)),
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        self.reading.count(0)?;
        let mut map = JsonMap::new();
        while let Some(name) = fields.next_key_seed(Name { reading: self.reading, taken: &map })? {
            self.reading.count(name.len())?;
            let at = self.at.field(name.as_str());
            let value = fields.next_value_seed(Node { reading: self.reading, at: &at })?;
            map.insert(name, value);
        }
        if let Some(merged) = map.shift_remove("<<") {
            self.merge(&mut map, merged)?
        }
        Ok(Json::Object(map))
    }
}

impl Node<'_> {
    /// YAML's merge key: entries of the given maps, except where the map has its own; the first map wins.
    fn merge<E: Error>(&self, map: &mut JsonMap, merged: Json) -> Result<(), E> {
        let at = self.at.field("<<");
        let parts = match merged {
            Json::Array(maps) => maps.into_iter().enumerate().map(|(n, part)| (at.index(n), part)).collect(),
            one => vec![(at, one)],
        };
        for (from, part) in parts {
            let Json::Object(entries) = part else {
                return Err(self.reading.fail("bad-merge", "`<<` takes a map or a list of maps"));
            };
            for (name, value) in entries {
                if !map.contains_key(&name) {
                    let moved = (self.at.field(name.as_str()), from.field(name.as_str()));
                    self.reading.moved.borrow_mut().push(moved);
                    map.insert(name, value);
                }
            }
        }
        Ok(())
    }
}

/// A key of a map, which no earlier key may equal.
struct Name<'a> {
    reading: &'a Reading,
    taken: &'a JsonMap,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        if self.taken.contains_key(name) {
            return Err(self.reading.fail(
                "duplicate-key",
                format_args!("key {name:?} stands twice in one map; take one of them out"),
            ));
        }
        if name.starts_with(is_pretty_blank) {
            return Err(self.reading.fail(
                "yaml-syntax",
                "a blank that is no plain space stands before this key; indent with plain spaces",
            ));
        }
        Ok(name.to_owned())
    }
}

/// No-break spaces and their like, which come along when text is copied from a page.
fn is_pretty_blank(c: char) -> bool {
    c.is_whitespace() && !c.is_ascii()
}
