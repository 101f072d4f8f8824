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
    let nobody = Flood { connections: 0, requests: Vec::new() };
    drive_beside(port, connections, Duration::ZERO, requests, nobody).load
}

/// What came of a load with a flood beside it.
pub(crate) struct Beside {
    pub(crate) load: Load,
    pub(crate) flood_refused: usize,
}

/// With a pause before each request; ends with the flood, if there is one.
pub(crate) fn drive_beside(
    port: u16,
    connections: usize,
    pause: Duration,
    requests: Vec<Bytes>,
    flood: Flood,
) -> Beside {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = (connect(port, connections).await, connect(port, flood.connections).await);
        let before = Instant::now();
        let forged = begin(theirs, Duration::ZERO, flood.requests, "HTTP/1.1 401");
        let sent = begin(ours, pause, requests, "HTTP/1.1 200");
        let (is_flood, mut flood_refused) = (!forged.clients.is_empty(), 0);
        for client in forged.clients {
            flood_refused += client.await.unwrap().len();
        }
        if is_flood {
            sent.next.store(usize::MAX / 2, Ordering::Relaxed);
        }
        let mut times = Vec::new();
        for client in sent.clients {
            times.extend(client.await.unwrap());
        }
        let per_second = times.len() as f64 / before.elapsed().as_secs_f64();
        let refused = if is_flood { 0 } else { sent.total - times.len() };
        Beside { load: Load { per_second, times, refused }, flood_refused }
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

/// Clients at work.
struct Sent {
    total: usize,
    next: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

fn begin(streams: Vec<TcpStream>, pause: Duration, requests: Vec<Bytes>, expected: &'static str) -> Sent {
    let (total, requests, next) = (requests.len(), Arc::new(requests), Arc::<AtomicUsize>::default());
    let client =
        |stream| tokio::spawn(client(stream, pause, Arc::clone(&requests), Arc::clone(&next), expected));
    Sent { total, clients: streams.into_iter().map(client).collect(), next }
}

async fn client(
    mut stream: TcpStream,
    pause: Duration,
    requests: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
    expected: &'static str,
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
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
