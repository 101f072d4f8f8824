//! Connections that somebody logs in for, and tokens that outlive a daemon.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use karez_tests::{
    Connection, Daemon, Folder, Launch, OAuthServer, Oddities, PATIENCE, Receiver, Reply, Request, Slip,
    eventually, json, send, test_build,
};

/// A folder with a master key, a connection to `api` whose tokens come from `server`, and a pipeline that uses it.
fn folder(server: &OAuthServer, api: &str, grant: &str) -> Folder {
    let folder = Folder::new();
    folder.karez(&["secrets", "new-key", "master.key"]).exits(0);
    folder.write("karez.yaml", "master_key_file: master.key\n");
    let shared = format!(
        "connections:\n  crm:\n    url: {api}\n    probe: {{path: /me}}\n    auth:\n      oauth2:\n        {grant}\n        \
         client_id: karez\n        client_secret: s3cret\n        authorization_url: {}\n        token_url: {}\n        revocation_url: {}\n",
        server.url("/authorize"),
        server.url("/token"),
        server.url("/revoke"),
    );
    folder.pipeline("shared", &shared);
    let pipeline = "source: {webhook: {path: /in, verify: {none: {reason: test}}}}\n\
                    sink: {http: {connection: crm, path: /events}, retry: {initial: 20ms, max_wait: 100ms}}\n";
    folder.pipeline("orders", pipeline);
    folder
}

/// What `karez connect` says first, and the command, which waits.
fn connect(daemon: &Daemon, arguments: &[&str]) -> (String, Child) {
    let mut command = daemon.command(["connect", "crm"]);
    command.args(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    (url, child)
}

/// As a browser does it: yields status, address to go on to, and cookie.
fn open(url: &str, cookie: Option<&str>) -> (u16, Option<String>, Option<String>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut request = Request::get(path);
    if let Some(cookie) = cookie {
        request = request.header("Cookie", cookie);
    }
    let answer = Connection::open(host.parse().unwrap()).unwrap().send(&request).unwrap();
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let cookie = header("set-cookie").map(|cookie| cookie.split(';').next().unwrap().to_owned());
    (answer.status, header("location"), cookie)
}

/// The connections that readiness names.
fn ready(daemon: &Daemon) -> karez_tests::Json {
    let answer = Connection::open(daemon.admin()).unwrap().send(&Request::get("/readyz")).unwrap();
    assert_eq!(answer.status, 200);
    answer.json()["needs_login"].clone()
}

#[test]
fn somebody_logs_in_with_a_browser_and_what_waited_goes_out() {
    let server = OAuthServer::start();
    let daemon = Daemon::start(folder(&server, &server.url("/api"), "grant: authorization_code"));
    daemon.post("/webhooks/in", &json!({"id": 1}));
    eventually("the connection says that it needs a log-in", || {
        daemon.api("GET", "connections/crm").json()["auth"]["state"] == "needs_login"
    });
    assert_eq!(server.counts().token_calls, 0, "nobody hammers it");
    assert_eq!(ready(&daemon), json!(["crm"]));
    assert_eq!(daemon.metrics().value("karez_connection_needs_login{connection=\"crm\"}"), 1);
    let status = daemon.karez(&["status"]).exits(0).stdout;
    assert!(status.contains("credentials needs login"), "{status}");

    let (url, mut command) = connect(&daemon, &[]);
    let (status, there, cookie) = open(&url, None);
    assert_eq!(status, 303);
    let (_, back, _) = open(&there.unwrap(), None);
    let back = back.unwrap();
    // Another browser has no cookie, and a state counts once.
    let (status, ..) = open(&back, cookie.as_deref());
    assert_eq!(status, 200);
    assert_eq!(open(&back, cookie.as_deref()).0, 400);
    assert!(command.wait().unwrap().success());
    daemon.drained("orders");
    assert_eq!(server.counts().api_accepted, 1);
    assert_eq!(daemon.metrics().value("karez_api_calls_total{connection=\"crm\",result=\"success\"}"), 1);

    // What is in the address of a log-in is nobody else's business.
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!daemon.stderr().contains(code));
    daemon.karez(&["connections", "test", "crm"]).exits(0);
    daemon.karez(&["connections", "log-out", "crm"]).exits(0);
    assert!(server.counts().revocations >= 1);
    daemon.karez(&["connections", "test", "crm"]).exits(1);
}

