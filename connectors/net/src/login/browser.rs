//! The log-in in a browser: there (RFC 6749 §4.1.1, with PKCE, PAR and a nonce) and back again.

use std::collections::BTreeMap;

use karez_api::{Fault, Json, Secret};
use reqwest::Url;
use subtle::ConstantTimeEq as _;

use super::pending::Begun;
use super::random::{challenge, hash, secret};
use super::{COOKIE, LIFETIME};
use crate::auth::oauth2::{
    Account, Brought, Client, Code, DpopKey, Endpoint, Expected, LoggedIn, OAuthAccount, Params, Said, json,
};
use crate::pick::Seen;
use crate::spec::{Par, Pkce};

/// Most bytes of a callback's query.
const LONGEST_QUERY: usize = 16 << 10;

/// Where the browser goes, what has to fit when it comes back, and what it is to remember.
pub(super) async fn begin(of: &OAuthAccount, redirect_url: &str) -> Result<(Url, Begun, Secret), Fault> {
    let client = &of.0.client;
    let (state, cookie) = (secret()?, secret()?);
    let is_openid = client.spec.scopes.iter().any(|scope| scope == "openid");
    let nonce = is_openid.then(secret).transpose()?;
    let verifier = (client.spec.pkce == Pkce::S256).then(secret).transpose()?;
    let key = client.spec.dpop.then(DpopKey::generate).transpose()?;
    let begun = Begun {
        state: hash(state.expose()),
        cookie: hash(cookie.expose()),
        nonce,
        verifier,
        redirect_url: redirect_url.to_owned(),
        key,
    };
    let params = params(client, &state, &begun);
    let location = location(client, params, begun.key.as_ref()).await?;
    Ok((location, begun, cookie))
}

fn params(client: &Client, state: &Secret, begun: &Begun) -> Params {
    let spec = &client.spec;
    let mut params = Params::default();
    params.set("response_type", "code");
    params.set("client_id", spec.client_id.as_deref().unwrap_or_default());
    client.put_scope(&mut params);
    client.put_targets(&mut params);
    if let Some(audience) = &spec.audience {
        params.set("audience", audience);
    }
    if let Some(most) = spec.id_token.max_age {
        params.set("max_age", most.0.as_secs().to_string());
    }
    params.set_all(&spec.authorization_params);
    // After what the file says: nothing in it may weaken these.
    params.set("redirect_uri", &begun.redirect_url);
    params.set("state", state.expose());
    if let Some(nonce) = &begun.nonce {
        params.set("nonce", nonce.expose());
    }
    if let Some(verifier) = &begun.verifier {
        params.set("code_challenge", challenge(verifier));
        params.set("code_challenge_method", "S256");
    }
    if let Some(key) = &begun.key {
        params.set("dpop_jkt", key.thumbprint());
    }
    params
}

async fn location(client: &Client, params: Params, key: Option<&DpopKey>) -> Result<Url, Fault> {
    let none = BTreeMap::new();
    let fault = |refusal: crate::auth::oauth2::Refusal| refusal.fault();
    let mut url = client.address(Endpoint::Authorization, &none).await.map_err(fault)?;
    let document = client.metadata.document(client).await.map_err(fault)?;
    let is_required = document.is_some_and(|document| document.require_pushed_authorization_requests);
    let is_pushed = match client.spec.par {
        Par::Always => true,
        Par::Auto => is_required,
        Par::Never => false,
    };
    let params = match is_pushed {
        true => pushed(client, params, key).await?,
        false => params,
    };
    params.renamed(&client.spec.rename).append_to(&mut url);
    Ok(url)
}

/// RFC 9126: the request goes there by itself, and the browser carries only its name.
async fn pushed(client: &Client, params: Params, key: Option<&DpopKey>) -> Result<Params, Fault> {
    let url = client.address(Endpoint::Pushed, &BTreeMap::new()).await.map_err(|refusal| refusal.fault())?;
    let asked = client.form(url, params, key).await.map_err(|refusal| refusal.fault())?;
    let body = json(&asked).map_err(|refusal| refusal.fault())?;
    let name = body.get("request_uri").and_then(Json::as_str);
    let name =
        name.ok_or_else(|| Fault::service("the server took the request and gave it no `request_uri`"))?;
    let mut params = Params::default();
    params.set("client_id", client.spec.client_id.as_deref().unwrap_or_default());
    params.set("request_uri", name);
    Ok(params)
}

