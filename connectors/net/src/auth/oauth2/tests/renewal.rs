use std::sync::Arc;
use std::time::Duration;

use karez_api::Class;
use serde_json::json;

use super::world::{Reply, World, applied, fault, header, response, settle};
use crate::auth::oauth2::OAuth2Credentials;
use crate::auth::{Build, Credentials};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_token_is_used_until_it_expires_and_then_renewed() {
    let world = World::new();
    let credentials = world.open(json!({"grant": "client_credentials", "client_secret": "s"}));
    assert_eq!(header(&credentials).await, "Bearer access-1");
    world.clock.pass(HOUR / 2);
    assert_eq!(header(&credentials).await, "Bearer access-1");
    world.clock.pass(HOUR / 2);
    assert_eq!(header(&credentials).await, "Bearer access-2");
    assert_eq!(world.server.calls(), 2);
}

#[tokio::test]
async fn fifty_tasks_at_the_moment_of_expiry_make_one_call() {
    let world = World::new();
    for settings in [
        json!({"grant": "client_credentials"}),
        json!({"grant": "refresh_token", "refresh_token": "seed-token"}),
    ] {
        let before = world.server.calls();
        let credentials = world.open(settings);
        header(&credentials).await;
        world.clock.pass(HOUR);
        let all = (0..50).map(|_| applied(&credentials));
        let tokens: Vec<String> =
            futures_util::future::join_all(all).await.into_iter().map(|one| one.unwrap().0).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_eq!(world.server.calls() - before, 2);
    }
}

#[tokio::test]
async fn who_gives_up_waiting_does_not_lose_the_answer() {
    let world = World::new();
    world.server.close();
    let credentials = world.seeded();
    tokio::select! {
        _ = applied(&credentials) => panic!("no answer came yet"),
        () = settle() => {}
    }
    world.server.gate.add_permits(1_000);
    settle().await;
    assert_eq!(world.vault.json()["tokens"]["refresh"], "refresh-1");
    assert_eq!(header(&credentials).await, "Bearer access-1");
    assert_eq!(world.server.calls(), 1);
}

#[tokio::test]
async fn a_refusal_renews_only_the_token_that_was_refused() {
    let world = World::new();
    let credentials = world.seeded();
    let refusal = response(401, &[], &json!({}));
    let (_, old) = applied(&credentials).await.unwrap();
    // A token that has just come would be no better next time.
    assert!(!credentials.refused(old, &refusal).await.unwrap());
    world.clock.pass(Duration::from_secs(60));
    let all = (0..20).map(|_| credentials.refused(old, &refusal));
    let renewed = futures_util::future::join_all(all).await;
    assert!(renewed.into_iter().all(|one| one.unwrap()));
    assert_eq!(world.server.calls(), 2);
    assert!(credentials.refused(old, &refusal).await.unwrap());
    assert_eq!(world.server.calls(), 2);
    assert_eq!(header(&credentials).await, "Bearer access-2");
}

#[tokio::test]
async fn what_passes_keeps_the_valid_token_in_use_and_is_not_hammered() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    let down = || Reply::Status(503, &[], json!("<html>down</html>"));
    world.server.script((0..100).map(|_| down()));
    // It is due, and used.
    world.clock.pass(HOUR - Duration::from_secs(250));
    for _ in 0..200 {
        assert_eq!(header(&credentials).await, "Bearer access-1");
        settle().await;
        world.clock.pass(Duration::from_secs(1));
    }
    let calls = world.server.calls() - 1;
    assert!((4..=12).contains(&calls), "{calls} calls in 200 s");
    // Now it has expired: whoever asks is told, without a call for each.
    world.clock.pass(Duration::from_secs(100));
    let fault = fault(&credentials).await;
    assert_eq!(fault.class(), Class::Service);
    let calls = world.server.calls();
    for _ in 0..100 {
        applied(&credentials).await.unwrap_err();
    }
    assert!(world.server.calls() <= calls + 1);
}

#[tokio::test]
async fn the_servers_patience_is_obeyed() {
    let world = World::new();
    world.server.script([Reply::Status(429, &[("retry-after", "120")], json!({}))]);
    let credentials = world.open(json!({"grant": "client_credentials"}));
    let told = fault(&credentials).await;
    assert_eq!((told.class(), told.retry_after()), (Class::RateLimit, Some(Duration::from_secs(120))));
    world.clock.pass(Duration::from_secs(119));
    let told = fault(&credentials).await;
    assert_eq!(told.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(Duration::from_secs(1));
    assert_eq!(header(&credentials).await, "Bearer access-1");
}

#[tokio::test]
async fn a_wrong_client_is_told_with_what_to_look_at_and_asked_seldom() {
    let world = World::new();
    let refusal =
        Reply::Status(401, &[], json!({"error": "invalid_client", "error_description": "s3cret-canary?"}));
    world.server.script((0..100).map(|_| refusal.clone()));
    let credentials = world.open(json!({"grant": "client_credentials", "client_secret": "s3cret-canary"}));
    let told = fault(&credentials).await;
    assert_eq!((told.class(), told.code()), (Class::Auth, "invalid_client"));
    assert_eq!(
        told.message(),
        "connection crm: the authorization server says invalid_client ([redacted]?); \
         look at `client_id`, its secret or key, and `client_auth`"
    );
    for _ in 0..600 {
        world.clock.pass(Duration::from_secs(1));
        applied(&credentials).await.unwrap_err();
    }
    assert!(world.server.calls() <= 8, "{} calls in 10 minutes", world.server.calls());
}

#[tokio::test]
async fn without_a_vault_only_grants_work_that_spend_nothing() {
    let world = World::new();
    let open = |settings| {
        let cx = Build { vault: None, ..world.cx() };
        OAuth2Credentials::build(&super::world::spec(settings), cx).unwrap()
    };
    let repeatable = open(json!({"grant": "client_credentials"}));
    assert_eq!(header(&repeatable).await, "Bearer access-1");
    for settings in
        [json!({"grant": "refresh_token", "refresh_token": "r"}), json!({"authorization_url": "https://a"})]
    {
        let told = fault(&open(settings)).await;
        assert_eq!((told.class(), told.code()), (Class::Auth, "no_vault"));
        assert!(told.message().contains("give it a master key"), "{told}");
    }
    assert_eq!(world.server.calls(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let world = World::new();
    world.server.close();
    let credentials = world.open(json!({"grant": "client_credentials"}));
    let waiting = Arc::clone(&credentials);
    let asked = tokio::runtime::Handle::current().spawn(async move { applied(&waiting).await });
    settle().await;
    world.clock.pass(Duration::from_secs(30));
    let told = asked.await.unwrap().unwrap_err();
    assert_eq!((told.class(), told.message()), (Class::Connection, "as.example gave no answer within 30s"));
}
