//! What a file says of an answer's format: data only.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The format of answers: `json`, `ndjson`, `csv`, `{csv: {…}}` or `{xml: {…}}`.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) enum Format {
    #[default]
    Json,
    Ndjson,
    Csv(Csv),
    Xml(Xml),
}

/// How a table is written (RFC 4180). Values stay texts.
#[derive(Debug, Default, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Csv {
    /// One ASCII character between fields. Default `,`.
    pub(super) delimiter: Option<char>,
    /// Whether the first row names the columns. Default true.
    pub(super) header: Option<bool>,
    /// The names of the columns, where no row has them. Default: `c1`, `c2` and so on.
    pub(super) columns: Option<Vec<String>>,
    /// What stands where there is no value: it becomes null.
    pub(super) null_values: Vec<String>,
}

/// Which elements are records, and what they become: an attribute is a field `@name`, an element a field by its name, a
/// list where there are several; an element with nothing but text is that text, without blanks around it, and an empty
/// one null; text beside others is the field `#text`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Xml {
    /// The path of the record elements from the root, like `/Orders/Order`.
    pub(super) record: String,
    /// Elements that are lists also where there is only one: their names, or their paths from the root.
    #[serde(default)]
    pub(super) list: Vec<String>,
    /// Prefixes that stand for namespaces here, whatever prefixes a document uses, like `{soap: "http://…"}`.
    #[serde(default)]
    pub(super) namespaces: BTreeMap<String, String>,
}

/// The written forms but for the word `csv`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Json,
    Ndjson,
    Csv(Csv),
    Xml(Xml),
}

impl From<Written> for Format {
    fn from(written: Written) -> Self {
        match written {
            Written::Json => Self::Json,
            Written::Ndjson => Self::Ndjson,
            Written::Csv(spec) => Self::Csv(spec),
            Written::Xml(spec) => Self::Xml(spec),
        }
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = Format;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`json`, `ndjson`, `csv`, `{csv: {…}}` or `{xml: {…}}`")
    }
    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Format, E> {
        match word {
            "csv" => Ok(Format::Csv(Csv::default())),
            word => Written::deserialize(StrDeserializer::new(word)).map(Format::from),
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Format, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map)).map(Format::from)
    }
}

impl JsonSchema for Format {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnswerFormat".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (csv, xml) = (generator.subschema_for::<Csv>(), generator.subschema_for::<Xml>());
        json_schema!({"oneOf": [
            {"type": "string", "enum": ["json", "ndjson", "csv"]},
            {"type": "object", "properties": {"csv": csv}, "required": ["csv"], "additionalProperties": false},
            {"type": "object", "properties": {"xml": xml}, "required": ["xml"], "additionalProperties": false},
        ]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_format_is_a_word_or_a_map_of_one_key() {
        let read = |written: serde_json::Value| serde_json::from_value::<Format>(written);
        assert_eq!(read(json!("json")).unwrap(), Format::Json);
        assert_eq!(read(json!("csv")).unwrap(), read(json!({"csv": {}})).unwrap());
        let csv = Csv { delimiter: Some(';'), null_values: vec!["NULL".into()], ..Csv::default() };
        let written = json!({"csv": {"delimiter": ";", "null_values": ["NULL"]}});
        assert_eq!(read(written).unwrap(), Format::Csv(csv));
        let written = json!({"xml": {"record": "/a/b", "list": ["c"], "namespaces": {"s": "urn:s"}}});
        assert!(matches!(read(written).unwrap(), Format::Xml(xml) if xml.record == "/a/b"));
        for (wrong, message) in [
            (json!("xml"), "newtype variant"),
            (json!("yaml"), "unknown variant `yaml`"),
            (json!({"csv": {"sep": ";"}}), "unknown field `sep`"),
            (json!({"xml": {}}), "missing field `record`"),
            (json!({"csv": {}, "xml": {}}), ""),
            (json!(7), "`{xml: {…}}`"),
        ] {
            let told = read(wrong.clone()).unwrap_err().to_string();
            assert!(told.contains(message), "{wrong}: {told}");
        }
    }
}
