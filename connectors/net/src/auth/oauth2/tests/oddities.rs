//! What servers do in their own way: each is a few lines of a file.

use serde_json::json;

use super::world::{Reply, World, fault, header, settle};
use karez_api::Json;

/// Settings, the answer, and the token and the seconds that come of it.
fn answers() -> Vec<(&'static str, Json, Json, &'static str, Option<u64>)> {
    vec![
        ("standard", json!({}), json!({"access_token": "t", "expires_in": 60}), "Bearer t", Some(60)),
        (
            "numbers as text",
            json!({}),
            json!({"access_token": "t", "expires_in": "60"}),
            "Bearer t",
            Some(60),
        ),
        (
            "nested, as Slack",
            json!({"response": {"access_token": "$.authed_user.access_token"}}),
            json!({"ok": true, "access_token": "bot", "authed_user": {"access_token": "user"}}),
            "Bearer user",
            Some(3_300),
        ),
        (
            "renamed",
            json!({"response": {"access_token": "$.data.token", "expires": "$.data.ttl"}}),
            json!({"data": {"token": "t", "ttl": 90}}),
            "Bearer t",
            Some(90),
        ),
        (
            "milliseconds, as Fiserv",
            json!({"expiry": "milliseconds"}),
            json!({"access_token": "t", "expires_in": 60_000}),
            "Bearer t",
            Some(60),
        ),
        (
            "hours, as Tableau",
            json!({"expiry": "clock", "response": {"access_token": "$.credentials.token",
            "expires": "$.credentials.estimatedTimeToExpiration"}}),
            json!({"credentials": {"token": "t", "estimatedTimeToExpiration": "177:05:38"}}),
            "Bearer t",
            Some(637_538),
        ),
        (
            "a date",
            json!({"expiry": "timestamp", "response": {"expires": "$.expires_at"}}),
            json!({"access_token": "t", "expires_at": "2026-11-24T10:16:00Z"}),
            "Bearer t",
            Some(60),
        ),
        (
            "seconds since 1970",
            json!({"expiry": "epoch_seconds", "response": {"expires": "$.expires"}}),
            json!({"access_token": "t", "expires": 1_795_515_400}),
            "Bearer t",
            Some(100),
        ),
        (
            "0 for unknown, as Salesforce",
            json!({"lifetime": "2h"}),
            json!({"access_token": "t", "expires_in": 0}),
            "Bearer t",
            Some(7_200),
        ),
        ("no expiry", json!({}), json!({"access_token": "t"}), "Bearer t", Some(3_300)),
        (
            "a cookie, as SAP Business One",
            json!({"response": {"access_token": "cookie:B1SESSION"}, "in": {"cookie": "B1SESSION"}}),
            json!({"SessionTimeout": 30}),
            "",
            Some(3_300),
        ),
        (
            "another header",
            json!({"in": {"header": "Authorization"}, "prefix": "Zoho-oauthtoken "}),
            json!({"access_token": "t"}),
            "Zoho-oauthtoken t",
            Some(3_300),
        ),
        (
            "a form, as GitHub once",
            json!({}),
            json!("access_token=t&scope=a%2Cb&token_type=bearer"),
            "Bearer t",
            Some(3_300),
        ),
    ]
}

#[tokio::test]
async fn tokens_are_found_wherever_a_server_puts_them() {
    for (name, mut settings, answer, expected, lifetime) in answers() {
        let world = World::new();
        let kind = if answer.is_string() { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers: &'static [(&str, &str)] = match kind {
            "application/json" => &[("set-cookie", "B1SESSION=cookie-token; HttpOnly")],
            _ => &[("content-type", "application/x-www-form-urlencoded")],
        };
        world.server.script([Reply::Status(200, headers, answer)]);
        settings["grant"] = "client_credentials".into();
        let credentials = world.open(settings);
        let mut request = crate::Request::new(http::Method::GET, "https://api.example/".parse().unwrap());
        crate::auth::Credentials::apply(&*credentials, &mut request)
            .await
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        match expected {
            "" => assert_eq!(request.headers["cookie"], "B1SESSION=cookie-token", "{name}"),
            expected => assert_eq!(request.headers["authorization"], expected, "{name}"),
        }
        let held = credentials.live.current().unwrap();
        let rest = held.expires.map(|end| (end - karez_api::Clock::instant(&world.clock)).as_secs());
        assert_eq!(rest, lifetime, "{name}");
    }
}

