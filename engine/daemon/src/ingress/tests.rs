//! The ingress over real sockets: what a sender sees when it breaks a rule.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use karez_api::{Claim, Endpoint, Ingress as _, RequestHead, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Gate, Ingress};
use crate::server::{Limits, Server};

struct Echo;

#[async_trait::async_trait]
impl Endpoint for Echo {
    fn admit(&self, head: &RequestHead) -> Result<(), Response> {
        match head.parts.method {
            http::Method::POST => Ok(()),
            _ => Err(crate::server::error(StatusCode::METHOD_NOT_ALLOWED, "method", "POST only")),
        }
    }
    fn max_body(&self) -> usize {
        1_000
    }
    async fn call(&self, _: RequestHead, body: Bytes) -> Response {
        Response::new(body)
    }
}

/// Sends `request` and returns everything that comes back until the server closes.
async fn exchange(gate: Gate, request: &[u8]) -> String {
    let limits = Limits { header_time: Duration::from_millis(100), ..Limits::INGRESS };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
    let address = server.address();
    let ingress = Arc::new(Ingress::new(Vec::new(), crate::testing::connections()));
    ingress.set_gate(gate);
    let _mount = ingress.mount("test", "/echo", Arc::new(Echo)).unwrap();
    let (stop, stops) = watch::channel(false);
    let mut serving = JoinSet::new();
    serving.spawn(server.serve(Arc::clone(&ingress), stops));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    stop.send_replace(true);
    serving.join_all().await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn each_broken_rule_has_its_answer() {
    let large = "x".repeat(2_000);
    let many = format!("GET /echo HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "y".repeat(70_000));
    for (request, expected) in [
        ("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi".to_owned(), "HTTP/1.1 200 OK"),
        ("POST /other HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), "HTTP/1.1 404 Not Found"),
        ("GET /echo HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "HTTP/1.1 405 Method Not Allowed"),
        (
            format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n{large}"),
            "HTTP/1.1 413 Payload Too Large",
        ),
        (
            format!(
                "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{large}\r\n0\r\n\r\n"
            ),
            "HTTP/1.1 413 Payload Too Large",
        ),
        (many, "HTTP/1.1 431 Request Header Fields Too Large"),
    ] {
        let answer = exchange(Gate::Open, request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let answer = exchange(Gate::Open, b"POST /echo HTTP/1.1\r\nhost: a\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn a_shut_gate_asks_to_come_again() {
    let answer = exchange(Gate::Shut, b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 5"), "{answer}");
}

#[tokio::test]
async fn a_path_whose_pipeline_does_not_run_is_not_unknown() {
    let ingress = Ingress::new(Vec::new(), crate::testing::connections());
    ingress.set_gate(Gate::Open);
    let status = |path: &str| ingress.endpoint(path).err().map(|refusal| refusal.status().as_u16());
    ingress.expect(&[Claim::IngressPath("/webhooks/a".into())]);
    assert_eq!(status("/webhooks/a"), Some(503));
    assert_eq!(status("/webhooks/b"), Some(404));
    let _mount = ingress.mount("a/source", "/webhooks/a", Arc::new(Echo)).unwrap();
    assert_eq!(status("/webhooks/a"), None);
}

#[tokio::test]
async fn a_request_waits_for_a_path_that_is_handed_over_and_for_no_other() {
    let ingress = Ingress::new(Vec::new(), crate::testing::connections());
    ingress.set_gate(Gate::Open);
    ingress.expect(&[Claim::IngressPath("/webhooks/a".into())]);
    let found = |path: &'static str| {
        let ingress = &ingress;
        async move { ingress.endpoint_soon(path).await.map(drop).map_err(|refusal| refusal.status().as_u16()) }
    };
    assert_eq!(found("/webhooks/a").await, Err(503));
    let changing = ingress.changing();
    assert_eq!(found("/webhooks/b").await, Err(404));
    let mut waiting = std::pin::pin!(found("/webhooks/a"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let _mount = ingress.mount("b/source", "/webhooks/a", Arc::new(Echo)).unwrap();
    assert_eq!(waiting.await, Ok(()));
    ingress.expect(&[Claim::IngressPath("/webhooks/c".into())]);
    let mut in_vain = std::pin::pin!(found("/webhooks/c"));
    assert!(futures_util::poll!(&mut in_vain).is_pending());
    drop(changing);
    assert_eq!(in_vain.await, Err(503));
}
