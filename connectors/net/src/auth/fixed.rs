//! Credentials that stay as they are: keys, bearer tokens, Basic. A refusal is final.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use karez_api::{Fault, Path, Problem, Secret};

use super::place::{self, Spot, sensitive};
use super::{Credentials, Stamp};
use crate::spec::{ApiKey, Basic, Bearer};
use crate::{Request, Response};

pub(crate) struct Fixed {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What is not in a header.
    elsewhere: Option<(Spot, Secret)>,
}

impl Fixed {
    pub(super) fn api_key(spec: &ApiKey) -> Result<Self, String> {
        let value = Secret::new(format!("{}{}", spec.prefix, spec.key.expose()));
        let (mut headers, mut elsewhere) = (Vec::new(), None);
        match Spot::read(&spec.place)? {
            Spot::Header(name) => headers.push((name, sensitive(value.expose())?)),
            spot => elsewhere = Some((spot, value)),
        }
        for (name, value) in &spec.headers {
            headers.push((header_name(name)?, sensitive(value.expose())?));
        }
        Ok(Self { headers, elsewhere })
    }

    pub(super) fn bearer(spec: &Bearer) -> Result<Self, String> {
        let value = sensitive(&format!("Bearer {}", spec.token.expose()))?;
        Ok(Self { headers: vec![(header::AUTHORIZATION, value)], elsewhere: None })
    }

    pub(super) fn basic(spec: &Basic) -> Result<Self, String> {
        Ok(Self { headers: vec![(header::AUTHORIZATION, basic(spec)?)], elsewhere: None })
    }
}

/// RFC 7617, in UTF-8.
///
/// # Errors
/// A fragment: a colon in the name would end it there.
pub(super) fn basic(spec: &Basic) -> Result<HeaderValue, String> {
    if spec.username.contains(':') {
        return Err("a user name of Basic has no colon".into());
    }
    let password = spec.password.as_ref().map_or("", Secret::expose);
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{}:{password}", spec.username))))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not the name of a header"))
}

#[async_trait]
impl Credentials for Fixed {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        for (name, value) in &self.headers {
            request.headers.insert(name, value.clone());
        }
        if let Some((spot, value)) = &self.elsewhere {
            spot.put(request, value.expose())?;
        }
        Ok(Stamp(0))
    }

    async fn refused(&self, _stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        Ok(false)
    }
}

pub(super) fn check_api_key(spec: &ApiKey, at: &Path, problems: &mut Vec<Problem>) {
    place::check(&spec.place, &at.field("in"), problems);
    if let Ok(spot) = Spot::read(&spec.place) {
        let value = Secret::new(format!("{}{}", spec.prefix, spec.key.expose()));
        if let Err(what) = spot.takes(value.expose()) {
            problems.push(Problem::error("bad-key", at.field("key"), what));
        }
    }
    for (name, value) in &spec.headers {
        let at = at.field("headers").field(name);
        if let Err(what) = header_name(name) {
            problems.push(Problem::error("bad-name", at, what).on_key());
        } else if let Err(what) = sensitive(value.expose()) {
            problems.push(Problem::error("bad-key", at, what));
        }
    }
}

pub(super) fn check_bearer(spec: &Bearer, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = sensitive(spec.token.expose()) {
        problems.push(Problem::error("bad-key", at.field("token"), what));
    }
}

pub(super) fn check_basic(spec: &Basic, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = basic(spec) {
        problems.push(Problem::error("bad-name", at.field("username"), what));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::testing::{applied, read, request};
    use crate::spec::AuthSpec;

    #[tokio::test]
    async fn keys_stand_where_the_file_says_and_what_stood_there_goes() {
        let mut asked = request("GET", "https://a.example/p?q=a%20b&key=mine", "");
        asked.headers.insert("x-key", "mine".parse().unwrap());
        asked.headers.insert("cookie", "a=1; sid=mine".parse().unwrap());
        let cases: &[(Value, &str, &str)] = &[
            (
                json!({"api_key": {"in": {"header": "X-Key"}, "key": "k", "prefix": "Token "}}),
                "x-key",
                "Token k",
            ),
            (
                json!({"api_key": {"in": {"header": "X-Key"}, "key": "k", "headers": {"X-App": "a"}}}),
                "x-app",
                "a",
            ),
            (json!({"api_key": {"in": {"cookie": "sid"}, "key": "k"}}), "cookie", "a=1; sid=k"),
            (json!({"bearer": {"token": "t"}}), "authorization", "Bearer t"),
            // RFC 7617 §2.
            (
                json!({"basic": {"username": "Aladdin", "password": "open sesame"}}),
                "authorization",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            // RFC 7617 §2.1.
            (
                json!({"basic": {"username": "test", "password": "123£"}}),
                "authorization",
                "Basic dGVzdDoxMjPCow==",
            ),
            (json!({"basic": {"username": "sk_live"}}), "authorization", "Basic c2tfbGl2ZTo="),
        ];
        for (spec, name, expected) in cases {
            let sent = applied(spec, asked.clone()).await;
            assert_eq!(sent.headers[*name], *expected, "{spec}");
            assert_eq!(sent.headers.get_all(*name).iter().count(), 1);
            assert!(sent.headers[*name].is_sensitive(), "{spec}");
        }
        let sent = applied(&json!({"api_key": {"in": {"query": "key"}, "key": "k&1"}}), asked).await;
        assert_eq!(sent.url.as_str(), "https://a.example/p?q=a+b&key=k%261");
    }

    #[test]
    fn what_cannot_be_sent_is_told_at_its_place() {
        let places = |spec: Value| {
            let spec: AuthSpec = read(&spec);
            let mut problems = Vec::new();
            crate::auth::check(&spec, &Path::root().field("auth"), &mut problems);
            problems.iter().map(|problem| problem.at.to_string()).collect::<Vec<_>>()
        };
        let key =
            json!({"api_key": {"in": {"header": "a b"}, "key": "k", "headers": {"c d": "x", "E": "\n"}}});
        assert_eq!(
            places(key),
            ["auth.api_key.in.header", "auth.api_key.headers.E", "auth.api_key.headers.c d"]
        );
        assert_eq!(places(json!({"api_key": {"in": {"cookie": "c"}, "key": "a;b"}})), ["auth.api_key.key"]);
        assert_eq!(places(json!({"bearer": {"token": "a\nb"}})), ["auth.bearer.token"]);
        assert_eq!(places(json!({"basic": {"username": "a:b"}})), ["auth.basic.username"]);
    }
}