#[tokio::test]
async fn an_error_under_a_good_status_is_an_error() {
    for (settings, answer, expected) in [
        (
            json!({}),
            json!({"error": "bad_verification_code", "error_description": "expired"}),
            "bad_verification_code (expired)",
        ),
        (
            json!({"response": {"error": "$.errcode", "error_description": "$.errmsg"}}),
            json!({"errcode": 40_001, "errmsg": "invalid credential", "access_token": "t"}),
            "40001 (invalid credential)",
        ),
        (
            json!({"response": {"error": "$.errors[0].code"}}),
            json!({"success": false, "errors": [{"code": "602"}]}),
            "602",
        ),
    ] {
        let world = World::new();
        world.server.script([Reply::Status(200, &[], answer)]);
        let mut settings = settings;
        settings["grant"] = "client_credentials".into();
        let told = fault(&world.open(settings)).await;
        assert!(told.message().contains(expected), "{told}");
    }
    let world = World::new();
    world.server.script([Reply::Status(200, &[], json!({"errcode": 0, "access_token": "t"}))]);
    let credentials = world.open(json!({"grant": "client_credentials", "response": {"error": "$.errcode"}}));
    assert_eq!(header(&credentials).await, "Bearer t");
}

/// Settings, and what is sent: address, body and some headers.
#[tokio::test]
async fn tokens_are_asked_for_as_a_server_wants_it() {
    for (settings, url, body, headers) in [
        (
            json!({"client_secret": "s"}),
            "https://as.example/token",
            "grant_type=client_credentials&client_id=id&client_secret=s",
            json!({"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}),
        ),
        (
            json!({"client_secret": "s", "client_auth": "basic_raw"}),
            "https://as.example/token",
            "grant_type=client_credentials",
            json!({"authorization": "Basic aWQ6cw=="}),
        ),
        (
            json!({"scopes": ["a", "b"], "scope_separator": ",", "audience": "x", "resource": ["https://r/1", "https://r/2"]}),
            "https://as.example/token",
            "grant_type=client_credentials&scope=a%2Cb&resource=https%3A%2F%2Fr%2F1&resource=https%3A%2F%2Fr%2F2&audience=x&client_id=id",
            json!({}),
        ),
        (
            json!({"token_request": {"body": "json", "params": {"type": "refresh"}}}),
            "https://as.example/token",
            r#"{"grant_type":"client_credentials","type":"refresh","client_id":"id"}"#,
            json!({"content-type": "application/json"}),
        ),
        (
            json!({"token_request": {"body": "query", "headers": {"X-Version": "2"}}}),
            "https://as.example/token?grant_type=client_credentials&client_id=id",
            "",
            json!({"x-version": "2"}),
        ),
        (
            json!({"rename": {"client_id": "client_key", "grant_type": ""}}),
            "https://as.example/token",
            "client_key=id",
            json!({}),
        ),
        (
            json!({"token_request": {"grant_type": "account_credentials", "params": {"account_id": "7"}}}),
            "https://as.example/token",
            "grant_type=account_credentials&account_id=7&client_id=id",
            json!({}),
        ),
        (
            json!({"grant": "token_exchange", "exchange": {"subject_token": "s", "requested_token_type": "r"}}),
            "https://as.example/token",
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=s\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&requested_token_type=r&client_id=id",
            json!({}),
        ),
        (
            json!({"grant": "refresh_token", "refresh_token": "r", "refresh_url": "https://as.example/refresh", "resource": ["x"],
            "refresh_params": {"scope": "a b"}}),
            "https://as.example/refresh",
            "grant_type=refresh_token&refresh_token=r&resource=x&scope=a+b&client_id=id",
            json!({}),
        ),
    ] {
        let world = World::new();
        let mut settings = settings;
        settings.as_object_mut().unwrap().entry("grant").or_insert("client_credentials".into());
        header(&world.open(settings.clone())).await;
        world.server.asked(|asked| {
            assert_eq!(asked[0].url.as_str(), url, "{settings}");
            assert_eq!(asked[0].body, body, "{settings}");
            for (name, value) in headers.as_object().unwrap() {
                assert_eq!(asked[0].headers[name.as_str()].to_str().unwrap(), value, "{settings}");
            }
        });
    }
}

#[tokio::test]
async fn a_github_app_exchanges_its_own_token_for_one_of_an_installation() {
    let world = World::new();
    let answer = json!({"token": "ghs_x", "expires_at": "2026-11-24T11:15:00Z"});
    world.server.script([Reply::Status(201, &[], answer)]);
    let key = include_str!("../../jose/testdata/rsa.pkcs8.pem");
    let jwt =
        json!({"algorithm": "RS256", "key": key, "issuer": "12345", "lifetime": "9m", "backdate": "60s"});
    let url = "https://api.github.example/app/installations/7/access_tokens";
    let credentials = world.open(json!({"grant": "jwt_bearer", "client_id": null, "token_url": null,
        "assertion": {"jwt": jwt, "installation_url": url}}));
    assert_eq!(header(&credentials).await, "Bearer ghs_x");
    let held = credentials.live.current().unwrap();
    assert_eq!((held.expires.unwrap() - karez_api::Clock::instant(&world.clock)).as_secs(), 3_600);
    world.server.asked(|asked| {
        assert_eq!(asked[0].url.as_str(), url);
        let bearer = asked[0].headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let claims =
            crate::jose::fields(crate::jose::Token::read(bearer.as_bytes()).unwrap().claims).unwrap();
        assert_eq!(
            (&claims["iss"], claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()),
            (&json!("12345"), 540)
        );
    });
}

#[tokio::test]
async fn a_jwt_is_the_grant_of_a_service_account() {
    let world = World::new();
    let key = include_str!("../../jose/testdata/rsa.pkcs8.pem");
    let jwt =
        json!({"algorithm": "RS256", "key": key, "issuer": "bot@example.com", "claims": {"scope": "a b"}});
    let credentials =
        world.open(json!({"grant": "jwt_bearer", "client_id": null, "assertion": {"jwt": jwt}}));
    header(&credentials).await;
    world.server.asked(|asked| {
        assert_eq!(asked[0].form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let token = crate::jose::Token::read(asked[0].form["assertion"].as_bytes()).unwrap();
        let claims = crate::jose::fields(token.claims).unwrap();
        assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://as.example/token"), &json!("a b")));
    });
}

#[tokio::test]
async fn values_of_an_answer_are_kept_and_read_again_with_every_refresh() {
    let world = World::new();
    let answer =
        |rest: &str| json!({"access_token": rest, "refresh_token": "r", "expires_in": 60, "restUrl": rest});
    world.server.script([
        Reply::Status(200, &[], answer("https://rest1")),
        Reply::Status(200, &[], answer("https://rest2")),
    ]);
    let credentials =
        world.open(json!({"grant": "refresh_token", "refresh_token": "s", "keep": {"rest": "$.restUrl"}}));
    for expected in ["https://rest1", "https://rest2"] {
        header(&credentials).await;
        assert_eq!(crate::auth::Credentials::kept(&*credentials)["rest"], expected);
        world.clock.pass(std::time::Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_token_without_an_expiry_is_introspected() {
    let world = World::new();
    world.server.script([
        Reply::Status(200, &[], json!({"access_token": "t"})),
        Reply::Status(200, &[], json!({"active": true, "exp": 1_795_515_900})),
    ]);
    let settings =
        json!({"grant": "client_credentials", "introspection_url": "https://as.example/introspect"});
    let credentials = world.open(settings);
    // The answer about it may take its time: the token counts before it comes.
    world.server.gate.forget_permits(world.server.gate.available_permits() - 1);
    assert_eq!(header(&credentials).await, "Bearer t");
    let stamp = credentials.live.current().map(|held| (held.stamp, held.expires));
    assert!(matches!(stamp, Some((_, None))), "nothing is known of its end yet");
    world.server.gate.add_permits(1);
    settle().await;
    let held = credentials.live.current().unwrap();
    assert_eq!((held.expires.unwrap() - karez_api::Clock::instant(&world.clock)).as_secs(), 600);
    assert_eq!(stamp.map(|(stamp, _)| stamp), Some(held.stamp), "it is the same token");
    world.server.asked(|asked| assert_eq!(asked[1].form["token"], "t"));
}

#[tokio::test]
async fn an_expiry_is_measured_by_the_servers_clock_and_from_when_it_was_asked_for() {
    let world = World::new();
    // Their clock is an hour ahead of ours.
    let headers: &[_] = &[("date", "Tue, 24 Nov 2026 11:15:00 GMT")];
    world.server.script([Reply::Status(
        200,
        headers,
        json!({"access_token": "t", "at": "2026-11-24T11:20:00Z"}),
    )]);
    let settings =
        json!({"grant": "client_credentials", "expiry": "timestamp", "response": {"expires": "$.at"}});
    let credentials = world.open(settings);
    header(&credentials).await;
    let held = credentials.live.current().unwrap();
    let rest = (held.expires.unwrap() - karez_api::Clock::instant(&world.clock)).as_secs();
    assert!((299..=300).contains(&rest), "{rest}");
}

#[tokio::test]
async fn a_bound_token_goes_with_proofs_and_a_wanted_nonce_is_sent() {
    let world = World::new();
    let nonce: &[_] = &[("dpop-nonce", "n1")];
    world.server.script([
        Reply::Status(400, nonce, json!({"error": "use_dpop_nonce"})),
        Reply::Status(200, &[], json!({"access_token": "t", "token_type": "DPoP", "expires_in": 60})),
    ]);
    let credentials = world.open(json!({"grant": "client_credentials", "dpop": true}));
    let mut request = crate::Request::new(http::Method::GET, "https://api.example/a?b=c".parse().unwrap());
    let stamp = crate::auth::Credentials::apply(&*credentials, &mut request).await.unwrap();
    assert_eq!(request.headers["authorization"], "DPoP t");
    let claims = |proof: &http::HeaderValue| {
        crate::jose::fields(crate::jose::Token::read(proof.as_bytes()).unwrap().claims).unwrap()
    };
    assert_eq!(claims(&request.headers["dpop"])["htu"], "https://api.example/a");
    assert!(claims(&request.headers["dpop"]).contains_key("ath"));
    world.server.asked(|asked| {
        assert_eq!(claims(&asked[0].headers["dpop"]).get("nonce"), None);
        assert_eq!(claims(&asked[1].headers["dpop"])["nonce"], "n1");
    });
    let challenge: &[_] = &[("dpop-nonce", "n2"), ("www-authenticate", "DPoP error=\"use_dpop_nonce\"")];
    let refusal = super::world::response(401, challenge, &json!({}));
    assert!(crate::auth::Credentials::refused(&*credentials, stamp, &refusal).await.unwrap());
    crate::auth::Credentials::apply(&*credentials, &mut request).await.unwrap();
    assert_eq!(claims(&request.headers["dpop"])["nonce"], "n2");
    assert_eq!(world.server.calls(), 2);
}
