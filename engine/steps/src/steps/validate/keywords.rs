//! Keywords of a JSON Schema that are probably misspelt. The standard ignores what it does not know (2020-12 Core §6.5),
//! so `requred: [id]` would require nothing.

use karez_api::{Json, JsonMap, suggest};

use super::BadSchema;

/// Whose value is a schema, or a list of them.
const SCHEMAS: [&str; 15] = [
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "allOf",
    "anyOf",
    "oneOf",
    "prefixItems",
];

/// Whose value is a map of schemas by name.
const MAPS: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// All others. `example`, `nullable` and `discriminator` are OpenAPI's, and known to mean nothing here.
const OTHERS: [&str; 43] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "format",
    "contentEncoding",
    "contentMediaType",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "$schema",
    "$id",
    "$ref",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$vocabulary",
    "$comment",
    "example",
    "nullable",
    "discriminator",
    "xml",
    "externalDocs",
];

/// The keywords that are near to a known one, and where they stand.
pub(super) fn misspelt(schema: &Json) -> Vec<BadSchema> {
    let mut found = Vec::new();
    look(schema, &mut Vec::new(), &mut found);
    found
}

fn look(schema: &Json, keys: &mut Vec<String>, found: &mut Vec<BadSchema>) {
    match schema {
        Json::Object(fields) => look_into(fields, keys, found),
        Json::Array(schemas) => {
            for (index, schema) in schemas.iter().enumerate() {
                keys.push(index.to_string());
                look(schema, keys, found);
                keys.pop();
            }
        }
        _ => {}
    }
}

fn look_into(fields: &JsonMap, keys: &mut Vec<String>, found: &mut Vec<BadSchema>) {
    for (keyword, value) in fields {
        keys.push(keyword.clone());
        if SCHEMAS.contains(&keyword.as_str()) {
            look(value, keys, found);
        } else if MAPS.contains(&keyword.as_str()) {
            for (name, schema) in value.as_object().into_iter().flatten() {
                keys.push(name.clone());
                look(schema, keys, found);
                keys.pop();
            }
        } else if !OTHERS.contains(&keyword.as_str())
            && let Some(near) = suggest::nearest(keyword, SCHEMAS.into_iter().chain(MAPS).chain(OTHERS))
        {
            found.push(BadSchema {
                keys: keys.clone(),
                message: format!("{keyword:?} is no keyword of JSON Schema and asks for nothing"),
                help: Some(format!("did you mean {near:?}?")),
            });
        }
        keys.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slips_are_found_wherever_a_schema_stands_and_names_are_none() {
        let schema = json!({
            "type": "object", "requred": ["id"], "x-team": "crm", "example": 1,
            "properties": {"patern": {"type": "string", "patern": "^a"}, "list": {"items": [{"Enum": [1]}]}},
            "default": {"requred": 1}, "enum": [{"requred": 1}],
        });
        let found: Vec<String> = misspelt(&schema)
            .into_iter()
            .map(|bad| format!("/{} {:?}", bad.keys.join("/"), bad.help))
            .collect();
        assert_eq!(
            found,
            [
                r#"/requred Some("did you mean \"required\"?")"#,
                r#"/properties/patern/patern Some("did you mean \"pattern\"?")"#,
                r#"/properties/list/items/0/Enum Some("did you mean \"enum\"?")"#,
            ]
        );
    }
}
