//! The admin side over real sockets: who gets in, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use karez_api::Json;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Admin, Guard, Request, Token};
use crate::reload::Pass;
use crate::server::{Limits, Server, Serving};
use crate::testing::Inside;

/// An admin side at work, with a manager that makes the passes that are asked for.
pub(super) struct Desk {
    pub(super) inside: Inside,
    pub(super) address: std::net::SocketAddr,
    authorization: String,
    pub(super) requests: mpsc::Receiver<Request>,
    serving: Serving,
}

impl Desk {
    pub(super) async fn new() -> Self {
        let inside = Inside::new().await;
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), Limits::ADMIN).await.unwrap();
        let address = server.address();
        let token = Token::ensure(inside.folder.path()).unwrap();
        let authorization = token.header();
        let (manager, requests) = mpsc::channel(4);
        let guard = Guard::new(token, &[], address);
        let (fleet, ingress) = (Arc::clone(&inside.fleet), Arc::clone(&inside.ingress));
        fleet.set_ready(true);
        let serving = server.begin(Arc::new(Admin {
            guard,
            fleet,
            ingress,
            manager,
            public_url: String::new(),
            settings: crate::settings::Layer::default().into(),
            recordings: tokio::sync::Semaphore::new(1),
        }));
        Self { inside, address, authorization, requests, serving }
    }

    /// A request with the token.
    pub(super) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let head = format!(
            "host: localhost\r\nauthorization: {}\r\ncontent-type: application/json\r\nconnection: close\r\n",
            self.authorization
        );
        format!("{method} {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{body}", body.len())
    }

    /// What is answered to it: status and body.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let (status, body) = raw(self.address, &self.request(method, path, body)).await;
        (status, serde_json::from_str(&body).unwrap_or(Json::String(body)))
    }

    pub(super) async fn close(mut self) {
        self.serving.stop();
        self.serving.finish(Duration::from_secs(5)).await;
        self.inside.close().await;
    }
}

