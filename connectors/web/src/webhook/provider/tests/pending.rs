//! Providers that make the secret up themselves and send it once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::testing::{NOW, places};

fn pending(provider: &str, file: &Path) -> Json {
    json!({"path": "/orders", "verify": {"provider": provider, "pending": {"secret_file": file}}})
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
async fn said(settings: Json, sent: &Sent) -> (u16, Vec<&'static str>) {
    let outcome = sent.to(settings, NOW).await.unwrap();
    assert!(outcome.record.is_none());
    (outcome.response.status().as_u16(), [outcome.answered, outcome.refused].concat())
}

#[tokio::test]
async fn the_first_secret_is_handed_over_and_no_other() {
    for provider in ["asana", "notion"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let settings = || pending(provider, &file);
        let event = Sent { body: r#"{"events":[]}"#.into(), ..Sent::default() };
        assert_eq!(said(settings(), &event).await, (503, vec!["pending"]), "{provider}");
        assert!(!file.exists());
        assert_eq!(said(settings(), &first(provider, "made-up")).await, (200, vec!["handshake"]));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!((std::fs::read_to_string(&file).unwrap(), mode), ("made-up".into(), 0o600));
        // An answer may be lost; a secret of somebody else must not count.
        assert_eq!(said(settings(), &first(provider, "made-up")).await, (200, vec!["handshake"]));
        assert_eq!(said(settings(), &first(provider, "forged")).await, (403, vec!["handshake"]));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "made-up");
        // Once it stands in the file of the pipeline, nobody can send another one.
        assert_eq!(said(with_secret(provider), &first(provider, "forged")).await, (401, vec!["signature"]));
    }
}

#[tokio::test]
async fn what_cannot_be_handed_over_is_not_answered_as_if_it_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for secret in ["", "two words", "é", &"a".repeat(1_025)] {
        let (status, _) = said(pending("notion", &file), &first("notion", secret)).await;
        assert_eq!((status, file.exists()), (400, false), "{secret}");
    }
    let nowhere = folder.path().join("none/secret");
    assert_eq!(said(pending("notion", &nowhere), &first("notion", "a")).await, (503, vec!["handshake"]));
    // Of a crash between the file and what is in it.
    std::fs::write(&file, "").unwrap();
    assert_eq!(said(pending("notion", &file), &first("notion", "a")).await, (200, vec!["handshake"]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a");
}

#[test]
fn only_what_is_sent_can_be_pending() {
    let file = Path::new("/run/secret");
    let mut both = pending("asana", file);
    both["verify"]["secret"] = json!("s3cret");
    let mut own = pending("asana", file);
    own["verify"] = json!({"token": {"token": "t"}, "pending": {"secret_file": file}});
    let mut after = with_secret("asana");
    after["verify"] = json!({"provider": "asana", "pending": {"secret_file": file}});
    after["handshakes"] = json!([{"match": [{"header": "A"}], "hand_over": "{header:A}", "answer": {}}]);
    for (settings, said) in [
        (pending("asana", file), ""),
        (pending("github", file), "nothing-pending verify.pending"),
        (pending("asana", Path::new("secret")), "bad-path verify.pending.secret_file"),
        (both, "misplaced-setting verify.pending"),
        (own, "misplaced-setting verify.pending"),
        (after, "verified-hand-over handshakes[0].hand_over"),
    ] {
        let problems = source::<Webhook>(settings.clone()).err().unwrap_or_default();
        assert_eq!(places(&problems).join(" "), said, "{settings}");
    }
}
