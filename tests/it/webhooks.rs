//! `karez webhooks` beside a running daemon: what it signs is taken, and why something else is not taken is said
//! in the same words by both.

use std::path::Path;

use karez_tests::{Daemon, Folder, Output, Request, eventually, json};

/// What the shell printed, line by line, once it ended well.
fn shell(daemon: &Daemon, script: &str) -> Output {
    let output = daemon.shell(script).env("KAREZ_LISTEN", daemon.ingress().to_string()).output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn each_kind_of_signature_is_made_and_taken() {
    let folder = Folder::new();
    let pipeline = |provider: &str, more: &str| {
        let text = format!(
            "source:\n  webhook:\n    path: /{provider}\n    verify: {{provider: {provider}, {more}}}\n\
             sink: {{files: {{path: {provider}.ndjson}}}}\n"
        );
        match provider {
            "twilio" => {
                text.replace("    verify", "    public_url: https://hooks.example.com/twilio\n    verify")
            }
            _ => text,
        }
    };
    let shared = ["stripe", "mailgun", "microsoft-graph", "twilio"];
    shared.iter().for_each(|name| folder.pipeline(name, &pipeline(name, "secret: \"it's a $ecret\"")));
    let daemon = Daemon::start(folder);
    let sign = |provider: &str, more: &str| {
        let script =
            format!("karez webhooks sign {provider} --secret \"it's a \\$ecret\" --curl {more} | sh");
        let output = shell(&daemon, &script);
        assert!(output.stdout.starts_with("HTTP/1.1 20"), "{provider}: {}{}", output.stdout, output.stderr);
    };
    sign("stripe", "");
    sign("stripe", "--body \"{\\\"id\\\": \\\"it's \\$HOME\\\"}\"");
    sign("mailgun", "");
    sign("microsoft-graph", "");
    let to = format!("--to http://{}/webhooks/twilio", daemon.ingress());
    sign("twilio", &format!("--url 'https://hooks.example.com/twilio?a=b' {to}"));
    let json = "--body '{\"a\": 1}' -H 'content-type: application/x-www-form-urlencoded'";
    sign("twilio", &format!("--url https://hooks.example.com/twilio {json} {to}"));
    for (provider, n) in [("stripe", 2), ("mailgun", 1), ("microsoft-graph", 1), ("twilio", 2)] {
        daemon.drained(provider);
        assert_eq!(daemon.records(&format!("{provider}.ndjson")).len(), n, "{provider}");
    }
    assert_eq!(daemon.records("stripe.ndjson")[1], json!({"id": "it's $HOME"}));
}

const WITH_AN_OLD_SECRET: &str = r#"
source:
  webhook:
    path: /orders
    verify: {provider: stripe, secret: [new-s3cret, {secret: old-s3cret, not_after: 2020-01-01T00:00:00Z}]}
sink: {blackhole: {}}
"#;

#[test]
fn why_requests_are_refused_stands_in_the_log_and_in_the_status_without_secrets() {
    let daemon = Daemon::start(Folder::new().with("orders", WITH_AN_OLD_SECRET));
    let post = |secret: &str| {
        let output =
            daemon.karez(&["webhooks", "sign", "stripe", "--secret", secret, "--body", "{}"]).exits(0);
        let headers = output.stdout.lines().filter_map(|line| line.split_once(": "));
        let request = headers.fold(Request::post("/webhooks/orders", "{}"), |request, (name, value)| {
            request.header(name, value)
        });
        daemon.send(&request)
    };
    let answer = post("old-s3cret");
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains("not_after"), "{}", answer.text());
    let found = "it is signed with the secret whose not_after was 2020-01-01T00:00:00Z";
    eventually("the log says why", || daemon.stderr().contains(found));
    // Whoever floods it with forged ones neither hides what was found nor gets more looked into.
    for _ in 0..50 {
        assert_eq!(post("forged").status, 401);
    }
    assert!(daemon.stderr().matches("requests are turned away").count() <= 2, "{}", daemon.stderr());
    let text = daemon.karez(&["status"]).exits(0).stdout;
    assert!(text.contains(found), "{text}");
    let status = daemon.karez(&["status", "--format", "json"]).exits(0).json();
    let diagnosis = &status["pipelines"][0]["nodes"][0]["diagnosis"];
    assert!(diagnosis["hint"].as_str().unwrap().contains(found), "{status}");
    assert!(diagnosis["at"].is_u64() && diagnosis["refused"] == 1, "{diagnosis}");
    for text in [daemon.stderr(), text, status.to_string()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_captured_request_is_judged_with_an_exit_code() {
    let folder = Folder::new();
    folder.write(".env", "STRIPE_SECRET=s3cret\n");
    let raw =
        folder.karez(&["webhooks", "sign", "stripe", "--secret-env", "STRIPE_SECRET", "--raw"]).exits(0);
    folder.write("captured.http", &raw.stdout);
    let verify =
        |more: &[&str]| folder.karez(&[&["webhooks", "verify", "stripe", "captured.http"], more].concat());
    let fine = verify(&["--secret", "other", "--secret", "${STRIPE_SECRET}"]).exits(0);
    assert!(
        fine.stdout.contains("fits secret 2 of 2") && fine.stdout.contains("type    test"),
        "{}",
        fine.stdout
    );
    assert_eq!(verify(&["--secret", "s3cret", "--format", "json"]).exits(0).json()["verdict"], "accepted");
    let spaced = verify(&["--secret", "s3cret "]).exits(1);
    assert!(spaced.stdout.contains("without the white space around it"), "{}", spaced.stdout);
    let late = verify(&["--secret", "s3cret", "--at", "+1h"]).exits(1);
    assert!(late.stdout.contains("which is too old") && late.stdout.contains("--at"), "{}", late.stdout);
    let unknown = folder.karez(&["webhooks", "show", "strpe"]).exits(2);
    assert!(unknown.stderr.contains("did you mean \"stripe\"?"), "{}", unknown.stderr);
    verify(&[]).exits(2);
    verify(&["--secret-env", "NOT_SET"]).exits(2);
}

#[test]
fn every_provider_is_listed_and_shown_with_a_pipeline_that_loads() {
    let folder = Folder::new();
    let all = folder.karez(&["webhooks", "list", "--format", "json"]).exits(0).json();
    let all = all.as_array().unwrap();
    assert!(all.len() >= 46, "{}", all.len());
    let text = folder.karez(&["webhooks", "list"]).exits(0).stdout;
    let mut variables = String::new();
    let certificate = include_str!("../fixtures/webhooks/certificate.pem");
    let certificate: String = certificate.lines().filter(|line| !line.contains("-----")).collect();
    for one in all {
        let name = one["name"].as_str().unwrap();
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
        let yaml = one["yaml"].as_str().unwrap();
        assert!(yaml.starts_with(&format!("# pipelines/{name}.yaml\n")), "{yaml}");
        folder.pipeline(name, yaml);
        let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
        for variable in yaml.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
            let value = match one["key"].as_str().unwrap() {
                _ if variable.ends_with("TOKEN") => "token",
                text if text.starts_with("base64") => "c2VjcmV0",
                text if text.starts_with("hex") => "00ff",
                _ if one["takes"] == "secret" => "s3cret",
                _ if one["takes"].is_null() => "parameter",
                _ if one["scheme"] == "Ed25519" => {
                    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
                }
                _ if one["scheme"] == "RSA-SHA256" => &certificate,
                _ => key,
            };
            variables += &format!("{variable}={value}\n");
        }
    }
    folder.write(".env", variables);
    folder.karez(&["check"]).exits(0);
    let shown = folder.karez(&["webhooks", "show", "slack"]).exits(0).stdout;
    for part in ["v0:{timestamp}:{body}", "url_verification", "https://docs.slack.dev", "provider: slack"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn the_examples_of_the_handbook_do_what_it_says() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let block = |language: &str, part: &str| {
        let fence = format!("```{language}\n");
        let mut blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
        blocks.find(|block| block.contains(part)).unwrap_or_else(|| panic!("{part}")).to_owned()
    };
    let daemon = Daemon::start(Folder::new().with("stripe-invoices", &block("yaml", "STRIPE_SECRET")));
    let (send, judge) = (block("sh", "webhooks sign stripe"), block("sh", "webhooks verify stripe"));
    let sent = shell(&daemon, &send).exits(0);
    assert!(sent.stdout.contains("200 OK") && sent.stdout.contains("\"id\":\"evt_1\""), "{}", sent.stdout);
    daemon.drained("stripe-invoices");
    assert_eq!(daemon.records("out/invoices.ndjson"), [json!({"invoice": "in_1", "amount": 1200})]);
    let judged = shell(&daemon, &format!("export STRIPE_SECRET=whsec_new\n{judge}")).exits(0);
    assert_eq!(judged.stdout, block("text", "refused: stripe-signature"));
}
