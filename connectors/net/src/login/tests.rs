use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use karez_api::{Class, Json, Secret};
use reqwest::Url;
use serde_json::json;

use super::*;
use crate::auth::Credentials;
use crate::auth::jose::SigningKey;
use crate::auth::oauth2::OAuth2Credentials;
use crate::auth::oauth2::tests::world::{Reply, World, header, settle};
use crate::spec::JwtAlgorithm;
use crate::testing::NOW;

const CALLBACK: &str = "http://127.0.0.1:7070/oauth/callback";

struct Desk {
    world: World,
    credentials: Arc<OAuth2Credentials>,
    logins: Logins,
}

impl Desk {
    fn new(mut settings: Json) -> Self {
        let fields = settings.as_object_mut().unwrap();
        fields.entry("authorization_url").or_insert("https://as.example/authorize?tenant=7".into());
        let world = World::new();
        let credentials = world.open(settings);
        let logins = Logins::new(Arc::new(world.clock.clone()));
        Self { world, credentials, logins }
    }

    fn account(&self) -> OAuthAccount {
        self.credentials.account().unwrap()
    }

    fn invite(&self) -> Secret {
        self.logins.invite(&self.account(), CALLBACK, Account::Same).unwrap().ticket
    }

    /// What the browser is sent with, by name, and the cookie that it has from then on.
    async fn start(&self, ticket: &Secret) -> (BTreeMap<String, String>, String) {
        let started = self.logins.start(ticket.expose()).await.unwrap();
        let cookie = started.cookie.expose().split(';').next().unwrap().to_owned();
        (query(&started.location), cookie)
    }
}

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

fn tokens() -> Reply {
    Reply::Status(
        200,
        &[],
        json!({"access_token": "a1", "refresh_token": "r1", "expires_in": 3600, "scope": "read"}),
    )
}

#[tokio::test]
async fn a_log_in_yields_tokens_that_are_kept_and_used() {
    let desk = Desk::new(
        json!({"scopes": ["read"], "authorization_params": {"access_type": "offline", "state": "mine"},
        "keep": {"realm": "callback:realmId"}, "resource": ["https://r"]}),
    );
    let ticket = desk.invite();
    let (sent, cookie) = desk.start(&ticket).await;
    let fixed = [
        "response_type",
        "client_id",
        "scope",
        "access_type",
        "tenant",
        "resource",
        "redirect_uri",
        "code_challenge_method",
    ];
    assert_eq!(
        fixed.map(|name| &*sent[name]),
        ["code", "id", "read", "offline", "7", "https://r", CALLBACK, "S256"]
    );
    assert!(matches!(desk.logins.outcome(ticket.expose()), Outcome::Waiting));
    desk.world.server.script([tokens()]);
    let callback = format!("code=c%2F1&state={}&realmId=42", sent["state"]);
    let done = desk.logins.finish(&callback, Some(&format!("other=1; {cookie}"))).await.unwrap();
    assert_eq!((done.scope.as_deref(), done.renews, &*done.kept["realm"]), (Some("read"), true, "42"));
    desk.world.server.asked(|asked| {
        let form = &asked[0].form;
        assert_eq!(
            (&*form["grant_type"], &*form["code"], &*form["redirect_uri"]),
            ("authorization_code", "c/1", CALLBACK)
        );
        assert_eq!(random::challenge(&Secret::new(&*form["code_verifier"])), sent["code_challenge"]);
    });
    assert_eq!(header(&desk.credentials).await, "Bearer a1");
    assert_eq!(desk.world.vault.json()["tokens"]["refresh"], "r1");
    assert!(matches!(desk.logins.outcome(ticket.expose()), Outcome::Done(_)));
    // What was kept from the callback stays through refreshes.
    desk.world.clock.pass(Duration::from_secs(3_600));
    assert_eq!(header(&desk.credentials).await, "Bearer access-1");
    assert_eq!(desk.credentials.kept()["realm"], "42");
}

