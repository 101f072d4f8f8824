//! S1, S3, S4, S5: who is let in, what is never told, and clients that take their time.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use karez_tests::{Connection, Launch, Receiver, Reply, Request, json, send};
use sha2::Sha256;

use super::input::daemon;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::run::Run;

fn signature(secret: &str, body: &str) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two keys in rotation open the door; nothing else does, and a replay has no second effect.
pub(super) fn signatures(run: &mut Run) {
    let verify =
        "{hmac: {algorithm: sha256, header: X-Signature, prefix: \"sha256=\", secret: [new-key, old-key]}}";
    let signed = format!(
        "source: {{webhook: {{path: /signed, verify: {verify}, delivery_id: {{header: X-Delivery}}}}}}\ndedup: {{key: {{jq: '$meta.delivery_id'}}, ttl: 1h}}\nsink: {{files: {{path: out.ndjson}}}}\n"
    );
    let other = "source: {webhook: {path: /other, verify: {hmac: {algorithm: sha256, header: X-Signature, prefix: \"sha256=\", secret: other-key}}}}\nsink: {blackhole: {}}\n";
    let daemon = daemon(run, "signed", &[("signed", signed), ("other", other.into())], Launch::default());
    let body = "{\"id\":1}";
    let post = |header: Option<String>, id: &str| {
        let request = Request::post("/webhooks/signed", body).header("X-Delivery", id);
        let request = match header {
            Some(code) => request.header("X-Signature", code),
            None => request,
        };
        send(daemon.ingress(), &request).map_or(0, |answer| answer.status)
    };
    let good = format!("sha256={}", signature("new-key", body));
    let wrongs: Vec<Option<String>> = vec![
        None,
        Some(String::new()),
        Some("sha256=".into()),
        Some(good[..good.len() - 2].to_owned()),
        Some(format!("{good}00")),
        Some(signature("new-key", body)),
        Some(format!("sha1={}", signature("new-key", body))),
        Some(format!("sha256={}", signature("other-key", body))),
        Some(format!("sha256={}", signature("new-key", "{\"id\":2}"))),
        Some(good.replace("sha256=", "sha256= ")),
        Some(format!("{good}, {good}")),
    ];
    run.needs("wrong signature", wrongs.len() as u64);
    for wrong in wrongs {
        let status = post(wrong.clone(), "d0");
        run.check(status == 401, || format!("{wrong:?}: answered {status}"));
        run.fired("wrong signature", 1);
    }
    let both = [good.clone(), format!("sha256={}", signature("old-key", body))];
    for (n, code) in both.iter().enumerate() {
        let status = post(Some(code.clone()), &format!("d{}", n + 1));
        run.check(status == 200, || format!("a right signature is answered {status}"));
    }
    for _ in 0..20 {
        let status = post(Some(good.clone()), "d1");
        run.check(status == 200, || format!("a replay is answered {status}"));
    }
    // A code for each of the first bytes: time must not tell how many are right. Reported, not judged.
    let nearly = format!("sha256={}0", &good["sha256=".len()..good.len() - 1]);
    let time = |code: &str| {
        let begun = Instant::now();
        for _ in 0..run.tier.of(200, 2_000, 20_000) {
            post(Some(code.to_owned()), "d9");
        }
        begun.elapsed()
    };
    let (far, near) = (time(&format!("sha256={}", "0".repeat(64))), time(&nearly));
    run.note(format!("wrong everywhere {} ms, wrong at the end {} ms", far.as_millis(), near.as_millis()));
    daemon.drained("signed");
    let effects = daemon.records("out.ndjson").len();
    run.check(effects == 2, || format!("{effects} effects of two deliveries"));
}

