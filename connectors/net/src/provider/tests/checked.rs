//! The examples of the catalogue before everything that a connection is checked for when it is loaded.

use super::*;

const KEY: &str = include_str!("../../auth/jose/testdata/rsa.pkcs8.pem");
const CERTIFICATE: &str = include_str!("../../auth/jose/testdata/certificate.pem");

/// Something to put in the place of a variable, by the field that it is for.
fn value(field: &str, signs: bool) -> &'static str {
    match field {
        "key" if signs => KEY,
        "certificate" => CERTIFICATE,
        _ => "value",
    }
}

/// The settings with values in the place of variables. `signs`: a key beside is one that something is signed with.
fn given(settings: Json, signs: bool) -> Json {
    let Json::Object(fields) = settings else { return settings };
    let filled = fields.into_iter().map(|(name, below)| {
        let signs = signs || ["jwt", "client_key", "saml"].contains(&&*name);
        let below = match below {
            Json::String(text) if text.starts_with("${") => value(&name, signs).into(),
            below => given(below, signs),
        };
        (name, below)
    });
    Json::Object(filled.collect())
}

#[test]
fn every_example_passes_every_check() {
    for (name, provider, way) in ways() {
        let settings = given(copied(provider, way), false);
        let checked = crate::check(provider.name, &settings);
        let checked = checked.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        assert!(checked.spec().probe.is_some(), "{name}");
    }
}
