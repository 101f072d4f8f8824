//! From a path back to the byte where it is written: a second pass over the text follows the
//! path and raises an error at its end, and the library says where that was.

use std::fmt;

use karez_api::{Key, Path};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::boundary;

/// The byte where the value at `path` (or its key) begins; absent where the text has no such place.
pub(crate) fn locate(text: &str, path: &Path, on_key: bool) -> Option<usize> {
    let document = serde_yaml::Deserializer::from_str(text).next()?;
    let error = Follow { keys: path.keys(), on_key }.deserialize(document).err()?;
    Some(boundary(text, error.location()?.index()))
}

/// Follows a path and raises an error at its end.
struct Follow<'a> {
    keys: &'a [Key],
    on_key: bool,
}

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() {
            deserializer.deserialize_any(Stop)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of a path")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Key::Index(wanted), rest)) = self.keys.split_first() else {
            return Err(A::Error::custom("no such place"));
        };
        for _ in 0..*wanted {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Follow { keys: rest, on_key: self.on_key })?;
        Err(A::Error::custom("no such place"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Some((Key::Field(wanted), rest)) = self.keys.split_first() else {
            return Err(A::Error::custom("no such place"));
        };
        let stop = self.on_key && rest.is_empty();
        while let Some(found) = fields.next_key_seed(IsKey { wanted, stop })? {
            if found {
                fields.next_value_seed(Follow { keys: rest, on_key: self.on_key })?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("no such place"))
    }
}

/// Takes nothing: whatever stands here is reported with its place.
struct Stop;

impl Visitor<'_> for Stop {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the path")
    }
}

struct IsKey<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        match name == self.wanted {
            true if self.stop => Err(E::custom("here")),
            found => Ok(found),
        }
    }
}