#[tokio::test]
async fn a_callback_counts_once_in_its_browser_and_in_time() {
    for (name, wait, cookie_of, again, expected) in [
        ("another browser", 0, Some("karez_login=other"), false, "other_browser"),
        ("no cookie", 0, None, false, "other_browser"),
        ("too late", 600, Some("own"), false, "unknown_login"),
        ("twice", 0, Some("own"), true, "unknown_login"),
    ] {
        let desk = Desk::new(json!({}));
        let ticket = desk.invite();
        let (sent, cookie) = desk.start(&ticket).await;
        let callback = format!("code=c1&state={}", sent["state"]);
        desk.world.server.script([tokens(), tokens()]);
        if again {
            desk.logins.finish(&callback, Some(&cookie)).await.unwrap();
        }
        desk.world.clock.pass(Duration::from_secs(wait));
        let calls = desk.world.server.calls();
        let cookie = cookie_of.map(|one| if one == "own" { &*cookie } else { one });
        let told = desk.logins.finish(&callback, cookie).await.unwrap_err();
        assert_eq!(told.code(), expected, "{name}");
        assert!(!told.message().contains("c1") && !told.message().contains(&sent["state"]), "{name}: {told}");
        assert_eq!(desk.world.server.calls(), calls, "{name}");
        // Whatever went wrong, the state is spent.
        assert_eq!(
            desk.logins.finish(&callback, Some("x")).await.unwrap_err().code(),
            "unknown_login",
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_the_server_says_is_told() {
    for (query, expected) in [
        (
            "error=access_denied&error_description=no%0Away",
            "the server refused the log-in: access_denied (no way)",
        ),
        ("nothing=1", "the server sent the browser back without `code`"),
        ("code=", "the server sent the browser back without `code`"),
        ("code=1&code=2", "the server sent the browser back without `code`"),
    ] {
        let desk = Desk::new(json!({}));
        let ticket = desk.invite();
        let (sent, cookie) = desk.start(&ticket).await;
        let callback = format!("{query}&state={}", sent["state"]);
        let told = desk.logins.finish(&callback, Some(&cookie)).await.unwrap_err();
        assert_eq!((told.class(), told.message()), (Class::Auth, expected));
        assert!(matches!(desk.logins.outcome(ticket.expose()), Outcome::Failed { why } if why == expected));
    }
}

#[tokio::test]
async fn oddities_of_log_ins_are_expressible() {
    let desk = Desk::new(
        json!({"pkce": "off", "authorization_url": "https://{shop}.example/#/oauth/authorize", "code_param": "spapi_code",
        "rename": {"client_id": "client_key", "redirect_uri": "redirect_url", "response_type": ""}}),
    );
    let cx =
        crate::auth::Build { params: [("shop".to_owned(), "acme".to_owned())].into(), ..desk.world.cx() };
    let settings = desk.account().0.client.spec.clone();
    let credentials = OAuth2Credentials::build(&settings, cx).unwrap();
    let ticket = desk.logins.invite(&credentials.account().unwrap(), CALLBACK, Account::Same).unwrap().ticket;
    let started = desk.logins.start(ticket.expose()).await.unwrap();
    let (page, query) = started.location.as_str().split_once('?').unwrap();
    assert_eq!(page, "https://acme.example/#/oauth/authorize");
    let sent: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["client_key", "redirect_url", "state"]);
    desk.world.server.script([tokens()]);
    let cookie = started.cookie.expose().split(';').next().unwrap().to_owned();
    let callback = format!("spapi_code=c&state={}", sent["state"]);
    desk.logins.finish(&callback, Some(&cookie)).await.unwrap();
    desk.world.server.asked(|asked| {
        let form = &asked[0].form;
        assert_eq!((&*form["code"], &*form["client_key"], &*form["redirect_url"]), ("c", "id", CALLBACK));
        assert!(!form.contains_key("code_verifier"));
    });
}

/// A server with metadata and id tokens.
struct Issuer(SigningKey);

impl Issuer {
    fn new() -> Self {
        let key = Secret::new(include_str!("../auth/jose/testdata/rsa.pkcs8.pem"));
        Self(SigningKey::read(JwtAlgorithm::RS256, &key).unwrap())
    }
    fn metadata(more: &Json) -> Reply {
        let mut document = json!({"issuer": "https://as.example", "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token", "jwks_uri": "https://as.example/keys",
            "pushed_authorization_request_endpoint": "https://as.example/par", "authorization_response_iss_parameter_supported": true});
        more.as_object().unwrap().iter().for_each(|(name, value)| document[name] = value.clone());
        Reply::Status(200, &[], document)
    }
    fn tokens(&self, subject: &str, nonce: &str) -> Reply {
        let seconds = NOW.0 / 1_000;
        let claims = json!({"iss": "https://as.example", "sub": subject, "aud": "id", "iat": seconds, "exp": seconds + 300, "nonce": nonce});
        let token = self.0.sign(karez_api::JsonMap::new(), serde_json::from_value(claims).unwrap()).unwrap();
        Reply::Status(
            200,
            &[],
            json!({"access_token": "a1", "refresh_token": "r1", "expires_in": 3600, "id_token": token}),
        )
    }
    fn keys(&self) -> Reply {
        Reply::Status(200, &[], json!({"keys": [self.0.public_jwk()]}))
    }
}

fn with_issuer() -> Desk {
    Desk::new(
        json!({"issuer": "https://as.example", "scopes": ["openid"], "authorization_url": "https://as.example/authorize"}),
    )
}

#[tokio::test]
async fn another_account_needs_to_be_meant() {
    let (desk, issuer) = (with_issuer(), Issuer::new());
    desk.world.server.script([Issuer::metadata(&json!({}))]);
    for (n, (subject, account, expected)) in [
        ("alice", Account::Same, Ok("alice")),
        ("alice", Account::Same, Ok("alice")),
        ("bob", Account::Same, Err("was logged in as alice and would be bob now")),
        ("bob", Account::Any, Ok("bob")),
    ]
    .into_iter()
    .enumerate()
    {
        let ticket = desk.logins.invite(&desk.account(), CALLBACK, account).unwrap().ticket;
        let (sent, cookie) = desk.start(&ticket).await;
        desk.world.server.script([issuer.tokens(subject, &sent["nonce"])]);
        if n == 0 {
            desk.world.server.script([issuer.keys()]);
        }
        let callback = format!("code=c&state={}&iss=https%3A%2F%2Fas.example", sent["state"]);
        match (desk.logins.finish(&callback, Some(&cookie)).await, expected) {
            (Ok(done), Ok(subject)) => assert_eq!(done.subject.as_deref(), Some(subject)),
            (Err(told), Err(expected)) => assert!(told.message().contains(expected), "{told}"),
            (other, _) => panic!("{subject} {account:?}: {other:?}"),
        }
    }
    assert_eq!(desk.world.vault.json()["tokens"]["subject"]["subject"], "bob");
}

#[tokio::test]
async fn an_answer_of_another_server_is_not_taken() {
    for (more, iss, expected) in [
        (json!({}), "&iss=https%3A%2F%2Fevil.example", "is from another server"),
        (json!({}), "", "does not say which server it is from"),
        (
            json!({"authorization_response_iss_parameter_supported": false}),
            "&iss=https%3A%2F%2Fevil.example",
            "is from another server",
        ),
    ] {
        let desk = with_issuer();
        desk.world.server.script([Issuer::metadata(&more)]);
        let ticket = desk.invite();
        let (sent, cookie) = desk.start(&ticket).await;
        let callback = format!("code=c&state={}{iss}", sent["state"]);
        let told = desk.logins.finish(&callback, Some(&cookie)).await.unwrap_err();
        assert!(told.message().contains(expected), "{told}");
        assert_eq!(desk.world.server.calls(), 1);
    }
}

#[tokio::test]
async fn metadata_of_somebody_else_is_not_used() {
    for (document, expected) in [
        (json!({"issuer": "https://as.example/"}), "speaks for"),
        (json!({"token_endpoint": "http://as.example/token"}), "without TLS"),
    ] {
        let desk = with_issuer();
        desk.world.server.script([Issuer::metadata(&document)]);
        let told = desk.logins.start(desk.invite().expose()).await.unwrap_err();
        assert!(told.message().contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_request_is_pushed_where_the_server_wants_it() {
    let desk = with_issuer();
    desk.world.server.script([
        Issuer::metadata(&json!({"require_pushed_authorization_requests": true})),
        Reply::Status(201, &[], json!({"request_uri": "urn:x", "expires_in": 60})),
    ]);
    let (sent, _) = desk.start(&desk.invite()).await;
    assert_eq!(
        sent,
        BTreeMap::from(
            [("client_id", "id"), ("request_uri", "urn:x")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        )
    );
    desk.world.server.asked(|asked| {
        assert_eq!(asked[1].url.as_str(), "https://as.example/par");
        assert!(asked[1].form.contains_key("code_challenge"));
    });
}

#[tokio::test]
async fn log_ins_that_wait_are_bounded() {
    let desk = Desk::new(json!({}));
    for _ in 0..MOST {
        desk.invite();
    }
    let told = desk.logins.invite(&desk.account(), CALLBACK, Account::Same).unwrap_err();
    assert_eq!(told.class(), Class::RateLimit);
    desk.world.clock.pass(LIFETIME);
    desk.invite();
}

#[tokio::test]
async fn a_device_is_logged_in_when_the_human_is_done() {
    let desk = Desk::new(
        json!({"grant": "device_code", "device_authorization_url": "https://as.example/device", "scopes": ["read"]}),
    );
    desk.world.server.script([
        Reply::Status(200, &[], json!({"device_code": "d", "user_code": "ABCD", "verification_url": "https://as.example/go", "interval": "5"})),
        Reply::Status(400, &[], json!({"error": "authorization_pending"})),
        Reply::Status(400, &[], json!({"error": "slow_down"})),
        tokens(),
    ]);
    let login = desk.logins.device(&desk.account(), Account::Same).await.unwrap();
    assert_eq!((&*login.user_code, &*login.verification_url), ("ABCD", "https://as.example/go"));
    let waiting = login.wait();
    tokio::pin!(waiting);
    for (wait, calls) in [(0, 1), (4, 1), (1, 2), (5, 3), (9, 3)] {
        desk.world.clock.pass(Duration::from_secs(wait));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("nobody typed the code yet"),
            () = settle() => {}
        }
        assert_eq!(desk.world.server.calls(), calls);
    }
    desk.world.clock.pass(Duration::from_secs(1));
    assert!(waiting.await.unwrap().renews);
    assert_eq!(header(&desk.credentials).await, "Bearer a1");
    desk.world.server.asked(|asked| assert_eq!(asked[1].form["device_code"], "d"));
}

#[tokio::test]
async fn a_code_that_nobody_types_ends() {
    for (reply, expected) in [("expired_token", "expired_token"), ("access_denied", "access_denied")] {
        let desk = Desk::new(
            json!({"grant": "device_code", "device_authorization_url": "https://as.example/device"}),
        );
        let shown = json!({"device_code": "d", "user_code": "A", "verification_uri": "u", "interval": 1});
        desk.world
            .server
            .script([Reply::Status(200, &[], shown), Reply::Status(400, &[], json!({"error": reply}))]);
        let waiting = desk.logins.device(&desk.account(), Account::Same).await.unwrap().wait();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it did not wait"),
            () = settle() => desk.world.clock.pass(Duration::from_secs(1)),
        }
        assert_eq!(waiting.await.unwrap_err().code(), expected);
    }
}

#[tokio::test]
async fn removal_revokes_and_deletes() {
    let desk = Desk::new(json!({"revocation_url": "https://as.example/revoke"}));
    let (sent, cookie) = desk.start(&desk.invite()).await;
    desk.world.server.script([
        tokens(),
        Reply::Status(200, &[], json!({})),
        Reply::Status(503, &[], json!({})),
    ]);
    let callback = format!("code=c&state={}", sent["state"]);
    desk.logins.finish(&callback, Some(&cookie)).await.unwrap();
    let untaken = desk.account().log_out().await.unwrap().unwrap();
    assert!(untaken.message().contains("did not revoke the access_token"), "{untaken}");
    desk.world.server.asked(|asked| {
        assert_eq!((&*asked[1].form["token"], &*asked[1].form["token_type_hint"]), ("r1", "refresh_token"));
        assert_eq!(&*asked[2].form["token"], "a1");
    });
    assert_eq!(desk.world.vault.json(), Json::Null);
    assert!(
        crate::auth::oauth2::tests::world::fault(&desk.credentials)
            .await
            .message()
            .contains("nobody has logged in")
    );
}

#[tokio::test]
async fn a_log_in_while_tokens_are_renewed_counts() {
    let desk = Desk::new(json!({}));
    let (sent, cookie) = desk.start(&desk.invite()).await;
    desk.world.server.script([tokens()]);
    desk.logins.finish(&format!("code=c&state={}", sent["state"]), Some(&cookie)).await.unwrap();
    desk.world.clock.pass(Duration::from_secs(3_600));
    let (sent, cookie) = desk.start(&desk.invite()).await;
    // The refresh is on its way; the log-in is faster.
    desk.world.server.close();
    let waiting = header(&desk.credentials);
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("no answer came yet"),
        () = settle() => {}
    }
    let answer = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    desk.world.server.script([Reply::Status(200, &[], answer)]);
    let callback = format!("code=c&state={}", sent["state"]);
    let finished = desk.logins.finish(&callback, Some(&cookie));
    tokio::pin!(finished);
    tokio::select! {
        biased;
        _ = &mut finished => panic!("no answer came yet"),
        () = settle() => {}
    }
    desk.world.server.gate.add_permits(1_000);
    finished.await.unwrap();
    waiting.await;
    settle().await;
    assert_eq!(desk.world.vault.json()["tokens"]["refresh"], "r2");
    assert_eq!(header(&desk.credentials).await, "Bearer a2");
}
