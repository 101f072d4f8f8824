//! Who logged in, as an id token says: judged by OpenID Connect Core 1.0 §3.1.3.7 and §12.2.

use base64::Engine as _;
use karez_api::{Json, JsonMap, Millis, Secret};
use subtle::ConstantTimeEq as _;

use super::client::Client;
use super::token::Subject;
use crate::jose::{BASE64URL, Hash, Token, fields};
use crate::spec::{ClientAuth, JwtAlgorithm, OAuth2};

/// How far clocks may be apart, in seconds.
const LEEWAY: f64 = 60.0;
/// How long ago a token may have been issued that comes with a log-in, in seconds.
const OLDEST: f64 = 600.0;

/// What a token has to agree with.
pub(crate) struct Expected<'a> {
    pub(crate) nonce: Option<&'a str>,
    pub(crate) access_token: &'a Secret,
    pub(crate) code: Option<&'a Secret>,
    /// Whether it came from its issuer over TLS, which may stand in for a signature (§3.1.3.7, 6).
    pub(crate) by_tls: bool,
}

impl Client {
    /// # Errors
    /// A fragment: what is wrong with it.
    pub(crate) async fn judge_id_token(
        &self,
        token: &Secret,
        expected: &Expected<'_>,
    ) -> Result<Subject, String> {
        let text = token.expose();
        if text.split('.').count() == 5 {
            return Err("is encrypted, which is not supported: register the client without encryption".into());
        }
        let token = Token::read(text.as_bytes()).ok_or("is no JWT")?;
        let algorithm = algorithm(&self.spec, &token)?;
        self.prove(&token, algorithm, expected.by_tls).await?;
        let claims = fields(token.claims).ok_or("is no JWT")?;
        judge(&self.spec, &claims, algorithm, expected, self.there())
    }

    async fn prove(&self, token: &Token<'_>, algorithm: JwtAlgorithm, by_tls: bool) -> Result<(), String> {
        let wrong = || Err("has a wrong signature".to_owned());
        if let Some(hash) = algorithm.keyed_hash() {
            let is_public = matches!(self.spec.client_auth, ClientAuth::None);
            let secret = self.spec.client_secret.as_ref().filter(|_| !is_public);
            let secret = secret.ok_or("is signed with a secret that a public client has not")?;
            let code = hash.mac(secret.expose().as_bytes(), token.signed);
            return if bool::from(code.ct_eq(&token.signature)) { Ok(()) } else { wrong() };
        }
        let id = match token.header.get("kid") {
            None => None,
            Some(Json::String(id)) => Some(&**id),
            Some(_) => return Err("names its key in a way that is not known here".into()),
        };
        let found = self.keys.of(self, algorithm, id).await;
        let found = found.map_err(|refusal| format!("cannot be checked: {}", refusal.fault()))?;
        match found {
            None if by_tls => Ok(()),
            None => Err("cannot be checked: say `issuer` or `jwks_url`".into()),
            Some(keys) if keys.is_empty() => Err("names a key that its issuer does not have".into()),
            Some(keys) => match keys.iter().any(|key| key.key.verifies(token.signed, &token.signature)) {
                true => Ok(()),
                false => wrong(),
            },
        }
    }
}

fn algorithm(spec: &OAuth2, token: &Token<'_>) -> Result<JwtAlgorithm, String> {
    let allowed = match spec.id_token.algorithms.is_empty() {
        true => &[JwtAlgorithm::RS256][..],
        false => &spec.id_token.algorithms,
    };
    if token.header.contains_key("crit") {
        return Err("asks for an extension that is not known here".into());
    }
    let name = token.header.get("alg").and_then(Json::as_str).unwrap_or("none");
    let found = allowed.iter().find(|allowed| allowed.name() == name);
    found.copied().ok_or_else(|| {
        let name: String = name.chars().take(20).collect();
        format!("is signed with {name:?}, which `id_token.algorithms` does not allow")
    })
}

