//! The load: connections that send a request, wait for its answer, and send the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) times: Vec<Duration>,
    /// Answered with 503: not accepted, and not to be expected.
    pub(crate) refused: usize,
}

/// Requests that have to be refused.
pub(crate) struct Flood {
    pub(crate) connections: usize,
    pub(crate) requests: Vec<Bytes>,
}

/// Sends all requests over `connections` connections; every answer must be a 200 or a 503.
pub(crate) fn drive(port: u16, connections: usize, requests: Vec<Bytes>) -> Load {
    drive_beside(port, connections, requests, Flood { connections: 0, requests: Vec::new() }).0
}

/// The same while a flood goes on, which begins at the same time; how many of it were refused.
pub(crate) fn drive_beside(
    port: u16,
    connections: usize,
    requests: Vec<Bytes>,
    flood: Flood,
) -> (Load, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let total = requests.len();
        let (ours, theirs) = (connect(port, connections).await, connect(port, flood.connections).await);
        let before = Instant::now();
        let flooding = begin(theirs, flood.requests, "HTTP/1.1 401");
        let mut times = Vec::with_capacity(total);
        for client in begin(ours, requests, "HTTP/1.1 200") {
            times.extend(client.await.unwrap());
        }
        let per_second = times.len() as f64 / before.elapsed().as_secs_f64();
        let mut refused = 0;
        for client in flooding {
            refused += client.await.unwrap().len();
        }
        (Load { per_second, refused: total - times.len(), times }, refused)
    })
}

async fn connect(port: u16, connections: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    streams
}

fn begin(
    streams: Vec<TcpStream>,
    requests: Vec<Bytes>,
    expected: &'static str,
) -> Vec<tokio::task::JoinHandle<Vec<Duration>>> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let client = |stream| tokio::spawn(client(stream, Arc::clone(&requests), Arc::clone(&next), expected));
    streams.into_iter().map(client).collect()
}

async fn client(
    mut stream: TcpStream,
    requests: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
    expected: &'static str,
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let before = Instant::now();
        stream.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            let n = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(n > 0, "the server closed the connection");
            filled += n;
            if is_whole(&buffer[..filled]) {
                break;
            }
        }
        if buffer.starts_with(b"HTTP/1.1 503") {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        assert!(buffer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&buffer[..filled]));
        times.push(before.elapsed());
    }
    times
}

/// Whether an answer is there with its body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    answer.len() >= end + 4 + length.and_then(|length| length.parse::<usize>().ok()).unwrap_or_default()
}
