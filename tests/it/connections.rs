//! `karez connections`: the catalogue of providers.

use karez_tests::{Folder, Json};

const KEY: &str = include_str!("../fixtures/webhooks/rsa-key.pem");
const CERTIFICATE: &str = include_str!("../fixtures/webhooks/certificate.pem");

/// A connection of the catalogue whose variables are files where a PEM is wanted, and words of `.env` elsewhere.
fn with_values(yaml: &str, variables: &mut String) -> String {
    let private = yaml.contains("jwt") || yaml.contains("client_key") || yaml.contains("saml");
    let mut text = yaml.to_owned();
    for variable in yaml.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
        if private && variable.ends_with("_KEY") {
            text = text.replace(&format!("${{{variable}}}"), "${file:key.pem}");
        } else if variable.ends_with("_CERTIFICATE") {
            text = text.replace(&format!("${{{variable}}}"), "${file:certificate.pem}");
        } else {
            *variables += &format!("{variable}=value\n");
        }
    }
    text
}

#[test]
fn every_provider_is_listed_with_connections_that_load() {
    let folder =
        Folder::new().with("orders", "source: {webhook: {path: /orders, verify: {none: {reason: a test}}}}\nsink: {files: {path: o.ndjson}}\n");
    let all = folder.karez(&["connections", "providers", "--format", "json"]).exits(0).json();
    let all = all.as_array().unwrap();
    assert!(all.len() >= 64, "{}", all.len());
    let text = folder.karez(&["connections", "providers"]).exits(0).stdout;
    let mut variables = String::new();
    for one in all {
        let name = one["name"].as_str().unwrap();
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
        let (ways, yaml) = (one["ways"].as_array().unwrap(), one["yaml"].as_array().unwrap());
        assert_eq!(ways.len(), yaml.len(), "{name}");
        for (n, yaml) in yaml.iter().enumerate() {
            let yaml = with_values(yaml.as_str().unwrap(), &mut variables);
            // Names of connections are unique in a folder.
            let yaml = yaml.replacen(&format!("  {name}:"), &format!("  {name}-{n}:"), 1);
            folder.pipeline(&format!("{name}-{n}"), &yaml);
        }
    }
    folder.write(".env", variables);
    folder.write("key.pem", KEY);
    folder.write("certificate.pem", CERTIFICATE);
    folder.karez(&["check"]).exits(0);
}

#[test]
fn a_provider_is_shown_with_what_it_needs() {
    let folder = Folder::new();
    let shown = folder.karez(&["connections", "show", "github"]).exits(0).stdout;
    for part in [
        "GitHub (github)",
        "installation: the number of the app's installation",
        "auth.oauth2.assertion.jwt.key: the PEM of the app's private key",
        "link_header: page; per_page up to 100",
        "X-RateLimit-Remaining",
        "https://docs.github.com/",
        "A connection by oauth2 jwt_bearer",
        "    provider: github",
        "client_secret: \"${GITHUB_CLIENT_SECRET}\"",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json: Json = folder.karez(&["connections", "show", "github", "--format", "json"]).exits(0).json();
    assert_eq!(json["connection"]["url"], "https://api.github.com");
    let unknown = folder.karez(&["connections", "show", "githb"]).exits(2);
    assert!(unknown.stderr.contains("did you mean \"github\"?"), "{}", unknown.stderr);
}
