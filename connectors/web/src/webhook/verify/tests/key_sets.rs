//! Tokens whose keys stand in a set elsewhere.

use karez_api::Millis;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::testing::{rsa_key, signed_with_rsa};

const ADDRESS: &str = "https://keys.example/jwks.json";
const SECONDS: u64 = NOW.0 / 1_000;

fn url(bytes: impl AsRef<[u8]>) -> String {
    Encoding::Base64url.encode(bytes.as_ref()).trim_end_matches('=').to_owned()
}

struct Keys {
    ed25519: Ed25519KeyPair,
    ecdsa: EcdsaKeyPair,
}

impl Keys {
    fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap(),
            ecdsa: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(),
        }
    }

    fn set(&self) -> Json {
        let rsa: PublicKeyComponents<Vec<u8>> = rsa_key().public().into();
        let point = self.ecdsa.public_key().as_ref();
        let other = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).unwrap();
        json!({"keys": [
            {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": url(rsa.n), "e": url(rsa.e)},
            {"kty": "EC", "kid": "e", "crv": "P-256", "key_ops": ["verify"], "x": url(&point[1..33]), "y": url(&point[33..])},
            {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": url(self.ed25519.public_key())},
            {"kty": "OKP", "kid": "old", "crv": "Ed25519", "x": url(other.public_key())},
            {"kty": "OKP", "kid": "hidden", "use": "enc", "crv": "Ed25519", "x": url(self.ed25519.public_key())},
            {"kty": "oct", "kid": "shared", "k": url("s3cret")},
            {"kty": "unheard-of"}, 7,
        ]})
    }

    /// Signed as the header says.
    fn token(&self, header: &Json, claims: &Json) -> String {
        let signed = format!("{}.{}", url(header.to_string()), url(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match header["alg"].as_str() {
            Some("RS256") => signed_with_rsa(signed.as_bytes()),
            Some("ES256") => self.ecdsa.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Some("EdDSA") => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
            Some("HS256") => {
                let public = self.ed25519.public_key().as_ref();
                Mac::new(Algorithm::Sha256, public).unwrap().code(&[signed.as_bytes().into()])
            }
            _ => Vec::new(),
        };
        format!("Bearer {signed}.{}", url(signature))
    }
}

fn verifier(algorithm: &str) -> Verifier {
    checked(&json!({"jwt": {"algorithm": algorithm, "jwks": ADDRESS, "issuer": "acme", "audience": "karez"}}))
        .unwrap()
}

fn claims(name: &str, value: Json) -> Json {
    let mut claims = json!({"iss": "acme", "aud": "karez", "exp": SECONDS + 60});
    claims[name] = value;
    claims
}

fn fetched(algorithm: &str, set: &Json, at: Millis) -> Result<Known, String> {
    let missing = verifier(algorithm).set().unwrap();
    assert_eq!(missing.address.as_str(), ADDRESS);
    let fetched = Fetched::read(&missing, set.to_string().as_bytes(), at)?;
    Ok(Known::default().with(missing.address, fetched))
}

/// Nothing if it is let in, `?` if the set has to be fetched, else why not.
fn said(algorithm: &str, token: &str, known: &Known) -> String {
    let head = head(&[("authorization", token)]);
    let body = Body::from_bytes(Form::Json, "{}".into());
    let why = |refusal: Refusal| {
        let said: Json = serde_json::from_slice(refusal.response.body()).unwrap();
        said["error"].as_str().unwrap().trim_start_matches("authorization ").to_owned()
    };
    let verifier = verifier(algorithm);
    let early = verifier.head(&Request::head(&head, NOW)).map_err(why).err();
    match verifier.verify(&Request::whole(&head, &body, NOW), known) {
        Ok(verified) => {
            assert_eq!((verified, early), (Verified { secret: None, ..verified }, None));
            String::new()
        }
        Err(Denied::Missing(missing)) => {
            assert_eq!((Some(*missing), early), (verifier.set(), None));
            "?".into()
        }
        Err(Denied::Refused(refusal)) => why(refusal),
    }
}

#[test]
fn a_token_is_checked_with_the_key_of_the_set_that_it_names() {
    let keys = Keys::new();
    let right = claims("x", Json::Null);
    let other = "is signed with another algorithm than the file says";
    let unknown = "names a key that its issuer does not have";
    for (algorithm, header, claims, wanted) in [
        ("RS256", json!({"alg": "RS256", "kid": "r"}), &right, ""),
        ("ES256", json!({"alg": "ES256", "kid": "e"}), &right, ""),
        ("EdDSA", json!({"alg": "EdDSA", "kid": "o"}), &right, ""),
        ("EdDSA", json!({"alg": "EdDSA"}), &right, ""),
        ("EdDSA", json!({"alg": "EdDSA", "kid": "old"}), &right, "has a wrong signature"),
        ("EdDSA", json!({"alg": "EdDSA", "kid": "hidden"}), &right, unknown),
        ("EdDSA", json!({"alg": "EdDSA", "kid": "e"}), &right, unknown),
        ("EdDSA", json!({"alg": "EdDSA", "kid": "?"}), &right, unknown),
        ("EdDSA", json!({"alg": "EdDSA", "kid": 7}), &right, "names its key in a way that is not known here"),
        ("RS512", json!({"alg": "RS512", "kid": "r"}), &right, "no set"),
        ("EdDSA", json!({"alg": "none"}), &right, other),
        ("EdDSA", json!({"alg": "HS256", "kid": "o"}), &right, other),
        ("RS256", json!({"alg": "ES256", "kid": "e"}), &right, other),
        (
            "EdDSA",
            json!({"alg": "EdDSA", "kid": "o", "crit": ["exp"]}),
            &right,
            "asks for an extension that is not known here",
        ),
        ("EdDSA", json!({"alg": "EdDSA"}), &claims("exp", json!(SECONDS - 61)), "has expired"),
        ("EdDSA", json!({"alg": "EdDSA"}), &claims("iss", json!("evil")), "is from another issuer"),
        ("EdDSA", json!({"alg": "EdDSA"}), &claims("aud", json!("other")), "is for another audience"),
    ] {
        let found = match fetched(algorithm, &keys.set(), NOW) {
            Ok(known) => said(algorithm, &keys.token(&header, claims), &known),
            Err(_) => "no set".into(),
        };
        assert_eq!(found, wanted, "{algorithm} {header} {claims}");
    }
}

#[test]
fn a_key_of_a_set_may_stand_in_the_file_instead() {
    let keys = Keys::new();
    let set = keys.set();
    for (index, algorithm, kid) in [(0, "RS256", "r"), (1, "ES256", "e"), (2, "EdDSA", "o")] {
        let verify =
            |index: usize| json!({"jwt": {"algorithm": algorithm, "key": set["keys"][index].to_string()}});
        let token = keys.token(&json!({"alg": algorithm, "kid": kid}), &json!({}));
        assert_eq!(judged(&verify(index), &[("authorization", &token)], b"{}"), "", "{algorithm}");
        let problems = checked(&verify(if index == 0 { 1 } else { 0 })).err().unwrap_or_default();
        assert_eq!(places(&problems), ["bad-key verify.jwt.key"], "{algorithm}");
    }
}

#[test]
fn a_set_is_asked_for_where_it_is_missing_or_may_be_outdated() {
    let keys = Keys::new();
    let token = |kid: &str| keys.token(&json!({"alg": "EdDSA", "kid": kid}), &claims("x", Json::Null));
    let before = |seconds: u64| fetched("EdDSA", &keys.set(), Millis((SECONDS - seconds) * 1_000)).unwrap();
    for (known, kid, wanted) in [
        (Known::default(), "o", "?"),
        (before(59), "new", "names a key that its issuer does not have"),
        (before(60), "new", "?"),
        (before(60), "o", ""),
    ] {
        assert_eq!(said("EdDSA", &token(kid), &known), wanted, "{kid}");
    }
    // What is wrong anyhow troubles nobody.
    let expired = keys.token(&json!({"alg": "EdDSA"}), &claims("exp", json!(1)));
    let head = head(&[("authorization", &expired)]);
    assert!(verifier("EdDSA").head(&Request::head(&head, NOW)).is_err());
}

#[test]
fn what_is_no_set_of_keys_changes_nothing() {
    for set in [
        json!([]),
        json!({}),
        json!({"keys": []}),
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}),
    ] {
        assert!(fetched("EdDSA", &set, NOW).is_err(), "{set}");
    }
}

