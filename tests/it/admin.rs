//! The admin side: whom it answers, and what it says.

use std::os::unix::fs::PermissionsExt as _;

use karez_tests::{Daemon, Folder, Request, json, send};

use crate::webhook_to;

fn start() -> Daemon {
    Daemon::start(Folder::new().with("orders", &webhook_to("orders", "sink: {blackhole: {}}")))
}

fn status(daemon: &Daemon, request: &Request) -> u16 {
    send(daemon.admin(), request).unwrap().status
}

#[test]
fn health_and_metrics_need_no_token_and_the_api_does() {
    let daemon = start();
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(status(&daemon, &Request::get(path)), 200, "{path}");
    }
    let file = daemon.at(".karez/admin.token");
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let api = Request::get("/api/v1/status");
    assert_eq!(status(&daemon, &api), 401);
    for wrong in ["Bearer ", "Bearer wrong", "Basic YTpi"] {
        assert_eq!(status(&daemon, &api.clone().header("Authorization", wrong)), 401, "{wrong}");
    }
    assert_eq!(status(&daemon, &api.header("Authorization", format!("Bearer {}", token.trim()))), 200);
}

#[test]
fn the_token_stays_the_same_over_restarts() {
    let mut daemon = start();
    let token = daemon.read(".karez/admin.token");
    daemon.stop();
    daemon.restart();
    assert_eq!(daemon.read(".karez/admin.token"), token);
}

#[test]
fn pages_of_others_are_kept_out() {
    let daemon = start();
    let token = format!("Bearer {}", daemon.read(".karez/admin.token").trim());
    let api = Request::get("/api/v1/status").header("Authorization", &token);
    for path in ["/api/v1/status", "/metrics", "/readyz"] {
        let rebound = Request::get(path).header("Authorization", &token).header("Host", "evil.example");
        assert_eq!(status(&daemon, &rebound), 403, "{path}");
    }
    assert_eq!(status(&daemon, &api.clone().header("Origin", "http://evil.example")), 403);
    assert_eq!(status(&daemon, &api.clone().header("Sec-Fetch-Site", "cross-site")), 403);
    let own = daemon.admin();
    assert_eq!(status(&daemon, &api.clone().header("Origin", format!("http://{own}"))), 200);
    let form = Request::new("POST", "/api/v1/reload").header("Authorization", &token);
    assert_eq!(status(&daemon, &form.clone().header("Content-Type", "text/plain")), 403);
    assert_eq!(status(&daemon, &form.header("Content-Type", "application/json")), 200);
}

#[test]
fn the_api_shows_pipelines_and_their_nodes() {
    let daemon = start();
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.drained("orders");
    assert_eq!(daemon.api("GET", "pipelines").json()["pipelines"][0]["name"], "orders");
    let nodes = daemon.api("GET", "pipelines/orders/nodes").json();
    let kinds: Vec<&str> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["webhook", "blackhole"]);
    assert_eq!(daemon.api("GET", "pipelines/nobody").status, 404);
    assert_eq!(daemon.api("GET", "nonsense").status, 404);
}

#[test]
fn metrics_are_in_the_form_that_prometheus_reads() {
    let daemon = start();
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    daemon.drained("orders");
    let answer = send(daemon.admin(), &Request::get("/metrics")).unwrap();
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    let text = answer.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let typed = |name: &str| text.contains(&format!("# TYPE {name} "));
        assert!(typed(name) || typed(family), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let webhook = |figure: &str| {
        daemon.metrics().value(&format!("karez_webhook_{figure}_total{{pipeline=\"orders\"}}"))
    };
    assert_eq!((webhook("received"), webhook("processed"), webhook("failed")), (1, 1, 0));
    assert_eq!(daemon.metrics().value("karez_processing_seconds_count{pipeline=\"orders\"}"), 1);
}
