use std::sync::atomic::Ordering;
use std::time::Duration;

use karez_api::{Class, Json};
use serde_json::json;

use super::world::{Reply, World, applied, fault, header, now, settle};
use crate::auth::Credentials;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn each_refresh_token_is_spent_once() {
    let world = World::new();
    let credentials = world.seeded();
    for n in 1..=20 {
        assert_eq!(header(&credentials).await, format!("Bearer access-{n}"));
        let kept = world.vault.json();
        assert_eq!(kept["tokens"]["refresh"], format!("refresh-{n}"));
        assert_eq!(kept.get("intent"), None);
        world.clock.pass(HOUR);
    }
    assert!(!world.server.is_revoked());
    world.server.asked(|asked| assert_eq!(asked[1].form["refresh_token"], "refresh-1"));
}

#[tokio::test]
async fn a_restart_goes_on_with_what_is_in_the_vault() {
    let world = World::new();
    header(&world.seeded()).await;
    assert_eq!(header(&world.seeded()).await, "Bearer access-1");
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(HOUR);
    assert_eq!(header(&world.seeded()).await, "Bearer access-2");
    world.server.asked(|asked| assert_eq!(asked[1].form["refresh_token"], "refresh-1"));
}

#[tokio::test]
async fn two_instances_on_one_vault_make_one_call_at_expiry() {
    let world = World::new();
    world.vault.shared.store(true, Ordering::SeqCst);
    let (one, other) = (world.seeded(), world.seeded());
    header(&one).await;
    header(&other).await;
    world.clock.pass(HOUR);
    let (first, second) = tokio::join!(
        async {
            let all = (0..25).map(|_| header(&one));
            futures_util::future::join_all(all).await
        },
        async {
            let all = (0..25).map(|_| header(&other));
            let waiting = futures_util::future::join_all(all);
            tokio::pin!(waiting);
            // The other one looks again from time to time.
            loop {
                tokio::select! {
                    biased;
                    all = &mut waiting => return all,
                    () = settle() => world.clock.pass(Duration::from_millis(500)),
                }
            }
        }
    );
    assert!(first.iter().chain(&second).all(|token| token == "Bearer access-2"), "{first:?} {second:?}");
    assert_eq!(world.server.calls(), 2);
}

#[tokio::test]
async fn what_the_vault_did_not_take_is_not_used_and_not_lost() {
    let world = World::new();
    let credentials = world.seeded();
    // The intent is written, what came is not.
    world.vault.fail_after(Some(1));
    let told = fault(&credentials).await;
    assert_eq!(told.code(), "vault");
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(Duration::from_secs(2));
    assert_eq!(fault(&credentials).await.code(), "vault");
    world.vault.fail_after(None);
    world.clock.pass(Duration::from_secs(5));
    assert_eq!(header(&credentials).await, "Bearer access-1");
    assert_eq!(world.vault.json()["tokens"]["refresh"], "refresh-1");
    // It was spent once: the answer was kept until it could be written.
    assert_eq!(world.server.calls(), 1);
}

#[tokio::test]
async fn nothing_is_spent_before_that_is_on_record() {
    let world = World::new();
    let credentials = world.seeded();
    world.vault.fail_after(Some(0));
    assert_eq!(fault(&credentials).await.code(), "vault");
    assert_eq!(world.server.calls(), 0);
}

/// What a process leaves behind that died while it waited for an answer.
fn died(world: &World, run: &str) {
    let mut kept = world.vault.json();
    let spent = kept["tokens"]["refresh"].as_str().unwrap().to_owned();
    let of = crate::auth::oauth2::token::hash(&karez_api::Secret::new(spent));
    kept["intent"] = json!({"attempt": "a", "run": run, "of": of, "until": now(&world.clock).0 + 60_000});
    world.vault.set(&kept);
}

#[tokio::test]
async fn after_a_crash_the_old_token_is_tried_once() {
    for lenient in [true, false] {
        let world = World::new();
        header(&world.seeded()).await;
        world.clock.pass(HOUR);
        died(&world, "another run");
        // The dead process got an answer that nobody knows.
        world.server.rotate();
        world.server.lenient.store(lenient, Ordering::SeqCst);
        let credentials = world.seeded();
        match lenient {
            true => assert_eq!(header(&credentials).await, "Bearer access-3"),
            false => {
                assert_eq!(fault(&credentials).await.code(), "needs_login");
                for _ in 0..100 {
                    world.clock.pass(Duration::from_secs(10));
                    assert_eq!(fault(&credentials).await.code(), "needs_login");
                }
                // That a human is waited for is one failure, however often somebody looks.
                assert_eq!(world.metrics.read().failures, 1);
            }
        }
        assert_eq!(world.server.calls(), 2);
    }
}

