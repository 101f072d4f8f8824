//! Secrets from outside: stored, used, changed, removed; the master key given, missing, wrong, changed; and that nothing
//! of it stands anywhere in clear.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use hmac::{Hmac, KeyInit as _, Mac as _};
use karez_tests::{Daemon, Folder, Json, Launch, Output, PATIENCE, Receiver, Request, eventually, json};
use sha2::Sha256;

/// With `a.key` and `b.key`, of which the settings name the first.
pub(crate) fn keyed() -> Folder {
    let folder = Folder::new();
    for key in ["a.key", "b.key"] {
        folder.karez(&["secrets", "new-key", key]).exits(0);
    }
    folder.write("karez.yaml", "master_key_file: a.key\n");
    folder
}

/// `karez secrets set`, with the value on its stdin.
pub(crate) fn set(folder: &Folder, name: &str, value: &str) -> Output {
    let mut command = folder.command(["secrets", "set", name]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have refused before it read.
    child.stdin.take().unwrap().write_all(value.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The ids of the master keys that secrets stand under.
fn keys_in_use(folder: &Folder) -> BTreeSet<String> {
    let listed = folder.karez(&["secrets", "list", "--format", "json"]).exits(0).json();
    listed.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect()
}

/// Files below `folder` that hold any of these texts.
fn holding(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, texts));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let held = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        found.extend(texts.iter().any(held).then(|| path.display().to_string()));
    }
    found
}

/// From an open webhook to a receiver that is shown a secret.
fn orders(receiver: &Receiver) -> String {
    let sink = format!(
        "sink: {{http: {{url: \"{}\", headers: {{Authorization: \"Bearer ${{secret:crm}}\"}}}}}}",
        receiver.url("/")
    );
    crate::webhook_to("orders", &sink)
}

#[test]
fn a_secret_is_used_follows_its_changes_and_stands_nowhere_in_clear() {
    const FIRST: &str = "canary-first-7c1f0a";
    const SECOND: &str = "canary-second-91be44";
    let receiver = Receiver::start();
    let folder = keyed().with("orders", &orders(&receiver));
    let missing = folder.karez(&["check"]).exits(1).stdout;
    assert!(missing.contains("no secret is called \"crm\"; `karez secrets set crm` stores it"), "{missing}");
    assert!(missing.contains("orders.yaml:2:"), "{missing}");
    assert_eq!(set(&folder, "crm", &format!("{FIRST}\n")).exits(0).stdout, "stored crm\n");

    let mut launch = Launch::default();
    launch.set("KAREZ_LOG", "trace");
    let mut daemon = Daemon::start_as(folder, launch);
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    assert_eq!(receiver.sees(1)[0].header("authorization"), Some(&*format!("Bearer {FIRST}")));
    let changed = set(&daemon, "crm", SECOND).exits(0);
    assert!(changed.stderr.contains("reloaded: orders"), "{}", changed.stderr);
    daemon.post("/webhooks/orders", &json!({"id": 2}));
    assert_eq!(receiver.sees(2)[1].header("authorization"), Some(&*format!("Bearer {SECOND}")));
    set(&daemon, "other", "canary-other-5150cc").exits(0);

    let listed = daemon.karez(&["secrets", "list"]).exits(0).stdout;
    assert!(listed.starts_with("crm  20") && listed.contains("\nother  20"), "{listed}");
    assert_eq!(daemon.karez(&["secrets", "remove", "crm"]).exits(0).stdout, "removed crm\n");
    let none = daemon.karez(&["secrets", "remove", "crm"]).exits(3).stderr;
    assert!(none.contains("no secret is called \"crm\""), "{none}");
    daemon.post("/webhooks/orders", &json!({"id": 3}));
    assert_eq!(receiver.sees(3)[2].header("authorization"), Some(&*format!("Bearer {SECOND}")));
    let problems = daemon.api("GET", "problems").text();
    assert!(problems.contains("missing-secret"), "{problems}");

    let canaries = [FIRST, SECOND, "canary-other-5150cc"];
    for path in ["secrets", "status", "pipelines", "problems"] {
        let answer = daemon.api("GET", path).text();
        assert!(!canaries.iter().any(|canary| answer.contains(canary)), "{path}: {answer}");
    }
    daemon.stop();
    assert_eq!(holding(&daemon.at("."), &canaries), [""; 0], "logs and state");
}