#[test]
fn a_browser_that_cannot_reach_the_daemon_comes_back_to_its_own_machine() {
    let server = OAuthServer::start();
    let folder = folder(&server, &server.url("/api"), "grant: authorization_code");
    // Nobody listens there, and the file's own redirect address is about that listener.
    folder.write("karez.yaml", "master_key_file: master.key\npublic_url: http://127.0.0.1:1\n");
    let daemon = Daemon::start(folder);
    let (url, mut command) = connect(&daemon, &["--loopback"]);
    let base = &url[..url.find("/oauth/").unwrap()];
    assert!(base.starts_with("http://127.0.0.1:") && base != "http://127.0.0.1:1", "{url}");
    assert_ne!(base, format!("http://{}", daemon.ingress()));

    let (status, there, cookie) = open(&url, None);
    assert_eq!(status, 303);
    let (_, back, _) = open(&there.unwrap(), None);
    let back = back.unwrap();
    assert!(back.starts_with(&format!("{base}/oauth/callback?")), "{back}");
    // It passes on log-ins, to whoever was told its address, and nothing else.
    assert_eq!(open(&format!("{base}/api/v1/status"), None).0, 404);
    let address = base.strip_prefix("http://").unwrap().parse().unwrap();
    let rebound = Request::get("/oauth/callback").header("Host", "rebound.example");
    assert_eq!(Connection::open(address).unwrap().send(&rebound).unwrap().status, 404);
    assert_eq!(open(&back, cookie.as_deref()).0, 200);
    assert!(command.wait().unwrap().success());
    assert!(Connection::open(address).is_err(), "it is gone with the log-in");
    daemon.karez(&["connections", "test", "crm"]).exits(0);
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!daemon.stderr().contains(code));
}

fn is_refused_in_another_browser(arguments: &[&str]) {
    let server = OAuthServer::start();
    let daemon = Daemon::start(folder(&server, &server.url("/api"), "grant: authorization_code"));
    let (url, mut command) = connect(&daemon, arguments);
    let (_, there, _) = open(&url, None);
    let (_, back, _) = open(&there.unwrap(), None);
    assert_eq!(open(&back.unwrap(), Some("karez_login=somebody-else")).0, 400);
    assert!(!command.wait().unwrap().success());
    assert_eq!(server.counts().token_calls, 0);
}

#[test]
fn a_callback_counts_once_and_in_the_browser_that_began_on_any_machine() {
    is_refused_in_another_browser(&["--loopback"]);
}

#[test]
fn the_file_says_where_a_browser_comes_back_to_unless_it_is_this_machine() {
    let server = OAuthServer::start();
    let grant = "grant: authorization_code\n        redirect_url: https://karez.example/back";
    let daemon = Daemon::start(folder(&server, &server.url("/api"), grant));
    for (arguments, expected) in
        [(&[][..], "https%3A%2F%2Fkarez.example%2Fback"), (&["--loopback"], "http%3A%2F%2F127.0.0.1%3A")]
    {
        let (url, mut command) = connect(&daemon, arguments);
        let there = open(&url, None).1.unwrap();
        assert!(there.contains(&format!("redirect_uri={expected}")), "{there}");
        command.kill().unwrap();
        command.wait().unwrap();
    }
}

#[test]
fn a_browser_that_leaves_while_its_code_is_spent_has_logged_in_all_the_same() {
    let server = OAuthServer::start();
    let daemon = Daemon::start(folder(&server, &server.url("/api"), "grant: authorization_code"));
    let (url, mut command) = connect(&daemon, &[]);
    let (_, there, cookie) = open(&url, None);
    let (_, back, _) = open(&there.unwrap(), None);
    let back = back.unwrap();
    server.slip([Slip::Held]);
    let mut browser = Connection::open(daemon.ingress()).unwrap();
    let path = &back[back.find("/oauth/").unwrap()..];
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n", daemon.ingress(), cookie.unwrap());
    browser.write(head.as_bytes()).unwrap();
    server.holds(1);
    drop(browser);
    server.release();
    assert!(command.wait().unwrap().success());
    daemon.karez(&["connections", "test", "crm"]).exits(0);
}

#[test]
fn what_was_learnt_as_somebody_else_counts_no_more_after_a_log_in() {
    let server = OAuthServer::start();
    let folder = folder(&server, &server.url("/api"), "grant: authorization_code");
    let asks = "source: {webhook: {path: /ask, verify: {none: {reason: test}}}}\n\
                steps:\n  - enrich: {http: {connection: crm, path: /who}, into: $.who, cache: {key: who, ttl: 1h}}\n\
                sink: {files: {path: out.ndjson}}\n";
    folder.pipeline("asks", asks);
    let daemon = Daemon::start(folder);
    for log_ins in 1..=2 {
        let (url, mut command) = connect(&daemon, &[]);
        let (_, there, cookie) = open(&url, None);
        let (_, back, _) = open(&there.unwrap(), None);
        assert_eq!(open(&back.unwrap(), cookie.as_deref()).0, 200);
        assert!(command.wait().unwrap().success());
        for _ in 0..3 {
            daemon.post("/webhooks/ask", &json!({"id": 1}));
            daemon.drained("asks");
        }
        assert_eq!(server.counts().api_accepted, log_ins);
    }
}

