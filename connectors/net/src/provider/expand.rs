//! A connection as a file has it becomes one with everything that its provider brings.

use karez_api::{Json, JsonMap, Path, Problem, suggest};

use super::merge::{at, merge};
use super::way::kind_of;
use super::{Provider, Way, params};

/// The settings of a connection over those of its `provider`; without one they stay as they are.
///
/// Maps are merged, everything else that the file says counts, and null takes the provider's away. Where the provider
/// has several ways to log in, the file's kind of `auth` and its `grant` say which; another kind takes the place of all.
/// Parameters are put into the provider's texts. `{name}` of values that are kept from the log-in stays.
///
/// # Errors
/// An unknown provider; parameters that are unknown, missing or cannot be; what the way to log in needs and has not.
pub fn expand(settings: &Json) -> Result<Json, Vec<Problem>> {
    let Some(said) = settings.as_object() else { return Ok(settings.clone()) };
    // What is no text is told by the schema.
    let Some(name) = said.get("provider").and_then(Json::as_str) else { return Ok(settings.clone()) };
    let provider = super::find(name).ok_or_else(|| vec![unknown(name)])?;
    let mut problems = Vec::new();
    let given = said.get("params").unwrap_or(&Json::Null);
    let values = provider.values(given, &mut problems);
    let (way, below) = provider.below(said);
    let unfilled = Json::Object(merge(&below, said));
    provider.missing(&unfilled, given, &mut problems);
    let mut whole = merge(&params::fill(&below, &values), said);
    if let Some(way) = way {
        way.unsaid(provider, &whole, said, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if !values.is_empty() {
        let values: JsonMap =
            values.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        whole.insert(
            "params".into(),
            given.as_object().map_or(values.clone(), |given| merge(&values, given)).into(),
        );
    }
    Ok(Json::Object(whole))
}

fn unknown(name: &str) -> Problem {
    let message = format!("the catalogue has no provider {name:?}");
    let help = suggest::nearest(name, super::names()).map(|near| format!("did you mean {near:?}?"));
    Problem::error("unknown-provider", Path::root().field("provider"), message).help(help.unwrap_or_else(
        || "`karez connections providers` lists them; without one, say `url` and `auth`".into(),
    ))
}

impl Provider {
    /// What it brings to a connection of which a file says `said`, and the way to log in that is meant.
    fn below(&self, said: &JsonMap) -> (Option<&Way>, JsonMap) {
        let way = self.way(said.get("auth"));
        let below = match (way, self.ways.first()) {
            (Some(way), _) => self.settings(way),
            // Of another kind: how one logs in is the file's affair, and where requests go is as by default.
            (None, Some(first)) => merge(&self.connection, &first.connection),
            (None, None) => self.connection.clone(),
        };
        (way, below)
    }

    /// What it brings to a connection that logs in this way.
    #[must_use]
    pub fn settings(&self, way: &Way) -> JsonMap {
        let mut settings = merge(&self.connection, &way.connection);
        settings.insert("auth".into(), Json::Object(way.auth.clone()));
        settings
    }
}

impl Way {
    /// Tells what it needs and nobody said.
    fn unsaid(&self, provider: &Provider, whole: &JsonMap, said: &JsonMap, problems: &mut Vec<Problem>) {
        let Some((kind, auth)) = whole.get("auth").and_then(Json::as_object).and_then(kind_of) else {
            return;
        };
        let grant = auth.get("grant").and_then(Json::as_str);
        if kind != self.kind() || grant.is_some_and(|grant| Some(grant) != self.grant()) {
            return;
        }
        for (name, about) in &self.headers {
            let has = |headers: &JsonMap| headers.keys().any(|own| own.eq_ignore_ascii_case(name));
            if !whole.get("headers").and_then(Json::as_object).is_some_and(has) {
                let message = format!("{} needs the header {name}", provider.title);
                let place =
                    Path::root().field(if said.contains_key("headers") { "headers" } else { "provider" });
                problems.push(Problem::error("missing-field", place, message).help(about));
            }
        }
        for (field, about) in self.needs(auth) {
            if at(auth, field).is_none() {
                let message = format!("{} needs `auth.{kind}.{field}`", provider.title);
                let place = Path::root().field(if said.contains_key("auth") { "auth" } else { "provider" });
                problems.push(Problem::error("missing-field", place, message).help(about));
            }
        }
    }
}