/// A secret of its own in every place that takes one; nothing that karez writes or says may hold it.
pub(super) fn canaries(run: &mut Run) {
    // An authorization server that repeats what it was told, as some do.
    let receiver = Receiver::start_with(|seen| match seen.path.as_str() {
        "/token" | "/login" => {
            let told = String::from_utf8_lossy(&seen.body).into_owned();
            Reply::Json(400, json!({"error": "invalid_client", "error_description": told}))
        }
        _ => Reply::Status(500),
    });
    let seed = run.seed;
    let canary = |n: u32| format!("canary{n}q{:08x}", seed.of(&n.to_string()).0 as u32);
    let names = [
        "HMAC",
        "TOKEN",
        "PASSWORD",
        "HEADER",
        "AMQP",
        "CONNECTION",
        "QUERY",
        "FILE",
        "BEARER",
        "API_KEY",
        "BASIC",
        "CLIENT",
        "SIGNING",
        "SESSION",
        "AWS",
        "OAUTH1",
    ];
    let mut launch = Launch::default();
    for (n, name) in names.iter().enumerate() {
        launch.set(&format!("S_{name}"), &canary(n as u32));
    }
    launch.set("KAREZ_LOG", "trace");
    let url = receiver.url("/");
    let hook = |path: &str, verify: &str, sink: &str| {
        format!("source: {{webhook: {{path: /{path}, verify: {verify}}}}}\nsink: {sink}\n")
    };
    let retry = "retry: {initial: 20ms, max_wait: 100ms, max_attempts: 2}";
    let pipelines = [
        ("shared", format!("connections:\n  crm: {{url: \"{url}crm\", headers: {{Authorization: \"Bearer ${{S_CONNECTION}}\"}}}}\n{}", connections(&url))),
        ("all", format!("source: {{webhook: {{path: /all, verify: {{none: {{reason: test}}}}}}}}\nsinks:\n{}", KINDS.map(|(kind, _)| format!("  {kind}: {{http: {{connection: {kind}, path: /x}}, {retry}}}\n")).concat())),
        ("a", hook("a", "{hmac: {algorithm: sha256, header: X-Signature, secret: \"${S_HMAC}\"}}", &format!("{{http: {{url: \"{url}\", headers: {{X-Key: \"${{S_HEADER}}\"}}}}, {retry}}}"))),
        ("b", hook("b", "{token: {header: X-Token, token: \"${S_TOKEN}\"}}", &format!("{{http: {{connection: crm, path: /x, query: {{key: \"${{S_QUERY}}\"}}}}, {retry}}}"))),
        ("c", hook("c", "{basic: {username: ada, password: \"${S_PASSWORD}\"}}", &format!("{{amqp: {{url: \"amqp://guest:${{S_AMQP}}@127.0.0.1:1/%2f\", queue: q}}, {retry}}}"))),
        ("wrong", "source: {webhook: {path: /w, verify: {token: {header: X, token: \"${S_FILE}\", nonsense: 1}}}}\nsink: {blackhole: {}}\n".into()),
    ];
    let mut daemon = daemon(run, "canaries", &pipelines, launch);
    let body = "{\"id\":1}";
    let signed = Request::post("/webhooks/a", body).header("X-Signature", signature(&canary(0), body));
    let status = |request: &Request| send(daemon.ingress(), request).map_or(0, |answer| answer.status);
    let posts = [
        (200, signed),
        (200, Request::post("/webhooks/b", body).header("X-Token", canary(1))),
        (401, Request::post("/webhooks/b", body).header("X-Token", "wrong")),
        (401, Request::post("/webhooks/c", body).header("Authorization", "Basic YTpi")),
        (401, Request::post("/webhooks/a", body)),
        (200, Request::post("/webhooks/all", body)),
    ];
    run.needs("secret used", 3);
    for (expected, request) in &posts {
        let found = status(request);
        run.check(found == *expected, || format!("answered {found}, not {expected}"));
        run.fired("secret used", 1);
    }
    std::thread::sleep(Duration::from_secs(2));
    let arrived = receiver.seen().iter().any(|seen| seen.header("x-key") == Some(&canary(3)));
    run.check(arrived, || "proves nothing: the secret header was not sent".into());
    let mut told = vec![("the log", daemon.stderr().into_bytes())];
    let bearer = format!("Bearer {}", canary(8));
    let used = receiver.seen().iter().any(|seen| seen.header("authorization") == Some(&bearer));
    run.check(used, || "proves nothing: the connection's token was not sent".into());
    for path in ["status", "pipelines", "problems", "dead-letters", "connections"] {
        told.push((path, daemon.api("GET", path).body));
    }
    told.push(("metrics", send(daemon.admin(), &Request::get("/metrics")).unwrap().body));
    told.push(("check", daemon.karez(&["check"]).stderr.into_bytes()));
    for letter in daemon.api("GET", "dead-letters").json()["dead_letters"].as_array().into_iter().flatten() {
        let id = letter["id"].as_str().unwrap_or_default().replace('@', "%40");
        told.push(("a dead letter", daemon.api("GET", &format!("dead-letters/{id}")).body));
    }
    daemon.stop();
    told.push(("the log after the end", daemon.stderr().into_bytes()));
    let stored = std::process::Command::new("cat").args(["-s"]).args(files(&daemon.data())).output().unwrap();
    told.push(("the store", stored.stdout));
    for (n, name) in names.iter().enumerate() {
        let secret = canary(n as u32);
        for (place, text) in &told {
            let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            run.check(!found, || format!("the secret of {name} stands in {place}"));
        }
    }
    run.note(format!("{} secrets, {} places", names.len(), told.len()));
}

/// Ways to say who we are, each with a secret of its own.
const KINDS: [(&str, &str); 8] = [
    ("bearer", "{bearer: {token: \"${S_BEARER}\"}}"),
    ("api_key", "{api_key: {in: {query: key}, key: \"${S_API_KEY}\"}}"),
    ("basic", "{basic: {username: ada, password: \"${S_BASIC}\"}}"),
    (
        "client",
        "{oauth2: {grant: client_credentials, client_id: karez, client_secret: \"${S_CLIENT}\", token_url: \"URLtoken\"}}",
    ),
    ("signing", "{hmac: {secret: \"${S_SIGNING}\", message: \"{body}\", headers: {X-S: \"{signature}\"}}}"),
    ("session", "{session: {url: \"URLlogin\", body: {password: \"${S_SESSION}\"}, token: $.token}}"),
    ("aws", "{aws_sigv4: {access_key_id: a, secret_access_key: \"${S_AWS}\", region: r, service: s}}"),
    ("oauth1", "{oauth1: {consumer_key: a, consumer_secret: \"${S_OAUTH1}\"}}"),
];

