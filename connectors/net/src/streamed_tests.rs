//! Answers that are read while they come.

use std::io::Write as _;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::Tally;

async fn rest(streamed: &mut Streamed) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(piece) = streamed.next().await? {
        assert!(!piece.is_empty() && piece.len() <= 64 << 10, "{}", piece.len());
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// A far end that a test answers for, byte by byte.
struct Peer(TcpListener);

impl Peer {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }
    fn url(&self) -> String {
        format!("http://{}/", self.0.local_addr().unwrap())
    }
    /// The next request has come, and gets the beginning of an answer.
    async fn answer(&self, head: &str) -> TcpStream {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

#[tokio::test]
async fn an_answer_comes_in_pieces_and_may_be_larger_than_others() {
    let body: Bytes = (0..3 << 20).map(|n: u32| n as u8).collect::<Vec<_>>().into();
    let sent = body.clone();
    let server = Server::start(move |_| answer(200, &[("x-kind", "export")], sent.clone())).await;
    let connection = opened(&json!({"url": url(&server), "max_response": "1MiB"}), &TestClock::still());
    let tally = Arc::<Tally>::default();
    let request = Request { tally: Some(Arc::clone(&tally)), ..get(server.url("/")) };
    assert_eq!(connection.call(request.clone()).await.unwrap_err().fault.code(), "response_too_large");

    let larger = Request { max_response: Some(4 << 20), ..request.clone() };
    let mut streamed = connection.stream(larger.clone()).await.unwrap();
    assert_eq!(
        (streamed.status.as_u16(), &streamed.headers["x-kind"]),
        (200, &HeaderValue::from_static("export"))
    );
    assert_eq!(rest(&mut streamed).await.unwrap(), body);
    assert_eq!(streamed.next().await.unwrap(), None);
    assert_eq!(tally.bytes.load(Ordering::SeqCst), 3 << 20);
    assert_eq!(connection.call(larger).await.unwrap().body, body);

    let mut streamed = connection.stream(request).await.unwrap();
    for _ in 0..2 {
        let failure = rest(&mut streamed).await.unwrap_err();
        assert_eq!(failure.fault.code(), "response_too_large", "and never its end");
    }
}

#[tokio::test]
async fn an_answer_that_is_packed_for_the_way_comes_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b'x'; 2 << 20]).unwrap();
    let packed = Bytes::from(packer.finish().unwrap());
    let server = Server::start(move |_| answer(200, &[("content-encoding", "gzip")], packed.clone())).await;
    let connection = opened(&json!({"url": url(&server), "max_response": "1MiB"}), &TestClock::still());
    let request = Request { max_response: Some(2 << 20), ..get(server.url("/")) };
    let mut streamed = connection.stream(request).await.unwrap();
    assert_eq!(rest(&mut streamed).await.unwrap(), vec![b'x'; 2 << 20]);
    let mut streamed = connection.stream(get(server.url("/"))).await.unwrap();
    assert_eq!(rest(&mut streamed).await.unwrap_err().fault.code(), "response_too_large");
}

#[tokio::test]
async fn a_packed_answer_is_handed_on_as_it_comes_and_ends_only_where_it_says_so() {
    let peer = Peer::start().await;
    let connection = opened(&json!({"url": peer.url()}), &TestClock::still());
    let call = || connection.stream(get(peer.url().parse().unwrap()));
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(b"first line\n").unwrap();
    packer.flush().unwrap();
    let begun = packer.get_ref().len();
    packer.write_all(b"second line\n").unwrap();
    let packed = packer.finish().unwrap();
    let closed = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    let counted = format!("{}content-length: {}\r\n\r\n", &closed[..closed.len() - 2], packed.len());
    for (head, missing, whole) in
        [(closed, 0, true), (closed, 4, false), (&counted, 0, true), (&counted, 4, false)]
    {
        let begin = async {
            let mut stream = peer.answer(head).await;
            stream.write_all(&packed[..begun]).await.unwrap();
            stream
        };
        let (streamed, mut stream) = tokio::join!(call(), begin);
        let mut streamed = streamed.unwrap();
        assert_eq!(streamed.next().await.unwrap().unwrap(), "first line\n");
        assert!(!streamed.headers.contains_key("content-encoding"));
        stream.write_all(&packed[begun..packed.len() - missing]).await.unwrap();
        drop(stream);
        assert_eq!(streamed.next().await.unwrap().unwrap(), "second line\n");
        for _ in 0..2 {
            let end = streamed.next().await.map_err(|failure| (failure.fault.class(), failure.effect));
            let expected = if whole { Ok(None) } else { Err((Class::Connection, Effect::Unknown)) };
            assert_eq!(end, expected, "{head}");
        }
    }
    let damaged = async { peer.answer(closed).await.write_all(b"this is no gzip at all").await.unwrap() };
    let (streamed, ()) = tokio::join!(call(), damaged);
    assert_eq!(streamed.err().unwrap().fault.class(), Class::Connection);
}