fn judge(
    spec: &OAuth2,
    claims: &JsonMap,
    algorithm: JwtAlgorithm,
    expected: &Expected<'_>,
    there: Millis,
) -> Result<Subject, String> {
    let subject = subject(claims)?;
    let wanted = spec.id_token.issuer.as_deref().map(|template| {
        let tenant = claims.get("tid").and_then(Json::as_str).unwrap_or_default();
        template.replace("{tenantid}", tenant)
    });
    let wanted = wanted.as_deref().or(spec.issuer.as_deref());
    if wanted.is_some_and(|wanted| wanted != subject.issuer) {
        return Err("is from another issuer".into());
    }
    judge_audience(spec, claims, &subject)?;
    judge_times(spec, claims, there)?;
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    if let Some(nonce) = expected.nonce
        && !text("nonce").is_some_and(|given| bool::from(given.as_bytes().ct_eq(nonce.as_bytes())))
    {
        return Err("is not for this log-in: its nonce is another".into());
    }
    for (claim, hashed) in [("at_hash", Some(expected.access_token)), ("c_hash", expected.code)] {
        if let (Some(given), Some(hashed)) = (text(claim), hashed)
            && given != half_hash(algorithm, hashed)
        {
            return Err(format!("does not belong to what came with it ({claim})"));
        }
    }
    Ok(subject)
}

fn judge_audience(spec: &OAuth2, claims: &JsonMap, subject: &Subject) -> Result<(), String> {
    let client = spec.client_id.as_deref().unwrap_or_default();
    if !subject.audience.iter().any(|one| one == client) {
        return Err("is for another client".into());
    }
    let is_trusted = |one: &String| one == client || spec.id_token.audiences.contains(one);
    if let Some(other) = subject.audience.iter().find(|one| !is_trusted(one)) {
        let other: String = other.chars().take(100).collect();
        return Err(format!("is for {other:?} too, which `id_token.audiences` does not name"));
    }
    match claims.get("azp") {
        None if subject.audience.len() > 1 => Err("is for several and does not say who asked (azp)".into()),
        Some(party) if party.as_str() != Some(client) => Err("was asked for by another client (azp)".into()),
        _ => Ok(()),
    }
}

fn judge_times(spec: &OAuth2, claims: &JsonMap, there: Millis) -> Result<(), String> {
    let now = there.0 as f64 / 1_000.0;
    let time = |name: &str| claims.get(name).and_then(Json::as_f64);
    let expires = time("exp").ok_or("does not say when it expires")?;
    if now >= expires + LEEWAY {
        return Err("has expired".into());
    }
    if time("nbf").is_some_and(|start| now + LEEWAY < start) {
        return Err("does not count yet".into());
    }
    let issued = time("iat").ok_or("does not say when it was issued")?;
    if now + LEEWAY < issued {
        return Err("was issued in the future: compare the clocks".into());
    }
    if now > issued + OLDEST + LEEWAY {
        return Err("was issued too long ago".into());
    }
    if let Some(most) = spec.id_token.max_age {
        let logged_in = time("auth_time").ok_or("does not say when the log-in was (auth_time)")?;
        if now > logged_in + most.0.as_secs_f64() + LEEWAY {
            return Err("is of a log-in that is too long ago (max_age)".into());
        }
    }
    Ok(())
}

/// An id token that comes with a refresh is about the same account, or something is very wrong (§12.2).
///
/// # Errors
/// A fragment: it is about another one.
pub(crate) fn judge_refreshed(token: &Secret, before: Option<&Subject>) -> Result<(), String> {
    let claims = Token::read(token.expose().as_bytes()).and_then(|token| fields(token.claims));
    let (Some(before), Some(now)) = (before, claims.and_then(|claims| subject(&claims).ok())) else {
        return Ok(());
    };
    let same_audience = before.audience.iter().all(|one| now.audience.contains(one));
    match now.issuer == before.issuer && now.subject == before.subject && same_audience {
        true => Ok(()),
        false => Err("the refresh yielded tokens of another account".into()),
    }
}

fn subject(claims: &JsonMap) -> Result<Subject, String> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
    let audience = match claims.get("aud") {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let issuer = text("iss").ok_or("does not name its issuer")?.to_owned();
    let subject = text("sub").ok_or("does not name its subject")?.to_owned();
    Ok(Subject { issuer, subject, audience })
}

/// The left half of the hash that belongs to the algorithm (§3.1.3.6).
fn half_hash(algorithm: JwtAlgorithm, value: &Secret) -> String {
    use JwtAlgorithm::*;
    let hash = match algorithm {
        HS256 | RS256 | PS256 | ES256 => Hash::Sha256,
        HS384 | RS384 | PS384 | ES384 => Hash::Sha384,
        HS512 | RS512 | PS512 | EdDSA => Hash::Sha512,
    };
    let hashed = hash.digest(value.expose().as_bytes());
    BASE64URL.encode(&hashed[..hashed.len() / 2])
}
