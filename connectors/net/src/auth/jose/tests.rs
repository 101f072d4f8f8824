use base64::Engine as _;
use karez_api::{Json, Millis, Path, Secret};
use serde_json::json;

use super::*;
use crate::jose::{BASE64URL, Hash, Token, fields, read_set};
use crate::spec::{Jwt, JwtAlgorithm};

const RSA: &str = include_str!("testdata/rsa.pkcs8.pem");
const P256: &str = include_str!("testdata/p256.pkcs8.pem");
const P384: &str = include_str!("testdata/p384.pkcs8.pem");
const ED25519: &str = include_str!("testdata/ed25519.pkcs8.pem");
const SHARED: &str = "a secret that is shared with the other side";

const ALL: [(JwtAlgorithm, &[&str]); 12] = [
    (JwtAlgorithm::HS256, &[SHARED]),
    (JwtAlgorithm::HS384, &[SHARED]),
    (JwtAlgorithm::HS512, &[SHARED]),
    (JwtAlgorithm::RS256, &[RSA, include_str!("testdata/rsa.pkcs1.pem")]),
    (JwtAlgorithm::RS384, &[RSA]),
    (JwtAlgorithm::RS512, &[RSA]),
    (JwtAlgorithm::PS256, &[RSA]),
    (JwtAlgorithm::PS384, &[RSA]),
    (JwtAlgorithm::PS512, &[RSA]),
    // openssl writes the curve's parameters before that one.
    (JwtAlgorithm::ES256, &[P256, include_str!("testdata/p256.sec1.pem")]),
    (JwtAlgorithm::ES384, &[P384, include_str!("testdata/p384.sec1.pem")]),
    (JwtAlgorithm::EdDSA, &[ED25519]),
];

fn key(algorithm: JwtAlgorithm, text: &str) -> SigningKey {
    SigningKey::read(algorithm, &Secret::new(text)).unwrap()
}

fn jwt(settings: Json) -> Jwt {
    serde_json::from_value(settings).unwrap()
}

fn object(value: Json) -> karez_api::JsonMap {
    value.as_object().unwrap().clone()
}

#[test]
fn what_each_algorithm_signs_is_proved_by_the_public_half() {
    for (algorithm, texts) in ALL {
        for text in texts {
            let key = key(algorithm, text);
            let token = key.sign(object(json!({"kid": "k1"})), object(json!({"iss": "me"}))).unwrap();
            let token = Token::read(token.as_bytes()).unwrap();
            assert_eq!(
                Json::Object(token.header),
                json!({"alg": algorithm.name(), "typ": "JWT", "kid": "k1"})
            );
            assert_eq!(fields(token.claims).unwrap(), object(json!({"iss": "me"})));
            match algorithm.keyed_hash() {
                Some(hash) => assert_eq!(hash.mac(text.as_bytes(), token.signed), token.signature),
                None => {
                    let set = json!({"keys": [key.public_jwk()]}).to_string();
                    let keys = read_set(set.as_bytes(), algorithm.name(), algorithm.scheme()).unwrap();
                    assert!(keys[0].key.verifies(token.signed, &token.signature), "{algorithm:?}");
                    assert!(!keys[0].key.verifies(b"something else", &token.signature), "{algorithm:?}");
                }
            }
        }
    }
}

