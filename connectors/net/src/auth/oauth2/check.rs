//! What is wrong with what a file says of OAuth 2.0.

use karez_api::{Path, Problem};
use reqwest::Url;

use super::answer::Shape;
use super::client_auth::Proof;
use super::endpoint::Endpoint;
use crate::auth::{jose, place, saml};
use crate::spec::{ClientAuth, Grant, OAuth2};

const ADDRESSES: [Endpoint; 8] = [
    Endpoint::Authorization,
    Endpoint::Token,
    Endpoint::Refresh,
    Endpoint::Revocation,
    Endpoint::Introspection,
    Endpoint::Device,
    Endpoint::Pushed,
    Endpoint::Keys,
];

pub(crate) fn check(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) {
    addresses(spec, at, problems);
    client(spec, at, problems);
    grant(spec, at, problems);
    headers(spec, at, problems);
    Shape::compile(spec, at, problems);
    if let Some(place) = &spec.place {
        place::check(place, &at.field("in"), problems);
    }
}

fn addresses(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) {
    for endpoint in ADDRESSES {
        if let Some(text) = endpoint.said(spec) {
            address(text, &at.field(endpoint.name()), problems);
        }
    }
    for (name, text) in [("issuer", &spec.issuer), ("redirect_url", &spec.redirect_url)] {
        if let Some(text) = text {
            address(text, &at.field(name), problems);
        }
    }
    if spec.issuer.is_some() {
        return;
    }
    for endpoint in needed(spec) {
        if endpoint.said(spec).is_none() {
            let what = format!("`{}` is missing for this grant", endpoint.name());
            let problem = Problem::error("missing-field", at.clone(), what);
            problems.push(problem.help("say it, or `issuer` where the server publishes its metadata"));
        }
    }
}

/// What has to be known where no metadata says it.
fn needed(spec: &OAuth2) -> Vec<Endpoint> {
    let installation = spec.assertion.as_ref().is_some_and(|assertion| assertion.installation_url.is_some());
    match spec.grant {
        Grant::AuthorizationCode => vec![Endpoint::Authorization, Endpoint::Token],
        Grant::DeviceCode => vec![Endpoint::Device, Endpoint::Token],
        Grant::RefreshToken if spec.refresh_url.is_some() => Vec::new(),
        Grant::JwtBearer if installation => Vec::new(),
        _ => vec![Endpoint::Token],
    }
}

/// Names in `{…}` stand for values that are not known yet.
fn address(text: &str, at: &Path, problems: &mut Vec<Problem>) {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let is_whole = filled.is_empty() && before.is_empty();
        filled.push_str(before);
        filled.push_str(if is_whole { "https://x" } else { "x" });
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    filled.push_str(rest);
    match Url::parse(&filled) {
        Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => {}
        Ok(_) => problems.push(Problem::error("bad-url", at.clone(), "an address begins with `https://`")),
        Err(what) => {
            problems.push(Problem::error("bad-url", at.clone(), format!("it is no address: {what}")))
        }
    }
}

fn client(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) {
    let mut missing = |name: &str, why: &str| {
        problems.push(Problem::error("missing-field", at.clone(), format!("`{name}` is missing: {why}")));
    };
    let names_itself =
        matches!(spec.grant, Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials)
            || !matches!(spec.client_auth, ClientAuth::Body | ClientAuth::None);
    if spec.client_id.is_none() && names_itself {
        missing("client_id", "the server has to know who asks");
    }
    let with_secret =
        matches!(spec.client_auth, ClientAuth::Basic | ClientAuth::BasicRaw | ClientAuth::ClientSecretJwt);
    if with_secret && spec.client_secret.is_none() {
        missing("client_secret", "`client_auth` says that the client proves itself with it");
    }
    match (&spec.client_key, spec.client_auth) {
        (None, ClientAuth::PrivateKeyJwt) => {
            missing("client_key", "`client_auth: private_key_jwt` signs with it");
        }
        (Some(key), ClientAuth::PrivateKeyJwt) => jose::check(key, &at.field("client_key"), problems),
        (Some(_), _) => {
            let what = "only `client_auth: private_key_jwt` signs with a key";
            problems.push(Problem::error("unused-field", at.field("client_key"), what).on_key());
        }
        (None, _) => {}
    }
    if let (Some(_), ClientAuth::ClientSecretJwt, Err(what)) =
        (&spec.client_secret, spec.client_auth, Proof::new(spec))
    {
        problems.push(Problem::error("bad-key", at.field("client_secret"), what));
    }
}