#[tokio::test]
async fn the_attempt_of_a_living_process_is_waited_for_as_long_as_it_may_take() {
    let world = World::new();
    world.vault.shared.store(true, Ordering::SeqCst);
    header(&world.seeded()).await;
    world.clock.pass(HOUR);
    died(&world, "another run");
    let credentials = world.seeded();
    let waiting = applied(&credentials);
    tokio::pin!(waiting);
    for _ in 0..118 {
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it did not wait"),
            () = settle() => world.clock.pass(Duration::from_millis(500)),
        }
    }
    assert_eq!(world.server.calls(), 1);
    world.clock.pass(Duration::from_secs(2));
    assert_eq!(waiting.await.unwrap().0, "Bearer access-2");
}

#[tokio::test]
async fn a_lost_answer_is_tried_once_more_and_then_needs_a_human() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    world.clock.pass(HOUR);
    world.server.script([Reply::Lost]);
    assert_eq!(fault(&credentials).await.class(), Class::Connection);
    assert!(world.vault.json()["intent"].is_object());
    world.clock.pass(Duration::from_secs(2));
    let told = fault(&credentials).await;
    assert_eq!((told.class(), told.code()), (Class::Auth, "needs_login"));
    // Nothing is deleted, and what the server repeated of the token is not shown.
    let kept = world.vault.json();
    assert_eq!(kept["tokens"]["refresh"], "refresh-1");
    assert_eq!(kept["needs_login"], "invalid_grant ([redacted] is spent)");
    let calls = world.server.calls();
    for _ in 0..50 {
        world.clock.pass(Duration::from_secs(60));
        fault(&credentials).await;
    }
    assert_eq!(world.server.calls(), calls);
    assert_eq!(credentials.status().state, "needs_login");
}

#[tokio::test]
async fn who_could_not_be_reached_spent_nothing() {
    let world = World::new();
    let credentials = world.seeded();
    world.server.script([Reply::Unreachable]);
    fault(&credentials).await;
    assert_eq!(world.vault.json().get("intent"), None);
    world.clock.pass(Duration::from_secs(2));
    assert_eq!(header(&credentials).await, "Bearer access-1");
}

#[tokio::test]
async fn tokens_that_somebody_else_got_are_used_when_ours_are_refused() {
    let world = World::new();
    let credentials = world.seeded();
    header(&credentials).await;
    world.clock.pass(HOUR);
    world.server.close();
    let waiting = applied(&credentials);
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("no answer came yet"),
        () = settle() => {}
    }
    // While the server thinks about it somebody else, whose lease ran out, has rotated and written.
    let other = world.server.rotate();
    let mut kept = world.vault.json();
    kept["tokens"]["access"] = other["access_token"].clone();
    kept["tokens"]["refresh"] = other["refresh_token"].clone();
    kept["tokens"]["expires_at"] = Json::from(now(&world.clock).0 + 3_600_000);
    world.vault.set(&kept);
    world.server.gate.add_permits(1_000);
    assert_eq!(waiting.await.unwrap().0, "Bearer access-2");
    assert_eq!(world.vault.json()["tokens"]["refresh"], "refresh-2");
}

#[tokio::test]
async fn a_missing_or_empty_refresh_token_keeps_the_old_one() {
    let world = World::new();
    world.server.rotates.store(false, Ordering::SeqCst);
    let empty = json!({"access_token": "with-empty", "refresh_token": "", "expires_in": 3600});
    world.server.script([Reply::Status(200, &[], empty)]);
    let credentials = world.seeded();
    for expected in ["Bearer with-empty", "Bearer access-1", "Bearer access-2"] {
        assert_eq!(header(&credentials).await, expected);
        assert_eq!(world.vault.json()["tokens"]["refresh"], "seed-token");
        world.clock.pass(HOUR);
    }
}

#[tokio::test]
async fn another_refresh_token_in_the_file_begins_anew() {
    let world = World::new();
    world.server.script([Reply::Status(400, &[], json!({"error": "invalid_grant"}))]);
    let credentials = world.seeded();
    assert_eq!(fault(&credentials).await.code(), "needs_login");
    let credentials = world.open(json!({"grant": "refresh_token", "refresh_token": "another-seed"}));
    assert_eq!(header(&credentials).await, "Bearer access-1");
    world.server.asked(|asked| assert_eq!(asked[1].form["refresh_token"], "another-seed"));
}

#[tokio::test]
async fn a_log_in_elsewhere_is_noticed() {
    let world = World::new();
    let credentials = world.open(json!({"authorization_url": "https://as.example/authorize"}));
    let told = fault(&credentials).await;
    assert_eq!(
        told.message(),
        "connection crm needs a log-in: nobody has logged in yet; run `karez connect crm`"
    );
    let expires = now(&world.clock).0 + 3_600_000;
    world.vault.set(&json!({"tokens": {"access": "a", "refresh": "r", "obtained_at": now(&world.clock).0, "expires_at": expires}}));
    world.clock.pass(Duration::from_secs(5));
    assert_eq!(header(&credentials).await, "Bearer a");
    assert_eq!(credentials.status().state, "ready");
    assert_eq!(world.server.calls(), 0);
}
