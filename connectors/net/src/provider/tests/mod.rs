use karez_api::{Json, JsonMap};

use super::*;
use crate::spec::ConnectionSpec;

mod catalogue;
mod checked;
mod expanding;

/// What a file would have that was copied from the example.
fn copied(provider: &Provider, way: &Way) -> Json {
    let yaml: Json = serde_yaml::from_str(&provider.example(way)).unwrap();
    yaml["connections"][provider.name].clone()
}

/// Every way of every provider, with a name for failures.
fn ways() -> impl Iterator<Item = (String, &'static Provider, &'static Way)> {
    let named = |provider: &'static Provider| {
        provider.ways.iter().map(move |way| {
            let name = format!("{} {} {}", provider.name, way.kind(), way.grant().unwrap_or_default());
            (name, provider, way)
        })
    };
    all().iter().flat_map(named)
}

fn spec(settings: Json) -> Result<ConnectionSpec, String> {
    serde_json::from_value(settings).map_err(|error| error.to_string())
}
