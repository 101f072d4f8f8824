//! The catalogue against the official SDKs: what they sign is let in by a running daemon, what `karez webhooks sign`
//! makes is accepted by them, and what was touched on the way is refused by both.

use karez_tests::{Daemon, Folder, Json, Request, Sdks, json};

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &str = "{\"id\": \"evt_1\", \"type\": \"test\", \"name\": \"Žofia\"}";
const FORM: &str = "To=%2B15550100&From=%2B15550111&Body=a+b%26c";

fn public_url(provider: &str) -> String {
    format!("https://hooks.example.com/webhooks/{provider}")
}

fn secret(provider: &str) -> &'static str {
    match provider {
        "svix" | "standard-webhooks" => WHSEC,
        _ => "s3cret-of-the-provider",
    }
}

fn body(provider: &str) -> &'static str {
    if provider == "twilio" { FORM } else { BODY }
}

fn pipeline(provider: &str) -> String {
    let address = format!("public_url: \"{}\"", public_url(provider));
    let address = if provider == "twilio" { address } else { String::new() };
    format!(
        "source:\n  webhook:\n    path: /{provider}\n    verify: {{provider: {provider}, secret: {}}}\n    {address}\n\
         sink: {{blackhole: {{}}}}\n",
        secret(provider)
    )
}

#[test]
fn what_the_official_sdks_sign_is_let_in_and_nothing_else() {
    let signers = ["stripe", "standard-webhooks", "svix", "github", "twilio", "shopify"];
    let folder = Folder::new();
    signers.iter().for_each(|provider| folder.pipeline(provider, &pipeline(provider)));
    let daemon = Daemon::start(folder);
    let mut sdks = Sdks::start();
    for provider in signers {
        let (body, url) = (body(provider), format!("{}?x=1", public_url(provider)));
        let signed =
            sdks.ask(&json!({"sign": provider, "secret": secret(provider), "body": body, "url": url}));
        let request = Request::post(&format!("/webhooks/{provider}?x=1"), body);
        let headers = signed["headers"].as_object().unwrap();
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
        let touched = request.clone().body(body.replace('a', "b"));
        assert_eq!(daemon.send(&touched).status, 401, "{provider}");
        let answer = daemon.send(&request);
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!("accepted")),
            "{provider}: {}",
            answer.text()
        );
    }
}

/// What `karez webhooks sign` prints, as headers by name.
fn signed(folder: &Folder, provider: &str, arguments: &[&str]) -> Json {
    let output = folder.karez(&[&["webhooks", "sign", provider][..], arguments].concat()).exits(0);
    output.stdout.lines().map(|line| line.split_once(": ").unwrap()).collect::<Vec<_>>().into_iter().fold(
        json!({}),
        |mut headers, (name, value)| {
            headers[name] = value.into();
            headers
        },
    )
}

#[test]
fn what_is_signed_here_the_official_sdks_accept_and_nothing_else() {
    let folder = Folder::new();
    let mut sdks = Sdks::start();
    let mut judged = |provider: &str, key: &str, body: &str, url: &str, headers: &Json| {
        let mut ask = |body: &str| {
            let asked =
                json!({"verify": provider, "secret": key, "body": body, "url": url, "headers": headers});
            let answer = sdks.ask(&asked);
            (answer["accepted"] == true, answer["why"].to_string())
        };
        let (accepted, why) = ask(body);
        assert!(accepted, "{provider}: {why} of {headers}");
        assert!(!ask(&body.replace('a', "b")).0, "{provider}: another body");
    };
    for provider in ["stripe", "standard-webhooks", "svix", "github", "slack", "twilio"] {
        let (secret, body, url) = (secret(provider), body(provider), format!("{}?x=1", public_url(provider)));
        let content_type =
            if provider == "twilio" { "application/x-www-form-urlencoded" } else { "application/json" };
        let content_type = format!("content-type: {content_type}");
        let arguments = ["--secret", secret, "--body", body, "--url", &url, "-H", &content_type];
        judged(provider, secret, body, &url, &signed(&folder, provider, &arguments));
    }
    // Its SDK looks at more headers than at the code.
    let required =
        ["topic: orders/create", "shop-domain: a.myshopify.com", "api-version: 2025-01", "webhook-id: w"];
    let required = required.map(|header| format!("x-shopify-{header}"));
    let mut arguments = vec!["--secret", secret("shopify"), "--body", BODY];
    required.iter().for_each(|header| arguments.extend(["-H", header]));
    judged("shopify", secret("shopify"), BODY, "", &signed(&folder, "shopify", &arguments));
}

#[test]
fn what_is_signed_here_with_a_private_key_the_official_sdks_accept_and_so_does_the_daemon() {
    let folder = Folder::new();
    let mut sdks = Sdks::start();
    let senders = [("sendgrid", "ec", "public_key"), ("discord", "ed25519", "raw")].map(|(provider, kind, form)| {
        let keys = sdks.ask(&json!({ "make": kind }));
        let key = keys[form].as_str().unwrap().to_owned();
        folder.write("private.pem", keys["private_key"].as_str().unwrap());
        let headers = signed(&folder, provider, &["--key", "@private.pem", "--body", BODY]);
        for (body, accepted) in [(BODY, true), ("{}", false)] {
            let asked = json!({"verify": provider, "secret": key, "body": body, "headers": headers});
            let answer = sdks.ask(&asked);
            assert_eq!(answer["accepted"], accepted, "{provider}: {answer}");
        }
        folder.pipeline(
            provider,
            &format!(
                "source: {{webhook: {{path: /{provider}, verify: {{provider: {provider}, key: {}}}}}}}\nsink: {{blackhole: {{}}}}\n",
                json!(key)
            ),
        );
        (provider, headers)
    });
    let daemon = Daemon::start(folder);
    for (provider, headers) in senders {
        let request = Request::post(&format!("/webhooks/{provider}"), BODY);
        let headers = headers.as_object().unwrap().iter();
        let request =
            headers.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
        let answer = daemon.send(&request);
        assert!(answer.status < 300, "{provider}: {} {}", answer.status, answer.text());
    }
}