#[test]
fn checking_needs_no_key_whether_a_daemon_runs_or_not() {
    let receiver = Receiver::start();
    let tested = format!(
        "{}tests: [{{input: [{{id: 1}}], expect: {{sink: [{{id: 1}}]}}}}]\n",
        orders(&receiver).replace("Bearer ${secret:crm}", "${secret:crm}-${secret:NONE}")
    );
    let folder = keyed();
    set(&folder, "crm", "x").exits(0);
    set(&folder, "NONE", "y").exits(0);
    let mut daemon = Daemon::start(folder.with("orders", &tested));
    for _ in 0..2 {
        fs::write(daemon.at("karez.yaml"), "master_key_file: nowhere.key\n").unwrap();
        daemon.karez(&["check"]).exits(0);
        assert!(daemon.karez(&["test"]).exits(0).stdout.contains("1 test, 0 failed"));
        daemon.karez(&["graph"]).exits(0);
        daemon.karez(&["secrets", "list"]).exits(0);
        let shown = daemon.karez(&["check", "--show", "orders"]).exits(0).stdout;
        assert!(shown.contains("[redacted]-[redacted]"), "{shown}");
        if daemon.running().is_some() {
            daemon.stop();
        }
    }
    daemon.karez(&["secrets", "remove", "NONE"]).exits(0);
    assert!(daemon.karez(&["check"]).exits(1).stdout.contains("`karez secrets set NONE` stores it"));
}

