//! How the client says who it is (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use karez_api::{Fault, Millis, Secret};

use super::params::Params;
use crate::auth::jose::{Fallback, SigningKey, make};
use crate::spec::{ClientAuth, Jwt, JwtAlgorithm, OAuth2};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFETIME: Duration = Duration::from_secs(120);

/// The client's proof, with its key read.
pub(crate) struct Proof {
    way: ClientAuth,
    id: Option<String>,
    secret: Option<Secret>,
    assertion: Option<(Jwt, SigningKey)>,
}

impl Proof {
    /// # Errors
    /// A fragment: something that it needs is missing or cannot be read.
    pub(crate) fn new(spec: &OAuth2) -> Result<Self, String> {
        let assertion = match spec.client_auth {
            ClientAuth::PrivateKeyJwt => Some(spec.client_key.clone().ok_or("`client_key` is missing")?),
            ClientAuth::ClientSecretJwt => {
                Some(with_secret(spec.client_secret.clone().ok_or("`client_secret` is missing")?))
            }
            _ => None,
        };
        let assertion = assertion.map(|jwt| {
            let key = SigningKey::read(jwt.algorithm, &jwt.key)?;
            Ok::<_, String>((jwt, key))
        });
        Ok(Self {
            way: spec.client_auth,
            id: spec.client_id.clone(),
            secret: spec.client_secret.clone(),
            assertion: assertion.transpose()?,
        })
    }

    /// Puts it on a request. `audience` is who judges an assertion, where the file does not say.
    ///
    /// # Errors
    /// Something of it does not fit a header, or nothing can be signed.
    pub(crate) fn put(
        &self,
        params: &mut Params,
        headers: &mut HeaderMap,
        audience: &str,
        now: Millis,
    ) -> Result<(), Fault> {
        let id = self.id.as_deref();
        match self.way {
            ClientAuth::Body => {
                self.put_id(params);
                if let Some(secret) = &self.secret {
                    params.set("client_secret", secret.expose());
                }
            }
            ClientAuth::Basic => self.put_basic(headers, encoded)?,
            ClientAuth::BasicRaw => self.put_basic(headers, str::to_owned)?,
            ClientAuth::PrivateKeyJwt | ClientAuth::ClientSecretJwt => {
                self.put_id(params);
                if let Some((jwt, key)) = &self.assertion {
                    let fallback = Fallback { issuer: id, subject: id, audience: Some(audience) };
                    params.set("client_assertion_type", ASSERTION_TYPE);
                    params.set("client_assertion", make(jwt, key, fallback, now)?);
                }
            }
            ClientAuth::Tls | ClientAuth::None => self.put_id(params),
        }
        Ok(())
    }

    fn put_id(&self, params: &mut Params) {
        if let Some(id) = &self.id {
            params.set("client_id", id);
        }
    }

    fn put_basic(&self, headers: &mut HeaderMap, write: fn(&str) -> String) -> Result<(), Fault> {
        let part = |text: Option<&str>| write(text.unwrap_or_default());
        let both = format!("{}:{}", part(self.id.as_deref()), part(self.secret.as_ref().map(Secret::expose)));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(both)))
            .map_err(|_| Fault::fatal("client id and secret do not fit a header"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// RFC 6749 §2.3.1: form-encoded before they are joined.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn with_secret(key: Secret) -> Jwt {
    Jwt {
        algorithm: JwtAlgorithm::HS256,
        key,
        key_id: None,
        header: Default::default(),
        issuer: None,
        subject: None,
        audience: None,
        claims: Default::default(),
        lifetime: Some(karez_api::Duration(ASSERTION_LIFETIME)),
        backdate: None,
        prefix: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::{Token, fields};

    fn put(way: &str) -> (String, Option<String>) {
        let spec = json!({"client_auth": way, "client_id": "a b", "client_secret": "s%:cret/secret/secret"});
        let spec: OAuth2 = serde_json::from_value(spec).unwrap();
        let (mut params, mut headers) = (Params::default(), HeaderMap::new());
        let proof = Proof::new(&spec).unwrap();
        proof.put(&mut params, &mut headers, "https://as.example", Millis(1_000)).unwrap();
        let header = headers.get(AUTHORIZATION).map(|value| {
            assert!(value.is_sensitive());
            let both = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            String::from_utf8(STANDARD.decode(both).unwrap()).unwrap()
        });
        (params.form(), header)
    }

    #[test]
    fn each_way_puts_the_client_where_its_servers_look() {
        let header = |text: &str| Some(text.to_owned());
        for (way, form, basic) in [
            ("body", "client_id=a+b&client_secret=s%25%3Acret%2Fsecret%2Fsecret", None),
            ("basic", "", header("a+b:s%25%3Acret%2Fsecret%2Fsecret")),
            ("basic_raw", "", header("a b:s%:cret/secret/secret")),
            ("none", "client_id=a+b", None),
            ("tls", "client_id=a+b", None),
        ] {
            assert_eq!(put(way), (form.to_owned(), basic), "{way}");
        }
    }

    #[test]
    fn an_assertion_is_of_the_client_and_for_the_server() {
        let (form, _) = put("client_secret_jwt");
        let fields_of_form: Vec<_> = form_urlencoded::parse(form.as_bytes()).collect();
        let (_, assertion) = fields_of_form.iter().find(|(name, _)| name == "client_assertion").unwrap();
        let token = Token::read(assertion.as_bytes()).unwrap();
        assert_eq!(token.header["alg"], "HS256");
        let claims = fields(token.claims).unwrap();
        let found = [&claims["iss"], &claims["sub"], &claims["aud"], &claims["iat"], &claims["exp"]];
        assert_eq!(
            found,
            [&json!("a b"), &json!("a b"), &json!("https://as.example"), &json!(1), &json!(121)]
        );
    }
}
