//! Follows names through the text of an answer, and cuts out what stands at their end.

use std::fmt;

use bytes::Bytes;
use karez_api::{Body, Form, Json, JsonMap};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The rest of a way. What it yields is the answer without its records.
pub(super) struct Way<'w, 'r> {
    pub(super) names: &'w [String],
    pub(super) records: &'r mut Vec<Body>,
}

impl<'de> DeserializeSeed<'de> for Way<'_, '_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        match self.names.is_empty() {
            true => deserializer.deserialize_any(End(self.records)),
            false => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Way<'_, '_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let Some((name, rest)) = self.names.split_first() else { return Err(A::Error::custom("no way")) };
        let mut envelope = JsonMap::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = match key == *name {
                true => fields.next_value_seed(Way { names: rest, records: &mut *self.records })?,
                false => {
                    let raw = fields.next_value::<&RawValue>()?;
                    karez_api::parse_json(raw.get().as_bytes()).map_err(A::Error::custom)?
                }
            };
            if envelope.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        match envelope.contains_key(name) {
            true => Ok(Json::Object(envelope)),
            false => Err(A::Error::custom("the way ends early")),
        }
    }
}

/// Where the records should stand.
struct End<'r>(&'r mut Vec<Body>);

impl<'de> Visitor<'de> for End<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        // Each has bytes of its own: one that is kept longer than the others would keep the whole answer.
        while let Some(item) = items.next_element::<&RawValue>()? {
            self.0.push(Body::from_bytes(Form::Json, Bytes::copy_from_slice(item.get().as_bytes())));
        }
        Ok(Json::Array(Vec::new()))
    }
}
