//! The name of one header, or of several.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// One header or a list of them.
pub(in super::super) struct HeaderNames {
    pub(in super::super) list: Vec<String>,
    pub(in super::super) written_as_list: bool,
}

impl<'de> Deserialize<'de> for HeaderNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = HeaderNames;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a header or a list of names")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<HeaderNames, E> {
                Ok(HeaderNames { list: vec![text.into()], written_as_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<HeaderNames, A::Error> {
                let mut list = Vec::new();
                while let Some(name) = items.next_element()? {
                    list.push(name);
                }
                Ok(HeaderNames { list, written_as_list: true })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for HeaderNames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderNames".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1})
    }
}
