//! The JSON Schema (draft 2020-12) of a pipeline file, for editors: the components' own schemas
//! with the engine's keys beside them. Looser than `load`, which also sees names and expressions.

use karez_api::{Json, JsonMap, Registry, Role};
use serde_json::json;

use crate::engine_keys::of_role;
use crate::node::Catalog;

/// The schema of pipeline files and shared files for the components of a registry.
#[must_use]
pub fn pipeline_schema(registry: &Registry) -> Json {
    let catalog = Catalog::new(registry);
    let mut defs = JsonMap::new();
    let nodes = [Role::Source, Role::Step, Role::Sink].map(|role| {
        let name = role.name().to_owned();
        let node = node_schema(&catalog, role, &mut defs);
        defs.insert(name.clone(), node);
        json!({"$ref": format!("#/$defs/{name}")})
    });
    let [source, step, sink] = nodes;
    let mut top = embed(catalog.top(), "top", &mut defs);
    let named = |node: &Json| json!({"type": "object", "minProperties": 1, "additionalProperties": node});
    let steps = json!({"type": "array", "items": step});
    let shared_steps = named(&steps);
    let connection = embed(catalog.connection().0, "connection", &mut defs);
    let extra = [
        ("source", source.clone(), "Where records come from, if from one place."),
        ("sources", named(&source), "Where records come from, by name."),
        ("steps", json!({"anyOf": [steps, shared_steps]}), "What happens to records, in order."),
        ("sink", sink.clone(), "Where records go, if to one place."),
        ("sinks", named(&sink), "Where records go, by name."),
        ("tests", json!({"type": "array", "items": case()}), "Cases for `karez test`."),
        ("connections", named(&connection), "Shared file: named remote systems."),
        ("mappings", json!({"type": "object"}), "Shared file: named mappings."),
        (
            "schemas",
            named(&json!({"type": ["object", "string"]})),
            "Shared file: JSON Schemas by name, inline or by path.",
        ),
        (
            "defaults",
            named(&json!({"type": "object"})),
            "Shared file: engine keys by role, component settings by type.",
        ),
    ];
    if let Some(properties) = top.get_mut("properties").and_then(Json::as_object_mut) {
        for (name, mut schema, description) in extra {
            schema["description"] = description.into();
            properties.insert(name.to_owned(), schema);
        }
    }
    top["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    top["title"] = "A karez pipeline file".into();
    top["$defs"] = Json::Object(defs);
    top
}

/// One of `tests`. What is wrong with one is told elsewhere, with more words.
fn case() -> Json {
    let records = json!({"type": ["array", "object"]});
    let fields = [
        ("name", json!({"type": "string"}), "What it shows."),
        ("input", records.clone(), "Records, or lists of records by source."),
        (
            "replay",
            json!({"type": "string"}),
            "In place of `input`: a fixture that `karez record` wrote, beside this file. The sources read it as they read the API.",
        ),
        (
            "faults",
            json!({"type": "boolean", "default": true}),
            "Whether a replay is run again with each fault in each answer. Default: true.",
        ),
        (
            "answers",
            json!({"type": "object"}),
            "What steps that ask another system are answered, by their names.",
        ),
        (
            "expect",
            records,
            "Records, or lists of records by sink, `dead_letters`, `filtered`, `duplicates`.",
        ),
        (
            "exact",
            json!({"type": "boolean"}),
            "Whether records have no other fields than those expected. Default: false.",
        ),
        (
            "now",
            json!({"type": ["string", "integer"]}),
            "The time. Default of a replay: when it was recorded.",
        ),
        ("seed", json!({"type": "integer", "minimum": 0}), "What ids are made from."),
    ];
    let mut properties = JsonMap::new();
    for (name, mut schema, description) in fields {
        schema["description"] = description.into();
        properties.insert(name.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties})
}

fn node_schema(catalog: &Catalog<'_>, role: Role, defs: &mut JsonMap) -> Json {
    let engine = embed(catalog.engine(role), role.name(), defs);
    let mut properties = JsonMap::new();
    let mut types = Vec::new();
    for component in catalog.of(role) {
        let name = format!("{}.{}", role.name(), component.name);
        let schema = embed(catalog.schema(component), &name, defs);
        defs.insert(name.clone(), schema);
        let reference = json!({"$ref": format!("#/$defs/{name}"), "description": component.summary});
        properties.insert(component.name.to_owned(), reference);
        types.push(component.name);
    }
    for key in of_role(role) {
        if let Some(schema) = engine.get("properties").and_then(|all| all.get(*key)) {
            let schema = match properties.get(*key) {
                // A type where it stands alone, the engine's beside another.
                Some(component) => json!({"anyOf": [component, schema]}),
                None => schema.clone(),
            };
            properties.insert((*key).to_owned(), schema);
        }
    }
    if role == Role::Step {
        properties.insert(
            "use".into(),
            json!({"type": "string", "description": "The name of shared steps to put here."}),
        );
        types.push("use");
    }
    let one_of: Vec<Json> = types.iter().map(|name| alone(name, role, &types)).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false, "oneOf": one_of})
}

/// What a node has that is of this type.
fn alone(name: &str, role: Role, types: &[&str]) -> Json {
    if !of_role(role).contains(&name) {
        return json!({"required": [name]});
    }
    let others = types.iter().filter(|other| **other != name);
    let others: Vec<Json> = others.map(|other| json!({"required": [other]})).collect();
    json!({"required": [name], "not": {"anyOf": others}})
}

/// A schema whose own definitions are moved to `defs` under names that begin with `prefix`.
fn embed(schema: &Json, prefix: &str, defs: &mut JsonMap) -> Json {
    let mut schema = schema.clone();
    let Some(map) = schema.as_object_mut() else {
        return schema;
    };
    map.shift_remove("$schema");
    let inner = map.shift_remove("$defs");
    redirect(&mut schema, prefix);
    if let Some(Json::Object(inner)) = inner {
        for (name, mut definition) in inner {
            redirect(&mut definition, prefix);
            defs.insert(format!("{prefix}.{name}"), definition);
        }
    }
    schema
}

fn redirect(schema: &mut Json, prefix: &str) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{prefix}.{name}");
            }
            map.values_mut().for_each(|value| redirect(value, prefix));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| redirect(item, prefix)),
        _ => {}
    }
}