#[test]
fn keys_are_fetched_over_https_only() {
    let jwks = |address: &str| json!({"jwt": {"algorithm": "RS256", "jwks": address}});
    for address in ["https://keys.example/a", "http://127.0.0.1:1/a", "http://[::1]/a"] {
        assert!(checked(&jwks(address)).is_ok(), "{address}");
    }
    for address in ["http://keys.example/a", "http://localhost.example/a", "ftp://keys.example", "/a", ""] {
        let problems = checked(&jwks(address)).err().unwrap_or_default();
        assert_eq!(places(&problems), ["bad-url verify.jwt.jwks"], "{address}");
    }
    for (verify, said) in [
        (json!({"jwt": {"algorithm": "HS256", "jwks": ADDRESS}}), "misplaced-setting verify.jwt.jwks"),
        (
            json!({"jwt": {"algorithm": "RS256", "jwks": ADDRESS, "key": "k"}}),
            "misplaced-setting verify.jwt.jwks",
        ),
        (
            json!({"jwt": {"algorithm": "RS256", "jwks": ADDRESS, "secret": "k"}}),
            "misplaced-setting verify.jwt.secret",
        ),
        (
            json!({"rsa": {"header": "X", "key": "k", "certificate": {"header": "Y", "hosts": ["a"]}}}),
            "misplaced-setting verify.rsa.key",
        ),
        (
            json!({"rsa": {"header": "X", "certificate": {"header": "Y", "hosts": []}}}),
            "missing-hosts verify.rsa.certificate.hosts",
        ),
        (
            json!({"rsa": {"header": "X", "certificate": {"header": "Y", "hosts": ["("]}}}),
            "bad-regex verify.rsa.certificate.hosts[0]",
        ),
        (
            json!({"rsa": {"header": "X", "certificate": {"header": "Y", "body": "z", "hosts": ["a"]}}}),
            "ambiguous-place verify.rsa.certificate",
        ),
        (
            json!({"hmac": {"algorithm": "sha256", "header": "X", "secret": "s", "message": "{timestamp}", "timestamp": {"header": "T"}, "require_fields": {"a": "b"}}}),
            "unsigned-field verify.hmac.require_fields.a",
        ),
    ] {
        let problems = checked(&verify).err().unwrap_or_default();
        assert_eq!(places(&problems), [said], "{verify}");
    }
}