fn connections(url: &str) -> String {
    KINDS
        .map(|(kind, auth)| {
            format!("  {kind}: {{url: \"{url}{kind}\", auth: {}}}\n", auth.replace("URL", url))
        })
        .concat()
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// The admin side answers the holder of the token, and no page of anybody else.
pub(super) fn admin(run: &mut Run) {
    let hook = "source: {webhook: {path: /a, verify: {none: {reason: test}}}}\nsink: {blackhole: {}}\n";
    let daemon = daemon(run, "admin", &[("a", hook.into())], Launch::default());
    let token = std::fs::read_to_string(daemon.data().join("admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let status = |request: &Request| send(daemon.admin(), request).map_or(0, |answer| answer.status);
    let get = || Request::get("/api/v1/status");
    let with = || get().header("Authorization", &bearer);
    let reload = || Request::new("POST", "/api/v1/reload").header("Authorization", &bearer);
    let trace = |method: &str| {
        Request::new(method, "/api/v1/status").header("Authorization", &bearer).header("X-Karez", "1")
    };
    let refused: Vec<(&str, Request)> = vec![
        ("no token", get()),
        ("an empty token", get().header("Authorization", "Bearer ")),
        ("another token", get().header("Authorization", format!("Bearer {}x", token.trim()))),
        ("half a token", get().header("Authorization", format!("Bearer {}", &token[..token.len() / 2]))),
        ("another scheme", get().header("Authorization", format!("Basic {}", token.trim()))),
        ("another host", with().header("Host", "evil.test")),
        ("another origin", with().header("Origin", "http://evil.test")),
        ("no origin to speak of", with().header("Origin", "null")),
        ("another site", with().header("Sec-Fetch-Site", "cross-site")),
        ("a form", reload().header("Content-Type", "application/x-www-form-urlencoded")),
        ("a plain form", reload().header("Content-Type", "text/plain")),
        (
            "a write across",
            reload().header("Content-Type", "application/json").header("Origin", "https://evil.test"),
        ),
        ("TRACE", trace("TRACE")),
        ("PUT", trace("PUT")),
        ("OPTIONS", trace("OPTIONS")),
        ("metrics under another name", Request::get("/metrics").header("Host", "evil.test")),
    ];
    run.needs("refused request", refused.len() as u64);
    for (what, request) in &refused {
        let found = status(request);
        run.check([401, 403, 405].contains(&found), || format!("{what}: answered {found}"));
        run.fired("refused request", 1);
    }
    let answer = send(daemon.admin(), &with()).unwrap();
    run.check(answer.status == 200, || "the holder of the token is refused".into());
    for header in ["x-content-type-options", "cache-control", "content-security-policy"] {
        run.check(answer.header(header).is_some(), || format!("no {header}"));
    }
}

/// Clients that send one byte now and then: they go, and nobody else waits for them.
pub(super) fn slow_clients(run: &mut Run) {
    let clients = run.tier.of(200, 1_000, 2_000);
    run.needs("slow client", clients / 2);
    let mut rig = run.rig();
    rig.lane("hook-files", From::Webhook, To::Http(Manner::GOOD)).pace.senders = 2;
    rig.begin();
    rig.acks(50);
    let alone = rig.slowest(0);
    let begun = Instant::now();
    let mut slow: Vec<Connection> =
        (0..clients).filter_map(|_| Connection::open(rig.daemon.ingress()).ok()).collect();
    run.fired("slow client", slow.len() as u64);
    let heads = [
        "POST /webhooks/hook-files HTTP/1.1\r\nHost: a\r\n",
        "POST /webhooks/hook-files HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
    ];
    for (n, client) in slow.iter_mut().enumerate() {
        client.write(heads[n % 2].as_bytes()).ok();
    }
    let longest = Duration::from_secs(35);
    let mut closed = Duration::ZERO;
    while !slow.is_empty() && begun.elapsed() < longest {
        std::thread::sleep(Duration::from_millis(500));
        slow.retain_mut(|client| {
            let open = client.write(b" ").is_ok();
            if !open {
                closed = closed.max(begun.elapsed());
            }
            open
        });
    }
    let left = slow.len();
    run.check(left == 0, || format!("{left} slow clients are still there after {longest:?}"));
    let beside = rig.slowest(0);
    run.note(format!(
        "gone after {:.0} s; p99 {} ms alone, {} ms beside them",
        closed.as_secs_f64(),
        alone.as_millis(),
        beside.as_millis()
    ));
    rig.acks(10);
    rig.conclude();
    run.take(rig, 50);
}
