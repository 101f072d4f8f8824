//! HTTP/1.1 as plainly as it gets, so that tests decide over every byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value as Json;

/// Nobody lets a client wait for so long.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A request as a test writes it.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }
    /// With `Content-Type: application/json`.
    #[must_use]
    pub fn post(path: &str, body: impl ToString) -> Self {
        Self::new("POST", path).header("Content-Type", "application/json").body(body.to_string())
    }
    /// In place of one of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.to_string()));
        self
    }
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("Host: {host}\r\n");
        }
        if !has("content-length") && self.method != "GET" {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// # Panics
    /// The body is not JSON.
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A connection that is kept open.
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_WITHIN))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// # Errors
    /// As [`Connection::answer`].
    pub fn send(&mut self, request: &Request) -> io::Result<Answer> {
        self.write(&request.bytes(self.address))?;
        self.answer()
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// The other side has closed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next answer.
    ///
    /// # Errors
    /// `UnexpectedEof` where the other side closed without one.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let (first, headers) = read_head(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(first.clone()))?;
        let body = match length(&headers) {
            Some(length) => exactly(&mut self.stream, length)?,
            None if status == 204 => Vec::new(),
            None => chunks(&mut self.stream)?,
        };
        Ok(Answer { status, headers, body })
    }

    /// The next line of an answer that streams, `None` at its end.
    ///
    /// # Errors
    /// The connection broke.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let n = self.stream.read_line(&mut line)?;
        Ok((n > 0).then(|| line.trim_end().to_owned()))
    }

    /// Everything until the other side closes.
    ///
    /// # Errors
    /// It does not.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// No answer came.
pub fn send(address: SocketAddr, request: &Request) -> io::Result<Answer> {
    Connection::open(address)?.send(&request.clone().header("Connection", "close"))
}

type Headers = Vec<(String, String)>;

pub(crate) fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The first line and the headers; `None` where the other side closed before.
pub(crate) fn read_head(from: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        match line.trim_end() {
            "" if lines.is_empty() => {}
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let first = lines.remove(0);
    let pair = |line: &String| line.split_once(':').map(|(name, value)| (name.into(), value.trim().into()));
    Ok(Some((first, lines.iter().filter_map(pair).collect())))
}

/// The body of a request or answer that says how long it is; empty otherwise.
pub(crate) fn read_body(from: &mut impl BufRead, headers: &Headers) -> io::Result<Vec<u8>> {
    match (length(headers), value(headers, "transfer-encoding")) {
        (Some(length), _) => exactly(from, length),
        (None, Some(_)) => chunks(from),
        (None, None) => Ok(Vec::new()),
    }
}

fn length(headers: &Headers) -> Option<usize> {
    value(headers, "content-length")?.parse().ok()
}

fn exactly(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let chunk = exactly(from, length + 2)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
