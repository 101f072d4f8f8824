//! A connection to copy.

use karez_api::{Json, JsonMap};

use super::{Provider, Way};

impl Provider {
    /// YAML of a connection that logs in this way: what it takes beside the provider's name. Values come from
    /// variables of the environment.
    #[must_use]
    pub fn example(&self, way: &Way) -> String {
        let mut settings = JsonMap::new();
        settings.insert("provider".into(), self.name.into());
        let params = self.params_of(way);
        if !params.is_empty() {
            settings.insert("params".into(), params.into());
        }
        let headers =
            way.headers.keys().map(|name| (name.clone(), self.variable(name).into())).collect::<JsonMap>();
        if !headers.is_empty() {
            settings.insert("headers".into(), headers.into());
        }
        settings.insert(
            "auth".into(),
            Json::Object([(way.kind().to_owned(), self.auth_of(way).into())].into_iter().collect()),
        );
        let mut yaml = format!("connections:\n  {}:\n", self.name);
        write_map(&mut yaml, &settings, 2);
        yaml
    }

    fn params_of(&self, way: &Way) -> JsonMap {
        let used = self.placeholders(way);
        let needed = self
            .params
            .iter()
            .filter(|(name, param)| param.default.is_none() && used.contains(name.as_str()));
        needed.map(|(name, param)| (name.clone(), param.example.as_str().into())).collect()
    }

    fn auth_of(&self, way: &Way) -> JsonMap {
        let mut auth = JsonMap::new();
        let said = way.said().cloned().unwrap_or_default();
        if let Some(grant) = way.grant().filter(|_| !self.is_first_of_its_kind(way)) {
            auth.insert("grant".into(), grant.into());
        }
        for (field, _) in way.needs(&said) {
            put(&mut auth, field, &self.variable(field));
        }
        // A list of the file's own takes the place of the provider's: it is there to be added to.
        auth.extend(said.get("scopes").map(|scopes| ("scopes".to_owned(), scopes.clone())));
        auth
    }

    /// `${ACME_CLIENT_ID}`.
    fn variable(&self, field: &str) -> String {
        let last = field.rsplit('.').next().unwrap_or(field);
        let name = format!("{}_{last}", self.name).to_uppercase();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!("${{{name}}}")
    }
}

fn put(map: &mut JsonMap, path: &str, text: &str) {
    match path.split_once('.') {
        None => {
            map.insert(path.into(), text.into());
        }
        Some((first, rest)) => {
            let below = map.entry(first).or_insert_with(|| Json::Object(JsonMap::new()));
            if let Json::Object(below) = below {
                put(below, rest, text);
            }
        }
    }
}

/// YAML is written by hand, for the look of it: maps as blocks, everything else as JSON, which YAML includes.
fn write_map(yaml: &mut String, map: &JsonMap, depth: usize) {
    for (name, value) in map {
        let indent = "  ".repeat(depth);
        match value {
            Json::Object(below) if !below.is_empty() => {
                *yaml += &format!("{indent}{name}:\n");
                write_map(yaml, below, depth + 1);
            }
            Json::String(text) if is_plain(text) => *yaml += &format!("{indent}{name}: {text}\n"),
            other => *yaml += &format!("{indent}{name}: {other}\n"),
        }
    }
}

/// A word that YAML reads as text.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) && !reserved.contains(&text)
}