#[tokio::test]
async fn it_passes_all_that_a_call_passes() {
    let tries = AtomicUsize::default();
    let server = Server::start(move |asked| match (asked.uri().path(), header(asked, "authorization")) {
        ("/page", _) => answer(200, &[("content-type", "text/html")], "<html>Log in</html>"),
        ("/rule", _) => answer(200, &[("content-type", "text/csv")], r#"{"error":"busy"}"#),
        ("/empty", _) => answer(200, &[], ""),
        (_, Some("Bearer t0")) => answer(401, &[], "who?"),
        _ if tries.fetch_add(1, Ordering::SeqCst) == 0 => answer(503, &[], "down"),
        _ => answer(200, &[("content-type", "text/csv"), ("cache-control", "max-age=60")], "a\n1\n"),
    })
    .await;
    let connection = authorized(&json!({
        "url": url(&server),
        "cache": {},
        "errors": [{"body": "$.error", "means": "rate_limit"}],
    }));
    let asked = |path: &str| Request { accepts: Some(&["text/csv"]), ..get(server.url(path)) };
    let failure = connection.stream(asked("/page")).await.err().unwrap();
    assert_eq!(failure.fault.code(), "unexpected_content");
    assert!(failure.fault.message().contains("<html>Log in</html>"), "{}", failure.fault);
    assert_eq!(connection.stream(asked("/rule")).await.err().unwrap().fault.class(), Class::RateLimit);
    assert_eq!(connection.stream(asked("/empty")).await.unwrap().next().await.unwrap(), None);

    let before = server.asked().len();
    let failure = connection.stream(asked("/export")).await.err().unwrap();
    assert_eq!(
        failure.fault.code(),
        "http_503",
        "after it was refused and came again with other credentials"
    );
    assert_eq!(failure.response.unwrap().body, "down");
    assert_eq!(server.asked().len() - before, 2);
    for _ in 0..2 {
        let mut streamed = connection.stream(asked("/export")).await.unwrap();
        assert_eq!(rest(&mut streamed).await.unwrap(), b"a\n1\n");
    }
    assert_eq!(server.asked().len() - before, 4, "none of them is kept");
    connection.call(asked("/export")).await.unwrap();
    assert!(connection.call(asked("/export")).await.unwrap().cached);
    connection.stream(asked("/export")).await.unwrap();
    assert_eq!(server.asked().len() - before, 6, "nor used again");
}

#[tokio::test]
async fn a_body_that_breaks_off_or_stands_still_is_never_a_whole_one() {
    let peer = Peer::start().await;
    let clock = TestClock::still();
    let settings = json!({"url": peer.url(), "timeout": "7s"});
    let connection = opened(&settings, &clock);
    let call = || connection.stream(get(peer.url().parse().unwrap()));
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (streamed, stream) = tokio::join!(call(), peer.answer(head));
        let mut streamed = streamed.unwrap();
        assert_eq!(streamed.next().await.unwrap().unwrap(), "half");
        drop(stream);
        for _ in 0..2 {
            let failure = streamed.next().await.unwrap_err();
            assert_eq!((failure.fault.class(), failure.effect), (Class::Connection, Effect::Unknown));
        }
    }
    let (streamed, mut stream) =
        tokio::join!(call(), peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"));
    let mut streamed = streamed.unwrap();
    assert_eq!(streamed.next().await.unwrap().unwrap(), "half");
    clock.pass(Duration::from_secs(5));
    stream.write_all(b"more").await.unwrap();
    assert_eq!(streamed.next().await.unwrap().unwrap(), "more");
    {
        let mut next = std::pin::pin!(streamed.next());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        clock.pass(Duration::from_secs(5));
        assert!(futures_util::poll!(next.as_mut()).is_pending(), "only the time between two pieces counts");
    }
    let failure = {
        let mut next = std::pin::pin!(streamed.next());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        clock.pass(Duration::from_secs(7));
        next.await.unwrap_err()
    };
    assert_eq!(failure.fault.code(), "timeout");
    let expected = format!("ConnectionError: GET {} sent nothing more for 7s", peer.url());
    assert_eq!(failure.fault.message(), expected);
    assert_eq!(streamed.next().await.unwrap_err().fault.code(), "timeout");
}