#[test]
fn without_the_right_key_nothing_starts_and_the_key_is_named() {
    let receiver = Receiver::start();
    let folder = keyed().with("orders", &orders(&receiver));
    set(&folder, "crm", "x").exits(0);
    let key = keys_in_use(&folder).pop_first().unwrap();
    let mut daemon = Daemon::prepare(folder, Launch::default());
    let fresh = daemon.read("a.key");
    daemon.write("open.key", &fresh);
    fs::set_permissions(daemon.at("open.key"), fs::Permissions::from_mode(0o640)).unwrap();
    daemon.write("no.key", "not a key at all");
    fs::set_permissions(daemon.at("no.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let named = format!("1 secret stored with master key {key}, which is not given");
    for (settings, said) in [
        ("", &*named),
        ("master_key_file: b.key", &*named),
        ("master_key_file: open.key", "others can read the master key in open.key (mode 0640)"),
        ("master_key_file: no.key", "no.key is not a key"),
        ("master_key_file: nowhere.key", "cannot read the master key in nowhere.key"),
        ("master_key_command: [\"false\"]", "false failed"),
        ("master_key_command: [cat, b.key]", &*named),
        ("{master_key_file: a.key, master_key_command: [cat, a.key]}", "given twice"),
        ("{master_key_file: a.key, old_master_key_files: [open.key]}", "others can read"),
    ] {
        daemon.write("karez.yaml", settings);
        let why = daemon.try_restart(PATIENCE).unwrap_err();
        assert!(why.contains(said) && !why.contains(fresh.trim()), "{settings}: {why}");
        let refused = set(&daemon, "new", "value");
        assert_eq!(refused.exits(3).stdout, "", "{settings}");
    }
    for settings in [
        "master_key_file: a.key",
        "master_key_command: [cat, a.key]",
        "{master_key_file: b.key, old_master_key_files: [a.key]}",
    ] {
        daemon.write("karez.yaml", settings);
        daemon.restart();
        daemon.stop();
    }
    // The variable wins over the file, and pipelines cannot ask for it.
    daemon.write("karez.yaml", "master_key_file: nowhere.key");
    daemon.launch().set("KAREZ_MASTER_KEY", fresh.trim());
    let spy = crate::webhook_to("spy", "sink: {http: {url: \"http://127.0.0.1:1/${KAREZ_MASTER_KEY}\"}}");
    daemon.pipeline("spy", &spy);
    daemon.restart();
    assert!(daemon.api("GET", "problems").text().contains("variable KAREZ_MASTER_KEY is not set"));
    assert_eq!(holding(&daemon.data(), &[fresh.trim()]), [""; 0]);
}

#[test]
fn what_needs_no_secret_needs_no_key() {
    let folder = Folder::new().with("orders", &crate::webhook_to("orders", "sink: {blackhole: {}}"));
    let daemon = Daemon::start(folder);
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    let refused = set(&daemon, "crm", "x").exits(3).stderr;
    assert!(refused.contains("no master key") && refused.contains("new-key"), "{refused}");
    // A key can come without a restart.
    daemon.karez(&["secrets", "new-key", "a.key"]).exits(0);
    daemon.karez(&["secrets", "rotate-key", "--to", "a.key"]).exits(0);
    set(&daemon, "crm", "x").exits(0);
}

#[test]
fn without_a_key_nothing_is_stored_and_no_store_is_made() {
    let folder = Folder::new();
    let refused = set(&folder, "crm", "x").exits(3).stderr;
    assert!(refused.contains("no master key to encrypt crm") && refused.contains("new-key"), "{refused}");
    assert!(!folder.at(".karez").exists());
}

#[test]
fn a_pipeline_that_waits_for_the_secret_of_a_provider_starts_when_it_comes() {
    let folder = keyed();
    folder.pipeline("hook", "source: {webhook: {path: /hook, verify: {provider: asana, pending: {secret: hook}}}}\nsink: {blackhole: {}}\n");
    folder.pipeline("orders", "source: {webhook: {path: /orders, verify: {provider: asana, secret: \"${secret:hook}\"}}}\nsink: {blackhole: {}}\n");
    let daemon = Daemon::start(folder);
    assert!(daemon.api("GET", "problems").text().contains("hook"));
    assert_eq!(daemon.status("orders"), Json::Null);
    let first = Request::post("/webhooks/hook", json!({})).header("X-Hook-Secret", "made-up-by-the-provider");
    assert_eq!(daemon.send(&first).status, 200);
    eventually("the pipeline that names it runs", || daemon.status("orders") != Json::Null);
    let body = json!({"events": []}).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"made-up-by-the-provider").unwrap();
    mac.update(body.as_bytes());
    let signed = Request::post("/webhooks/orders", &body)
        .header("X-Hook-Signature", hex::encode(mac.finalize().into_bytes()));
    eventually("it knows the secret", || daemon.send(&signed).status == 200);
}

#[test]
fn names_and_values_are_held_to_their_bounds() {
    let folder = keyed();
    for (name, value) in [("a/b", "x"), ("a b", "x"), ("", "x"), ("a", ""), ("a", "\n")] {
        set(&folder, name, value).exits(2);
    }
    set(&folder, "long", &"x".repeat(64 << 10)).exits(0);
    set(&folder, "long", &"x".repeat((64 << 10) + 1)).exits(2);
    folder.karez(&["secrets", "set", "a", "value"]).exits(2);
    let again = folder.karez(&["secrets", "new-key", "a.key"]).exits(3).stderr;
    assert!(again.contains("exists already"), "{again}");
    let daemon = Daemon::start(folder);
    assert_eq!(daemon.api("POST", "secrets/a").status, 400);
    assert_eq!(daemon.api("POST", "secrets/a%2Fb").status, 400);
    assert_eq!(daemon.api("GET", "secrets/long").status, 404, "values are not given out");
    assert_eq!(daemon.api("DELETE", "secrets/none").status, 404);
}

#[test]
fn a_secret_that_a_provider_makes_up_goes_into_the_vault() {
    const MADE_UP: &str = "canary-made-up-4f2e";
    let hook = |verify: &str| {
        let verify = format!("{{provider: asana, {verify}}}");
        format!(
            "source: {{webhook: {{path: /asana, verify: {verify}}}}}\nsink: {{files: {{path: out.ndjson}}}}\n"
        )
    };
    let mut daemon = Daemon::start(keyed().with("asana", &hook("pending: {secret: asana-hook}")));
    let sent = |name: &str, value: &str, body: &str| {
        let request = Request::post("/webhooks/asana", body).header(name, value);
        daemon.send(&request.header("Content-Type", "application/json")).status
    };
    let event = r#"{"events":[{"user":{"gid":"1"},"resource":{"gid":"2"},"action":"added"}]}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(MADE_UP.as_bytes()).unwrap();
    mac.update(event.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    assert_eq!(sent("X-Hook-Signature", &signature, event), 503, "it waits for its secret");
    assert_eq!(sent("X-Hook-Secret", MADE_UP, ""), 200);
    assert_eq!(sent("X-Hook-Secret", "forged", ""), 403);
    assert!(daemon.karez(&["secrets", "list"]).exits(0).stdout.starts_with("asana-hook  "));
    daemon.pipeline("asana", &hook("secret: \"${secret:asana-hook}\""));
    assert_eq!(daemon.api("POST", "reload").status, 200);
    assert_eq!(sent("X-Hook-Signature", &signature, event), 200);
    assert_eq!(sent("X-Hook-Signature", &signature.replace(['0', '1'], "2"), event), 401);
    daemon.drained("asana");
    assert_eq!(daemon.records("out.ndjson").len(), 1);
    daemon.stop();
    assert_eq!(holding(&daemon.at("."), &[MADE_UP]), [""; 0]);
}

#[test]
fn the_master_key_changes_while_the_daemon_runs() {
    let receiver = Receiver::start();
    let folder = keyed().with("orders", &orders(&receiver));
    set(&folder, "crm", "token-1").exits(0);
    let mut daemon = Daemon::start(folder);
    let before = keys_in_use(&daemon);
    let wrong = daemon.karez(&["secrets", "rotate-key", "--to", "nowhere.key"]).exits(3).stderr;
    assert!(wrong.contains("cannot read the master key in"), "{wrong}");
    let told = daemon.karez(&["secrets", "rotate-key", "--to", "b.key"]).exits(0);
    assert!(told.stdout.contains("1 secret came under it") && told.stderr.contains("b.key"), "{told:?}");
    let after = keys_in_use(&daemon);
    assert!(after.is_disjoint(&before));
    let again = daemon.karez(&["secrets", "rotate-key"]).exits(0).stdout;
    assert!(again.contains("0 secrets came under it"), "{again}");
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    assert_eq!(receiver.sees(1)[0].header("authorization"), Some("Bearer token-1"));
    // The settings still name the old key: it starts, and says what to do.
    daemon.kill();
    daemon.restart();
    daemon.says("the settings do not say so");
    set(&daemon, "second", "x").exits(0);
    assert_eq!(keys_in_use(&daemon), after);
    daemon.stop();
    // They name the new one, and nothing of the old is needed any more.
    fs::remove_file(daemon.at("a.key")).unwrap();
    daemon.write("karez.yaml", "master_key_file: b.key\n");
    daemon.restart();
    daemon.post("/webhooks/orders", &json!({"id": 2}));
    assert_eq!(receiver.sees(2)[1].header("authorization"), Some("Bearer token-1"));
    daemon.stop();
    // Without a daemon, on the store itself.
    daemon.karez(&["secrets", "new-key", "c.key"]).exits(0);
    daemon.write("karez.yaml", "{master_key_file: c.key, old_master_key_files: [b.key]}\n");
    let told = daemon.karez(&["secrets", "rotate-key"]).exits(0).stdout;
    assert!(told.contains("2 secrets came under it"), "{told}");
    fs::remove_file(daemon.at("b.key")).unwrap();
    daemon.write("karez.yaml", "master_key_file: c.key\n");
    daemon.restart();
}

#[test]
fn a_daemon_that_is_killed_amid_a_change_of_the_key_comes_up_by_itself() {
    const SECRETS: usize = 150;
    let mut daemon = Daemon::start(keyed());
    for number in 0..SECRETS {
        let body = json!({"value": format!("value {number}")});
        let answer = daemon.api_with("POST", &format!("secrets/s{number}"), &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Each change to a new key; one of them is met in its middle.
    let mut amid = false;
    for round in 0..20 {
        let (key, settings) = (format!("{round}.key"), format!("master_key_file: {round}.key\n"));
        daemon.karez(&["secrets", "new-key", &key]).exits(0);
        let before = keys_in_use(&daemon);
        let mut rotation = daemon.command(["secrets", "rotate-key", "--to", &key]);
        let mut rotation = rotation.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let under_others = |listed: &Json| {
            let listed = listed["secrets"].as_array().unwrap();
            listed.iter().any(|one| !before.contains(one["key"].as_str().unwrap()))
        };
        eventually("it began", || under_others(&daemon.api("GET", "secrets").json()));
        daemon.kill();
        rotation.wait().unwrap();
        amid = keys_in_use(&daemon).len() == 2;
        daemon.restart();
        assert_eq!(keys_in_use(&daemon).len(), 1, "it was finished");
        assert!(keys_in_use(&daemon).is_disjoint(&before));
        daemon.stop();
        daemon.write("karez.yaml", settings);
        daemon.restart();
        if amid {
            break;
        }
    }
    assert!(amid, "no change was met in its middle");
    let uses: String = (0..SECRETS).map(|number| format!("h{number}: \"${{secret:s{number}}}\", ")).collect();
    let receiver = Receiver::start();
    let sink = format!("sink: {{http: {{url: \"{}\", headers: {{{uses}}}}}}}", receiver.url("/"));
    daemon.pipeline("all", &crate::webhook_to("all", &sink));
    assert_eq!(daemon.api("POST", "reload").status, 200);
    daemon.post("/webhooks/all", &json!({"id": 1}));
    let seen = receiver.sees(1);
    for number in 0..SECRETS {
        assert_eq!(seen[0].header(&format!("h{number}")), Some(&*format!("value {number}")));
    }
}
