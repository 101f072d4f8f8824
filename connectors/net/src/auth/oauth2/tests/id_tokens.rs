use karez_api::{Json, JsonMap, Secret};
use serde_json::json;

use super::world::{Reply, World, spec};
use crate::auth::jose::SigningKey;
use crate::auth::oauth2::{Client, Expected};
use crate::spec::JwtAlgorithm;

const RSA: &str = include_str!("../../jose/testdata/rsa.pkcs8.pem");
const SECONDS: u64 = crate::testing::NOW.0 / 1_000;

fn key() -> SigningKey {
    SigningKey::read(JwtAlgorithm::RS256, &Secret::new(RSA)).unwrap()
}

fn set(id: &str) -> Json {
    let mut key = key().public_jwk();
    key["kid"] = id.into();
    json!({ "keys": [key] })
}

fn map(value: Json) -> JsonMap {
    serde_json::from_value(value).unwrap()
}

fn claims(change: &Json) -> JsonMap {
    let mut claims = json!({"iss": "https://as.example", "sub": "user", "aud": "id", "iat": SECONDS, "exp": SECONDS + 300, "nonce": "n"});
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let mut claims = map(claims);
    claims.retain(|_, value| !value.is_null());
    claims
}

fn client(world: &World, settings: Json) -> Client {
    let cx = world.cx();
    Client::new(spec(settings), &cx).unwrap()
}

fn settings() -> Json {
    json!({"jwks_url": "https://as.example/keys", "id_token": {"issuer": "https://as.example", "max_age": "1h",
        "audiences": ["friend"]}})
}

async fn judged(client: &Client, token: String) -> Result<String, String> {
    let (access_token, code) = (Secret::new("access"), Secret::new("code"));
    let expected =
        Expected { nonce: Some("n"), access_token: &access_token, code: Some(&code), by_tls: false };
    client.judge_id_token(&Secret::new(token), &expected).await.map(|subject| subject.subject)
}

#[tokio::test]
async fn every_claim_is_judged() {
    let half = |text: &str| {
        use base64::Engine as _;
        crate::jose::BASE64URL.encode(&crate::jose::Hash::Sha256.digest(text.as_bytes())[..16])
    };
    let fresh = json!({"auth_time": SECONDS - 60});
    for (change, expected) in [
        (json!({}), Ok("user")),
        (json!({"at_hash": half("access"), "c_hash": half("code")}), Ok("user")),
        (json!({"aud": ["id"]}), Ok("user")),
        (json!({"aud": ["id", "friend"], "azp": "id"}), Ok("user")),
        (json!({"exp": SECONDS - 59}), Ok("user")),
        (json!({"iat": SECONDS + 59}), Ok("user")),
        (json!({"iss": "https://as.example/"}), Err("is from another issuer")),
        (json!({"iss": null}), Err("does not name its issuer")),
        (json!({"sub": null}), Err("does not name its subject")),
        (json!({"aud": "other"}), Err("is for another client")),
        (json!({"aud": null}), Err("is for another client")),
        (json!({"aud": ["id", "stranger"], "azp": "id"}), Err("is for \"stranger\" too")),
        (json!({"aud": ["id", "friend"]}), Err("does not say who asked")),
        (json!({"azp": "other"}), Err("was asked for by another client")),
        (json!({"exp": SECONDS - 60}), Err("has expired")),
        (json!({"exp": null}), Err("does not say when it expires")),
        (json!({"nbf": SECONDS + 61}), Err("does not count yet")),
        (json!({"iat": SECONDS + 61}), Err("was issued in the future")),
        (json!({"iat": SECONDS - 700}), Err("was issued too long ago")),
        (json!({"iat": null}), Err("does not say when it was issued")),
        (json!({"nonce": "m"}), Err("its nonce is another")),
        (json!({"nonce": null}), Err("its nonce is another")),
        (json!({"auth_time": null}), Err("does not say when the log-in was")),
        (json!({"auth_time": SECONDS - 3_700}), Err("is of a log-in that is too long ago")),
        (json!({"at_hash": half("other")}), Err("(at_hash)")),
        (json!({"c_hash": half("other")}), Err("(c_hash)")),
    ] {
        let world = World::new();
        world.server.script([Reply::Status(200, &[], set("k"))]);
        let client = client(&world, settings());
        let mut all = fresh.clone();
        change.as_object().unwrap().iter().for_each(|(name, value)| all[name] = value.clone());
        let token = key().sign(map(json!({"kid": "k"})), claims(&all)).unwrap();
        let judged = judged(&client, token).await;
        match (judged, expected) {
            (Ok(subject), Ok(expected)) => assert_eq!(subject, expected, "{change}"),
            (Err(what), Err(expected)) => assert!(what.contains(expected), "{change}: {what}"),
            (judged, _) => panic!("{change}: {judged:?}"),
        }
    }
}