/// RFC 7515 §A.1.
#[test]
fn the_example_of_the_rfc_for_a_shared_secret_comes_out() {
    let secret = BASE64URL
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let code = BASE64URL.encode(Hash::Sha256.mac(&secret, signed.as_bytes()));
    assert_eq!(code, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

/// RFC 8037 §A.1 to §A.4.
#[test]
fn the_example_of_the_rfc_for_ed25519_comes_out() {
    let seed = BASE64URL.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let der = [&hex::decode("302e020100300506032b657004220420").unwrap(), &*seed].concat();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        crate::jose::BASE64.encode(der)
    );
    let key = key(JwtAlgorithm::EdDSA, &pem);
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = BASE64URL.encode(key.signature(signed).unwrap());
    assert_eq!(
        signature,
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert_eq!(thumbprint(&key.public_jwk()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// RFC 7638 §3.1.
#[test]
fn the_thumbprint_of_the_rfc_comes_out() {
    let jwk = json!({"e": "AQAB", "kty": "RSA", "n": concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi",
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnY",
        "b9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0L",
        "s1jF44-csFCur-kEgU8awapJzKnqDKgw")});
    assert_eq!(thumbprint(&jwk), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_key_that_cannot_be_used_is_told_without_being_shown() {
    let cases: &[(JwtAlgorithm, &str, &str)] = &[
        (JwtAlgorithm::RS256, P256, "RS256 needs an RSA key, and this is an EC key on P-256"),
        (JwtAlgorithm::ES256, P384, "ES256 needs an EC key on P-256, and this is an EC key on P-384"),
        (JwtAlgorithm::EdDSA, RSA, "EdDSA needs an Ed25519 key, and this is an RSA key"),
        (JwtAlgorithm::HS256, RSA, "HS256 takes a shared secret, and this is PEM"),
        (JwtAlgorithm::RS256, include_str!("testdata/rsa-1024.pkcs8.pem"), "it needs 2048 to 4096 bits"),
        (JwtAlgorithm::ES256, include_str!("testdata/p521.sec1.pem"), "a curve that is not known here"),
        (
            JwtAlgorithm::ES256,
            include_str!("testdata/p256-alone.sec1.pem"),
            "`openssl pkey -in FILE` adds it",
        ),
        (JwtAlgorithm::ES256, include_str!("testdata/encrypted.pkcs8.pem"), "encrypted with a passphrase"),
        (JwtAlgorithm::RS256, include_str!("testdata/encrypted.pkcs1.pem"), "encrypted with a passphrase"),
        (JwtAlgorithm::RS256, include_str!("testdata/public.pem"), "the private key is wanted"),
        (JwtAlgorithm::RS256, include_str!("testdata/certificate.pem"), "the private key is wanted"),
        (JwtAlgorithm::RS256, "/etc/karez/key.pem", "it is not PEM"),
        (JwtAlgorithm::RS256, "-----BEGIN PRIVATE KEY-----\nMIIE", "END line is missing"),
        (JwtAlgorithm::RS256, "-----BEGIN PRIVATE KEY-----\n%%\n-----END PRIVATE KEY-----", "is not base64"),
        (JwtAlgorithm::RS256, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "is no PKCS#8"),
    ];
    for (algorithm, text, expected) in cases {
        let what = SigningKey::read(*algorithm, &Secret::new(*text)).err().unwrap();
        assert!(what.contains(expected), "{what} / {expected}");
        let secret = text.lines().nth(1).unwrap_or("/etc");
        assert!(!what.contains(secret), "{what}");
    }
}

#[test]
fn a_key_whose_line_ends_were_spelled_out_or_lost_is_read() {
    for text in [RSA.replace('\n', "\\n"), RSA.replace('\n', " "), RSA.replace('\n', "\r\n")] {
        key(JwtAlgorithm::RS256, &text);
    }
}

#[test]
fn a_key_made_here_is_kept_and_read_again() {
    let kept = SigningKey::generate_es256().unwrap();
    let (first, again) = (key(JwtAlgorithm::ES256, kept.expose()), key(JwtAlgorithm::ES256, kept.expose()));
    assert_eq!(first.public_jwk(), again.public_jwk());
    assert_ne!(kept, SigningKey::generate_es256().unwrap());
}

#[test]
fn a_token_says_what_the_file_says_and_what_its_use_knows() {
    let jwt = jwt(json!({
        "algorithm": "HS256", "key": SHARED, "key_id": "k1", "header": {"x5t": "abc"}, "issuer": "me",
        "lifetime": "2m", "backdate": "10s",
        "claims": {"scope": "a b", "nbf": "{now}", "ends": "{expires}", "list": ["at {now}", 1], "jti": null},
    }));
    let fallback =
        Fallback { issuer: Some("not me"), subject: None, audience: Some("https://a.example/token") };
    let token = make(&jwt, &key(JwtAlgorithm::HS256, SHARED), fallback, Millis(1_000_500)).unwrap();
    let token = Token::read(token.as_bytes()).unwrap();
    assert_eq!(Json::Object(token.header), json!({"alg": "HS256", "typ": "JWT", "kid": "k1", "x5t": "abc"}));
    let expected = json!({
        "iss": "me", "aud": "https://a.example/token", "iat": 990, "exp": 1_110, "scope": "a b", "nbf": 990,
        "ends": 1_110, "list": ["at 990", 1],
    });
    assert_eq!(Json::Object(fields(token.claims).unwrap()), expected);
}

#[test]
fn each_token_has_an_id_of_its_own() {
    let jwt = jwt(json!({"algorithm": "HS256", "key": SHARED, "claims": {"n": "{uuid}"}}));
    let ids = |_| {
        let token = make(&jwt, &key(JwtAlgorithm::HS256, SHARED), Fallback::default(), Millis(0)).unwrap();
        let claims = fields(Token::read(token.as_bytes()).unwrap().claims).unwrap();
        [claims["jti"].clone(), claims["n"].clone()]
    };
    let mut all: Vec<String> = (0..3).flat_map(ids).map(|id| id.as_str().unwrap().to_owned()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6);
}

#[test]
fn what_is_wrong_with_a_token_is_told_at_its_place() {
    let jwt = jwt(json!({
        "algorithm": "RS256", "key": "no pem", "key_id": "a", "header": {"alg": "none", "kid": "b"}, "issuer": "me",
        "lifetime": "2h", "backdate": "3h", "claims": {"iss": "you"},
    }));
    let mut problems = Vec::new();
    check(&jwt, &Path::root().field("jwt"), &mut problems);
    let places: Vec<String> = problems.iter().map(|problem| problem.at.to_string()).collect();
    assert_eq!(
        places,
        ["jwt.key", "jwt.lifetime", "jwt.backdate", "jwt.header.alg", "jwt.header.kid", "jwt.claims.iss"]
    );
}
