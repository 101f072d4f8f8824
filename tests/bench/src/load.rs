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

/// Sends all requests over `connections` connections; every answer must be a 200 or a 503.
pub(crate) fn drive(port: u16, connections: usize, requests: Vec<Bytes>) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let requests = Arc::new(requests);
        let next = Arc::new(AtomicUsize::new(0));
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            streams.push(stream);
        }
        let before = Instant::now();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(client(stream, Arc::clone(&requests), Arc::clone(&next))))
            .collect();
        let mut times = Vec::with_capacity(requests.len());
        for client in clients {
            times.extend(client.await.unwrap());
        }
        let refused = requests.len() - times.len();
        Load { per_second: times.len() as f64 / before.elapsed().as_secs_f64(), times, refused }
    })
}

async fn client(mut stream: TcpStream, requests: Arc<Vec<Bytes>>, next: Arc<AtomicUsize>) -> Vec<Duration> {
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
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
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
