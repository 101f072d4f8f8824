//! What all layers of a connection cost on a request with an OAuth 2.0 token that was got before: the same GET through
//! a bare reqwest client and through the connection, in turns.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use karez_net::{Connections, Options, Request, check};
use karez_runtime::SystemClock;
use serde_json::json;

use crate::{intake, stats};

/// Requests of one turn, and turns of one round.
const TOGETHER: usize = 250;
const TURNS: usize = 20;

pub(crate) fn run(rounds: usize) {
    let server = intake::Bare::start();
    let url = format!("http://127.0.0.1:{}", server.port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results: Vec<[f64; 3]> = (0..rounds).map(|_| runtime.block_on(round(&url))).collect();
    let figures = |which: usize| results.iter().map(|figures| figures[which]).collect::<Vec<f64>>();
    let (bare, layers, again) = (figures(0), figures(1), figures(2));
    let added: Vec<f64> = layers.iter().zip(&bare).map(|(layers, bare)| layers - bare).collect();
    println!(
        "client: {:.1} µs a request through all layers, {:.1} µs bare: {:.1} µs more, {} of bare, noise {}",
        stats::median(layers.clone()),
        stats::median(bare.clone()),
        stats::median(added),
        stats::ratio(&layers, &bare),
        stats::ratio(&again, &bare),
    );
}

/// Medians in µs: bare, through the layers, bare again.
async fn round(url: &str) -> [f64; 3] {
    let tokens = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token_url = format!("http://{}/token", tokens.local_addr().unwrap());
    let issuing = tokio::spawn(issue(tokens));
    let connections = Connections::new(Arc::new(SystemClock), None, options());
    let checked = check("bench", &settings(url, &token_url)).unwrap();
    let connection = connections.open(&checked).unwrap();
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    let place = connection.url("items/1").unwrap();
    connection.call(Request::new(http::Method::GET, place.clone())).await.unwrap();
    issuing.abort();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        for which in [0, 1, 2] {
            for _ in 0..TOGETHER {
                let begun = Instant::now();
                match which {
                    1 => {
                        let answer = connection.call(Request::new(http::Method::GET, place.clone())).await;
                        assert_eq!(answer.unwrap().body.len(), 15);
                    }
                    _ => {
                        let answer = bare.get(place.clone()).bearer_auth("token").header("x-tenant", "acme");
                        let answer = answer.send().await.unwrap();
                        assert_eq!(answer.bytes().await.unwrap().len(), 15);
                    }
                }
                times[which].push(begun.elapsed());
            }
        }
    }
    connections.close().await;
    times.map(|mut times: Vec<Duration>| stats::percentile(&mut times, 0.5).as_secs_f64() * 1e6)
}

/// Tokens that count for an hour.
async fn issue(listener: tokio::net::TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let token = |_| async {
                let token = Bytes::from_static(
                    br#"{"access_token": "token", "token_type": "Bearer", "expires_in": 3600}"#,
                );
                Ok::<_, Infallible>(Response::new(Full::new(token)))
            };
            let connection = hyper::server::conn::http1::Builder::new();
            connection.serve_connection(TokioIo::new(stream), service_fn(token)).await.ok();
        });
    }
}

fn settings(url: &str, token_url: &str) -> serde_json::Value {
    json!({
        "url": url,
        "headers": {"X-Tenant": "acme"},
        "auth": {"oauth2": {"grant": "client_credentials", "token_url": token_url, "client_id": "bench", "client_secret": "s"}},
        "cache": {},
        "errors": [{"status": [400], "body": "$.error.code", "is": ["expired"], "means": "auth"}],
        "limits": {
            "quotas": [{"rate": "1000000/s", "burst": 1000}, {"window": "1s", "requests": 100_000}],
            "concurrency": 64,
        },
    })
}

pub(crate) fn options() -> Options {
    Options { allow_private: vec!["127.0.0.0/8".parse().unwrap()], ..Options::default() }
}