/// A value for `Set-Cookie`. `Lax` lets it come back with the server's redirect, and with nothing else.
pub(super) fn cookie(secret: &Secret, redirect_url: &str) -> Secret {
    let secure = if redirect_url.starts_with("https:") { "; Secure" } else { "" };
    let (secret, age) = (secret.expose(), LIFETIME.as_secs());
    Secret::new(format!("{COOKIE}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"))
}

/// # Errors
/// It is longer than any callback.
pub(super) fn read(query: &str) -> Result<Vec<(String, String)>, Fault> {
    if query.len() > LONGEST_QUERY {
        return Err(Fault::validation("unknown_login", "this is no callback of a log-in"));
    }
    let pairs = form_urlencoded::parse(query.as_bytes());
    Ok(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

/// Nothing where it stands there twice: two readers might read two things.
pub(super) fn param<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    let mut all = query.iter().filter(|(other, _)| other == name);
    let (_, value) = all.next()?;
    all.next().is_none().then_some(value)
}

/// Whether the browser is the one that began.
pub(super) fn is_same(begun: &Begun, cookies: Option<&str>) -> bool {
    let pairs = cookies.unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).any(|(_, value)| bool::from(hash(value).ct_eq(&begun.cookie)))
}

pub(super) async fn finish(
    of: &OAuthAccount,
    begun: &Begun,
    query: &[(String, String)],
    account: Account,
) -> Result<LoggedIn, Fault> {
    let client = &of.0.client;
    judge_issuer(client, query).await?;
    if let Some(code) = param(query, "error") {
        let said = Said::new(code, param(query, "error_description"));
        return Err(Fault::auth(format!("the server refused the log-in: {said}")).with_code("refused"));
    }
    let name = client.spec.code_param.as_deref().unwrap_or("code");
    let code = param(query, name).filter(|code| !code.is_empty());
    let code =
        code.ok_or_else(|| Fault::auth(format!("the server sent the browser back without `{name}`")))?;
    let code = Secret::new(code);
    let kept = client.shape.kept(Seen { callback: Some(query), ..Seen::default() });
    let key = match &begun.key {
        Some(key) => Some(DpopKey::read(key.pem().clone())?),
        None => None,
    };
    let exchange = Code { code: &code, redirect_url: &begun.redirect_url, verifier: begun.verifier.as_ref() };
    let fresh =
        client.exchange_code(&exchange, &kept, key.as_ref()).await.map_err(|refusal| refusal.fault())?;
    let subject = match &fresh.granted.id_token {
        None => None,
        Some(token) => {
            let expected = Expected {
                nonce: begun.nonce.as_ref().map(Secret::expose),
                access_token: &fresh.granted.access_token,
                code: Some(&code),
                by_tls: is_tls(client, &kept).await,
            };
            Some(judged(client, token, &expected).await?)
        }
    };
    of.0.log_in(Brought { fresh, kept, subject, key }, account).await
}

/// # Errors
/// The id token is not what it has to be.
pub(super) async fn judged(
    client: &Client,
    token: &Secret,
    expected: &Expected<'_>,
) -> Result<crate::auth::oauth2::Subject, Fault> {
    let judged = client.judge_id_token(token, expected).await;
    judged.map_err(|what| Fault::auth(format!("the id token {what}")).with_code("id_token"))
}

/// Whether tokens come over TLS from where the file says.
pub(super) async fn is_tls(client: &Client, kept: &BTreeMap<String, String>) -> bool {
    client.address(Endpoint::Token, kept).await.is_ok_and(|url| url.scheme() == "https")
}

/// RFC 9207: an answer of another server must not pass for one of this.
async fn judge_issuer(client: &Client, query: &[(String, String)]) -> Result<(), Fault> {
    let document = client.metadata.document(client).await.map_err(|refusal| refusal.fault())?;
    let is_promised =
        document.is_some_and(|document| document.authorization_response_iss_parameter_supported);
    let wrong = |what: &str| Err(Fault::auth(format!("the answer {what}")).with_code("other_issuer"));
    match (param(query, "iss"), client.spec.issuer.as_deref()) {
        (Some(given), Some(issuer)) if given != issuer => {
            wrong("is from another server than the log-in was for")
        }
        (None, Some(_)) if is_promised => {
            wrong("does not say which server it is from, though the server says it does")
        }
        _ => Ok(()),
    }
}
