//! An HTTP server that does as it is told, byte by byte, for tests.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// A request as it came over the wire.
pub(crate) struct Seen {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice");
        value
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Seen> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let mut seen = Seen { line: first, headers, body: String::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).unwrap();
    Some(seen)
}

/// What a server does with a request.
pub(crate) enum Answer {
    /// Writes this and closes the connection.
    Close(String),
    /// Writes this and keeps the connection open until the test ends.
    Hold(String),
}

/// An answer without a body.
pub(crate) fn status(line: &str) -> Answer {
    Answer::Close(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

/// An answer with a body.
pub(crate) fn body(text: &str) -> Answer {
    let length = text.len();
    Answer::Close(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"))
}

/// One connection after the other, one request each.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Receiver<Seen>,
    _end: Sender<()>,
}

impl Server {
    pub(crate) fn start(mut answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, seen) = channel();
        let (end, ended) = channel();
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&mut BufReader::new(&stream)) else {
                    continue;
                };
                let answer = answer(&request);
                if tell.send(request).is_err() {
                    return;
                }
                let (Answer::Close(text) | Answer::Hold(text)) = &answer;
                // A client may go away before it was told everything.
                drop(stream.write_all(text.as_bytes()));
                if matches!(answer, Answer::Hold(_)) {
                    held.push(stream);
                    assert!(ended.recv().is_err());
                    return;
                }
            }
        });
        Self { url, seen, _end: end }
    }

    pub(crate) fn always(line: &'static str) -> Self {
        Self::start(move |_| status(line))
    }

    /// The requests so far; each is told before it is answered.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}