#[test]
fn nobody_is_asked_to_log_in_where_tokens_come_without() {
    let server = OAuthServer::start();
    let daemon = Daemon::start(folder(&server, &server.url("/api"), "grant: client_credentials"));
    let told = daemon.karez(&["connect", "crm"]).exits(3).stderr;
    assert!(told.contains("nobody has to log in"), "{told}");
}

#[test]
fn a_callback_in_another_browser_is_refused() {
    is_refused_in_another_browser(&[]);
}

#[test]
fn a_daemon_that_is_killed_after_a_token_came_uses_it_when_it_is_back() {
    let server = OAuthServer::start();
    let far_end = Receiver::start_with(|_| Reply::Hang);
    let grant = format!("grant: refresh_token\n        refresh_token: {}", server.log_in());
    let mut daemon = Daemon::start(folder(&server, &far_end.url(""), &grant));
    daemon.post("/webhooks/in", &json!({"id": 1}));
    far_end.sees(1);
    daemon.kill();
    far_end.answer(|_| Reply::Status(200));
    daemon.restart();
    daemon.drained("orders");
    let counts = server.counts();
    assert_eq!((counts.token_calls, counts.reused), (1, 0), "{counts:?}");
    let tokens: Vec<String> =
        far_end.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]), "the same token before and after");
}

#[test]
fn a_daemon_that_is_killed_before_a_token_came_asks_again_once() {
    let server = OAuthServer::start_with(Oddities { grace: true, ..Oddities::default() });
    let far_end = Receiver::start();
    let grant = format!("grant: refresh_token\n        refresh_token: {}", server.log_in());
    let mut daemon = Daemon::start(folder(&server, &far_end.url(""), &grant));
    server.slip([Slip::Held]);
    daemon.post("/webhooks/in", &json!({"id": 1}));
    server.holds(1);
    daemon.kill();
    server.release();
    daemon.restart();
    daemon.drained("orders");
    assert_eq!(server.counts().families_revoked, 0);
    assert_eq!(server.counts().token_calls, 2);
    assert_eq!(far_end.taken().len(), 1);
}

/// At each write of the store, just before it is durable and just after: the intent to spend a refresh token, then what
/// came for it.
#[test]
fn a_daemon_that_dies_between_a_token_and_its_use_loses_none() {
    for (point, is_written) in [("progress::before_flush", false), ("crash::progress_synced", true)] {
        let mut died_with_a_token = 0;
        for number in 0..100 {
            let server = OAuthServer::start_with(Oddities { grace: true, ..Oddities::default() });
            let far_end = Receiver::start();
            let grant = format!("grant: refresh_token\n        refresh_token: {}", server.log_in());
            let launch = Launch { binary: Some(test_build()), ..Launch::default() };
            let mut daemon = Daemon::prepare(folder(&server, &far_end.url(""), &grant), launch);
            daemon.launch().set("FAILPOINTS", &format!("{point}={number}*off->panic"));
            let event = Request::post("/webhooks/in", json!({"id": 1}));
            // Where it dies before it is ready, nothing is asked of it.
            let accepted = daemon.try_restart(PATIENCE).is_ok()
                && send(daemon.ingress(), &event).is_ok_and(|answer| answer.status == 200);
            if accepted {
                eventually("it dies or is done", || !daemon.is_running() || !far_end.taken().is_empty());
            }
            if daemon.is_running() {
                break;
            }
            let has_come = server.counts().token_calls == 1;
            assert!(far_end.taken().is_empty(), "nothing is used before it is written");
            daemon.end();
            daemon.launch().unset("FAILPOINTS");
            daemon.restart();
            if !accepted {
                daemon.post("/webhooks/in", &json!({"id": 1}));
            }
            daemon.drained("orders");
            let counts = server.counts();
            assert_eq!((counts.reused, counts.families_revoked), (0, 0), "{point} {number}: {counts:?}");
            assert!(!far_end.taken().is_empty());
            if has_come {
                died_with_a_token += 1;
                let calls = if is_written { 1 } else { 2 };
                assert_eq!(counts.token_calls, calls, "{point} {number}: {counts:?}");
            }
        }
        assert_eq!(died_with_a_token, 1, "{point}");
    }
}