#[tokio::test]
async fn every_signature_is_judged() {
    let fresh = json!({"auth_time": SECONDS});
    let with = |header: Json| key().sign(map(header), claims(&fresh)).unwrap();
    let good = with(json!({"kid": "k"}));
    let mut parts: Vec<&str> = good.split('.').collect();
    let none = {
        use base64::Engine as _;
        crate::jose::BASE64URL.encode(r#"{"alg":"none"}"#)
    };
    let forged = format!("{none}.{}.", parts[1]);
    let other =
        key().sign(map(json!({"kid": "k"})), claims(&json!({"sub": "other", "auth_time": SECONDS}))).unwrap();
    parts[2] = other.split('.').nth(2).unwrap();
    let swapped = parts.join(".");
    let shared = SigningKey::read(JwtAlgorithm::HS256, &Secret::new("secret-of-the-client")).unwrap();
    let shared = shared.sign(JsonMap::new(), claims(&fresh)).unwrap();
    for (token, expected) in [
        (good.clone(), Ok("user")),
        (with(json!({})), Ok("user")),
        (with(json!({"kid": "unknown"})), Err("names a key that its issuer does not have")),
        (with(json!({"crit": ["x"]})), Err("asks for an extension")),
        (forged, Err("is signed with \"none\"")),
        (swapped, Err("has a wrong signature")),
        (shared, Err("is signed with \"HS256\"")),
        (format!("{good}.a.b"), Err("is encrypted")),
        ("opaque".into(), Err("is no JWT")),
    ] {
        let world = World::new();
        world.server.script([Reply::Status(200, &[], set("k"))]);
        let judged = judged(&client(&world, settings()), token.clone()).await;
        match (judged, expected) {
            (Ok(subject), Ok(expected)) => assert_eq!(subject, expected, "{token}"),
            (Err(what), Err(expected)) => assert!(what.contains(expected), "{token}: {what}"),
            (judged, _) => panic!("{token}: {judged:?}"),
        }
    }
}

#[tokio::test]
async fn keys_are_fetched_again_for_an_unknown_one_but_not_each_time() {
    let world = World::new();
    world.server.script([
        Reply::Status(200, &[("cache-control", "max-age=86400")], set("old")),
        Reply::Status(200, &[], set("new")),
    ]);
    let client = client(&world, settings());
    let token =
        |id: &str| key().sign(map(json!({"kid": id})), claims(&json!({"auth_time": SECONDS}))).unwrap();
    assert!(judged(&client, token("old")).await.is_ok());
    for _ in 0..10 {
        judged(&client, token("new")).await.unwrap_err();
    }
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(std::time::Duration::from_secs(60));
    assert!(judged(&client, token("new")).await.is_ok());
    assert_eq!(world.server.calls(), 2);
}

#[tokio::test]
async fn a_secret_signs_only_for_a_client_that_has_one() {
    let world = World::new();
    let shared = SigningKey::read(JwtAlgorithm::HS256, &Secret::new("secret-of-the-client")).unwrap();
    let token = || shared.sign(JsonMap::new(), claims(&json!({}))).unwrap();
    for (way, expected) in [("basic", true), ("none", false)] {
        let settings = json!({"client_auth": way, "client_secret": "secret-of-the-client",
            "id_token": {"algorithms": ["HS256"]}});
        assert_eq!(judged(&client(&world, settings), token()).await.is_ok(), expected, "{way}");
    }
}

#[tokio::test]
async fn one_issuer_for_each_tenant_may_be_a_template() {
    let world = World::new();
    world.server.script([Reply::Status(200, &[], set("k")), Reply::Status(200, &[], set("k"))]);
    let settings = json!({"jwks_url": "https://as.example/keys", "id_token": {"issuer": "https://login.example/{tenantid}/v2.0"}});
    let client = client(&world, settings);
    for (tenant, expected) in [("t1", true), ("t2", false)] {
        let change = json!({"iss": "https://login.example/t1/v2.0", "tid": tenant});
        let token = key().sign(map(json!({"kid": "k"})), claims(&change)).unwrap();
        assert_eq!(judged(&client, token).await.is_ok(), expected, "{tenant}");
    }
}