pub(super) async fn raw(address: std::net::SocketAddr, request: &str) -> (u16, String) {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A pipeline that refuses every record.
const REFUSING: &str = "source: {generate: {count: 2}}\nsteps: [{id: must, validate: {schema: {required: [nope]}}}]\n\
                        sink: {blackhole: {}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn health_is_for_everybody_and_the_api_for_whoever_has_the_token() {
    let desk = Desk::new().await;
    for (path, headers, expected) in [
        ("/livez", "host: localhost\r\n", 200),
        ("/readyz", "host: localhost\r\n", 200),
        ("/metrics", "host: localhost\r\n", 200),
        ("/livez", "host: evil.test\r\n", 403),
        ("/livez", "host: localhost\r\norigin: http://evil.test\r\n", 403),
        ("/api/v1/status", "host: localhost\r\n", 401),
        ("/api/v1/status", "host: localhost\r\nauthorization: Bearer 0000\r\n", 401),
        ("/nothing", "host: localhost\r\n", 401),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        assert_eq!(raw(desk.address, &request).await.0, expected, "{path} {headers:?}");
    }
    assert_eq!(desk.ask("GET", "/api/v1/status", "").await.0, 200);
    assert_eq!(desk.ask("GET", "/api/v1/nothing", "").await.0, 404);
    desk.inside.fleet.set_ready(false);
    assert_eq!(desk.ask("GET", "/readyz", "").await.0, 503);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", REFUSING);
    desk.inside.pass(Pass::Changes).await;
    desk.inside.running("a").pipeline.finished().await;

    let (_, all) = desk.ask("GET", "/api/v1/dead-letters?pipeline=a", "").await;
    let ids: Vec<String> = all["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    let (status, letter) = desk.ask("GET", &format!("/api/v1/dead-letters/{}", ids[0]), "").await;
    assert_eq!((status, letter["node"].as_str()), (200, Some("must")));
    let (status, page) = desk.ask("GET", &format!("/api/v1/dead-letters?after={}", ids[0]), "").await;
    assert_eq!((status, page["dead_letters"].as_array().map(Vec::len)), (200, Some(1)));

    // Its pipeline has ended.
    let path = format!("/api/v1/dead-letters/{}/replay", ids[0]);
    assert_eq!(desk.ask("POST", &path, "").await.0, 409);
    assert_eq!(desk.ask("POST", &path, "{\"too\": 1}").await.0, 400);

    let path = format!("/api/v1/dead-letters/{}", ids[1]);
    assert_eq!(desk.ask("DELETE", &path, "").await.0, 200);
    assert_eq!(desk.ask("DELETE", &path, "").await.0, 404);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_dead_letter_goes_through() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", &REFUSING.replace("count: 2", "rate: 1/h"));
    desk.inside.pass(Pass::Changes).await;
    let letters = Arc::clone(&desk.inside.fleet.letters);
    while letters.totals().0 == 0 {
        tokio::task::yield_now().await;
    }
    let id = letters.list(None, None, 1).await.unwrap().remove(0).id;
    let path = format!("/api/v1/dead-letters/{id}/replay");
    let (status, answer) = desk.ask("POST", &path, &json!({"to": "nowhere"}).to_string()).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("unknown_node")));
    let (status, _) = desk.ask("POST", &path, &json!({"body": "{\"nope\": 1}"}).to_string()).await;
    assert_eq!(status, 200);
    assert_eq!(letters.totals().0, 0);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_answers_with_what_it_did() {
    let mut desk = Desk::new().await;
    desk.inside.write_hook("a.yaml", "/a");
    let (_, none) = mpsc::channel(1);
    let mut requests = std::mem::replace(&mut desk.requests, none);
    let (address, request) = (desk.address, desk.request("POST", "/api/v1/reload", ""));
    let passes = async {
        let Some(Request::Reload(request)) = requests.recv().await else { panic!("no reload") };
        request.tell.send(Ok(desk.inside.pass(request.pass).await)).unwrap();
    };
    let ((status, report), ()) = tokio::join!(raw(address, &request), passes);
    let report: Json = serde_json::from_str(&report).unwrap();
    assert_eq!((status, &report["started"]), (200, &json!(["a"])));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_pipeline_goes_only_once_nobody_defines_it() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", REFUSING);
    desk.inside.pass(Pass::Changes).await;
    desk.inside.running("a").pipeline.finished().await;
    assert_eq!(desk.ask("DELETE", "/api/v1/pipelines/a/state", "").await.0, 409);
    desk.inside.write("a.yaml", "name: a\nsource: [");
    desk.inside.pass(Pass::Changes).await;
    assert_eq!(
        desk.ask("DELETE", "/api/v1/pipelines/a/state", "").await.0,
        409,
        "a wrong file defines it, too"
    );
    desk.inside.remove("a.yaml");
    desk.inside.pass(Pass::Changes).await;
    while desk.inside.fleet.pipelines().contains_key("a") {
        tokio::task::yield_now().await;
    }
    let (status, gone) = desk.ask("DELETE", "/api/v1/pipelines/a/state", "").await;
    assert_eq!((status, &gone["dead_letters"]), (200, &json!(2)));
    assert_eq!(desk.inside.fleet.letters.totals().0, 0);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_shows_records_as_they_pass() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", "source: {generate: {rate: 50/s}}\nsink: {blackhole: {}}\n");
    desk.inside.pass(Pass::Changes).await;
    assert_eq!(desk.ask("GET", "/api/v1/tap/b", "").await.0, 404);
    assert_eq!(desk.ask("GET", "/api/v1/tap/a.nowhere", "").await.0, 404);
    let mut client = TcpStream::connect(desk.address).await.unwrap();
    let authorization = &desk.authorization;
    let request = format!(
        "GET /api/v1/tap/a.sink HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"node\":\"sink\"") {
        let mut piece = [0; 4_096];
        let n = client.read(&mut piece).await.unwrap();
        assert!(n > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&piece[..n]).unwrap());
    }
    assert!(seen.contains("application/x-ndjson"), "{seen}");
    drop(client);
    desk.close().await;
}
