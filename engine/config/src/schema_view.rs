//! Reading a JSON Schema as schemars writes it: through `$ref`, with siblings, nullable forms undone.

use karez_api::{Json, JsonMap};

/// One schema with what it refers to; the nearer keyword wins.
pub(crate) struct View<'a> {
    root: &'a Json,
    parts: Vec<&'a JsonMap>,
    /// The kind of the map, list or choice that this is a part of.
    inherited_kind: Option<&'a str>,
    /// `false`: nothing is allowed.
    pub(crate) never: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(root: &'a Json, schema: &'a Json) -> Self {
        let mut view =
            Self { root, parts: Vec::new(), inherited_kind: None, never: *schema == Json::Bool(false) };
        view.add(schema, 0);
        view
    }

    fn add(&mut self, schema: &'a Json, depth: usize) {
        let Some(map) = schema.as_object().filter(|_| depth < 16) else {
            return;
        };
        self.parts.push(map);
        if let Some(target) = map.get("$ref").and_then(Json::as_str) {
            let pointer = target.trim_start_matches('#');
            if let Some(target) = self.root.pointer(pointer) {
                self.add(target, depth + 1);
            }
        }
        for part in map.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.add(part, depth + 1);
        }
    }

    pub(crate) fn get(&self, keyword: &str) -> Option<&'a Json> {
        self.parts.iter().find_map(|part| part.get(keyword))
    }

    pub(crate) fn text(&self, keyword: &str) -> Option<&'a str> {
        self.get(keyword)?.as_str()
    }

    /// What a setting is: `value`, `text`, `condition`, `jq`, `names`, `duration`, `size`; absent where it is fixed.
    pub(crate) fn kind(&self) -> Option<&'a str> {
        self.text("x-karez-kind").or(self.inherited_kind)
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.get("x-karez-secret") == Some(&Json::Bool(true))
    }

    /// The types a value may have; empty where any will do.
    pub(crate) fn types(&self) -> Vec<&'a str> {
        match self.get("type") {
            Some(Json::String(one)) => vec![one],
            Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The values that are allowed, where only some are.
    pub(crate) fn values(&self) -> Option<Vec<&'a Json>> {
        match (self.get("const"), self.get("enum")) {
            (Some(value), _) => Some(vec![value]),
            (None, Some(Json::Array(values))) => Some(values.iter().collect()),
            _ => None,
        }
    }

    /// The forms a value may have, where there are several.
    pub(crate) fn branches(&self) -> Option<Vec<View<'a>>> {
        let list = self.get("oneOf").or_else(|| self.get("anyOf"))?.as_array()?;
        let mut flat = Vec::new();
        for branch in list {
            let view = self.of(branch);
            match view.branches() {
                Some(inner) => flat.extend(inner),
                None => flat.push(view),
            }
        }
        Some(flat)
    }

    /// All fields of an object with their schemas.
    pub(crate) fn properties(&self) -> Vec<(&'a str, &'a Json)> {
        let maps = self.parts.iter().filter_map(|part| part.get("properties")?.as_object());
        maps.flatten().map(|(name, schema)| (name.as_str(), schema)).collect()
    }

    pub(crate) fn property(&self, name: &str) -> Option<&'a Json> {
        self.parts.iter().find_map(|part| part.get("properties")?.get(name))
    }

    pub(crate) fn required(&self) -> Vec<&'a str> {
        let lists = self.parts.iter().filter_map(|part| part.get("required")?.as_array());
        lists.flatten().filter_map(Json::as_str).collect()
    }

    /// The same schema once more.
    pub(crate) fn of_itself(&self) -> View<'a> {
        View {
            root: self.root,
            parts: self.parts.clone(),
            inherited_kind: self.inherited_kind,
            never: self.never,
        }
    }

    /// A part of this schema: a field, an item, a branch.
    pub(crate) fn of(&self, schema: &'a Json) -> View<'a> {
        View { inherited_kind: self.kind(), ..View::new(self.root, schema) }
    }

    /// Whether a value of this JSON type can be right.
    pub(crate) fn takes(&self, value: &Json) -> bool {
        if self.never {
            return false;
        }
        if let Some(values) = self.values() {
            return values.iter().any(|known| type_of(known) == type_of(value));
        }
        let types = self.types();
        types.is_empty() || types.iter().any(|name| fits(name, value))
    }

    /// Whether a string is not bound to a pattern or to some words.
    pub(crate) fn takes_any_text(&self) -> bool {
        self.get("pattern").is_none() && self.values().is_none()
    }

    /// What a value should be, in words.
    pub(crate) fn expectation(&self) -> String {
        match self.kind() {
            Some("duration") => return "a duration like \"30s\"".into(),
            Some("size") => return "a size like \"16MiB\"".into(),
            Some("rate") => return "a rate like \"100/s\"".into(),
            _ => {}
        }
        if let Some(values) = self.values() {
            return values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" or ");
        }
        if let Some(branches) = self.branches() {
            let mut words: Vec<String> =
                branches.iter().filter(|branch| !branch.is_null()).map(View::expectation).collect();
            words.dedup();
            return words.join(" or ");
        }
        let words: Vec<&str> = self.types().into_iter().filter(|name| *name != "null").map(word).collect();
        let words = if words.is_empty() { "a value".into() } else { words.join(" or ") };
        match self.get("examples").and_then(|examples| examples.get(0)) {
            Some(example) => format!("{words} like {example}"),
            None => words,
        }
    }

    /// The first sentence of its description.
    pub(crate) fn sentence(&self) -> Option<&'a str> {
        let text = self.text("description")?.lines().next()?;
        Some(text.split(". ").next().unwrap_or(text).trim_end_matches('.'))
    }

    fn is_null(&self) -> bool {
        self.types() == ["null"]
    }
}

pub(crate) fn fits(name: &str, value: &Json) -> bool {
    match name {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        other => other == type_of(value),
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn word(name: &str) -> &str {
    match name {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a map",
        other => other,
    }
}