fn grant(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) {
    let grant = spec.grant;
    let parts = [
        ("refresh_token", spec.refresh_token.is_some(), Grant::RefreshToken),
        ("assertion", spec.assertion.is_some(), Grant::JwtBearer),
        ("saml", spec.saml.is_some(), Grant::SamlBearer),
        ("exchange", spec.exchange.is_some(), Grant::TokenExchange),
    ];
    for (name, is_there, of) in parts {
        if is_there && grant != of {
            let what = format!("`{name}` belongs to another `grant`");
            problems.push(Problem::error("unused-field", at.field(name), what).on_key());
        }
        if !is_there && grant == of {
            let what = format!("`{name}` is missing for this grant");
            problems.push(Problem::error("missing-field", at.clone(), what));
        }
    }
    if let Some(assertion) = &spec.assertion {
        let at = at.field("assertion");
        jose::check(&assertion.jwt, &at.field("jwt"), problems);
        if let Some(url) = &assertion.installation_url {
            address(url, &at.field("installation_url"), problems);
        }
    }
    if let Some(saml) = &spec.saml {
        saml::check(saml, &at.field("saml"), problems);
    }
    if let Some(exchange) = &spec.exchange
        && exchange.subject_token.is_some() == exchange.subject_token_file.is_some()
    {
        let what = "one of `subject_token` and `subject_token_file` is needed";
        problems.push(Problem::error("missing-field", at.field("exchange"), what));
    }
    if spec.keep_alive.is_some() && grant.is_repeatable() {
        let what = "this grant has no refresh token that could be kept alive";
        problems.push(Problem::error("unused-field", at.field("keep_alive"), what).on_key());
    }
}

fn headers(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) {
    let request = &spec.token_request;
    let at = at.field("token_request");
    for (name, value) in &request.headers {
        if name.parse::<http::HeaderName>().is_err() || value.parse::<http::HeaderValue>().is_err() {
            let what = "it cannot be sent as a header";
            problems.push(Problem::error("bad-header", at.field("headers").field(name), what));
        }
    }
    if let Some(method) = &request.method
        && !matches!(&**method, "GET" | "POST" | "PUT" | "PATCH")
    {
        let what = "tokens are asked for with POST, or GET, PUT or PATCH where a server wants it";
        problems.push(Problem::error("bad-method", at.field("method"), what));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(settings: karez_api::Json) -> Vec<String> {
        let mut problems = Vec::new();
        check(&serde_json::from_value(settings).unwrap(), &Path::root(), &mut problems);
        problems
            .iter()
            .map(|problem| format!("{} {}: {}", problem.code, problem.at, problem.message))
            .collect()
    }

    #[test]
    fn a_whole_description_is_fine() {
        for settings in [
            json!({"issuer": "https://as.example", "client_id": "a"}),
            json!({"authorization_url": "https://{shop}.example/#/authorize", "token_url": "{server}/token", "client_id": "a",
                "keep": {"server": "callback:accounts-server", "team": "$.team.id"}}),
            json!({"grant": "client_credentials", "token_url": "https://as.example/token", "client_id": "a", "client_auth": "basic",
                "client_secret": "s"}),
            json!({"grant": "refresh_token", "token_url": "https://as.example/token", "refresh_token": "r"}),
            json!({"grant": "token_exchange", "token_url": "https://as.example/token", "exchange": {"subject_token_file": "/t"}}),
        ] {
            assert_eq!(told(settings.clone()), Vec::<String>::new(), "{settings}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_with_its_place() {
        for (settings, expected) in [
            (json!({"client_id": "a"}), "`authorization_url` is missing for this grant"),
            (json!({"issuer": "https://as.example"}), "`client_id` is missing"),
            (json!({"issuer": "as.example", "client_id": "a"}), "bad-url issuer"),
            (json!({"issuer": "ftp://as.example", "client_id": "a"}), "bad-url issuer"),
            (
                json!({"issuer": "https://a.example", "client_id": "a", "client_auth": "basic"}),
                "`client_secret` is missing",
            ),
            (
                json!({"issuer": "https://a.example", "client_id": "a", "client_auth": "private_key_jwt"}),
                "`client_key` is missing",
            ),
            (json!({"issuer": "https://a.example", "grant": "jwt_bearer"}), "`assertion` is missing"),
            (
                json!({"issuer": "https://a.example", "client_id": "a", "refresh_token": "r"}),
                "unused-field refresh_token",
            ),
            (
                json!({"issuer": "https://a.example", "client_id": "a", "response": {"access_token": "a.b"}}),
                "bad-pick response.access_token",
            ),
            (json!({"issuer": "https://a.example", "client_id": "a", "keep": {"a": "x"}}), "bad-pick keep.a"),
            (
                json!({"issuer": "https://a.example", "client_id": "a", "token_request": {"method": "get"}}),
                "bad-method token_request.method",
            ),
        ] {
            let told = told(settings.clone());
            assert!(told.iter().any(|one| one.contains(expected)), "{settings}: {told:?}");
        }
    }
}
