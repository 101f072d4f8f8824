//! Providers that make the secret up themselves and send it once.

use std::sync::atomic::Ordering;

use super::*;
use crate::testing::{NOW, places};

fn pending(provider: &str, name: &str) -> Json {
    json!({"path": "/orders", "verify": {"provider": provider, "pending": {"secret": name}}})
}

/// What the vault keeps as `secret/hook`.
fn kept(vault: &TestVault) -> Option<String> {
    vault.kept.lock().unwrap().get("secret/hook").map(|secret| secret.expose().to_owned())
}

fn with_secret(provider: &str) -> Json {
    json!({"path": "/orders", "verify": {"provider": provider, "secret": "s3cret"}})
}

/// The first request of a provider.
fn first(provider: &str, secret: &str) -> Sent {
    match provider {
        "asana" => Sent { headers: vec![("x-hook-secret".into(), secret.into())], ..Sent::default() },
        _ => Sent { body: json!({"verification_token": secret}).to_string(), ..Sent::default() },
    }
}

/// Status and what was counted.
async fn said(vault: &Arc<TestVault>, settings: Json, sent: &Sent) -> (u16, Vec<&'static str>) {
    let outcome = sent.with(vault, settings, NOW).await.unwrap();
    assert!(outcome.record.is_none());
    (outcome.response.status().as_u16(), [outcome.answered, outcome.refused].concat())
}

#[tokio::test]
async fn the_first_secret_is_handed_over_and_no_other() {
    for provider in ["asana", "notion"] {
        let vault = Arc::default();
        let settings = || pending(provider, "hook");
        let event = Sent { body: r#"{"events":[]}"#.into(), ..Sent::default() };
        assert_eq!(said(&vault, settings(), &event).await, (503, vec!["pending"]), "{provider}");
        assert_eq!(kept(&vault), None);
        assert_eq!(said(&vault, settings(), &first(provider, "made-up")).await, (200, vec!["handshake"]));
        assert_eq!(kept(&vault).as_deref(), Some("made-up"));
        // An answer may be lost; a secret of somebody else must not count.
        assert_eq!(said(&vault, settings(), &first(provider, "made-up")).await, (200, vec!["handshake"]));
        assert_eq!(said(&vault, settings(), &first(provider, "forged")).await, (403, vec!["handshake"]));
        assert_eq!(kept(&vault).as_deref(), Some("made-up"));
        // Once the file of the pipeline names it, nobody can send another one.
        let forged = first(provider, "forged");
        assert_eq!(said(&vault, with_secret(provider), &forged).await, (401, vec!["signature"]));
    }
}

#[tokio::test]
async fn what_cannot_be_handed_over_is_not_answered_as_if_it_were() {
    let vault = Arc::default();
    for secret in ["", "two words", "é", &"a".repeat(1_025)] {
        let (status, _) = said(&vault, pending("notion", "hook"), &first("notion", secret)).await;
        assert_eq!((status, kept(&vault)), (400, None), "{secret}");
    }
    vault.locked.store(true, Ordering::Relaxed);
    let sent = first("notion", "a");
    assert_eq!(said(&vault, pending("notion", "hook"), &sent).await, (503, vec!["handshake"]));
    vault.locked.store(false, Ordering::Relaxed);
    assert_eq!(said(&vault, pending("notion", "hook"), &sent).await, (200, vec!["handshake"]));
    assert_eq!(kept(&vault).as_deref(), Some("a"));
}

#[test]
fn only_what_is_sent_can_be_pending() {
    let mut both = pending("asana", "hook");
    both["verify"]["secret"] = json!("s3cret");
    let mut own = pending("asana", "hook");
    own["verify"] = json!({"token": {"token": "t"}, "pending": {"secret": "hook"}});
    let mut after = with_secret("asana");
    after["verify"] = json!({"provider": "asana", "pending": {"secret": "hook"}});
    after["handshakes"] = json!([{"match": [{"header": "A"}], "hand_over": "{header:A}", "answer": {}}]);
    for (settings, said) in [
        (pending("asana", "hook"), ""),
        (pending("github", "hook"), "nothing-pending verify.pending"),
        (pending("asana", "a hook"), "bad-name verify.pending.secret"),
        (both, "misplaced-setting verify.pending"),
        (own, "misplaced-setting verify.pending"),
        (after, "verified-hand-over handshakes[0].hand_over"),
    ] {
        let problems = source::<Webhook>(settings.clone()).err().unwrap_or_default();
        assert_eq!(places(&problems).join(" "), said, "{settings}");
    }
}
