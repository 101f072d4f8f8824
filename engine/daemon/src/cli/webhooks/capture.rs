//! A request as it was captured: as it came over the wire, or nearly so. Editors and tools change line ends and
//! leave parts out; what can be understood is taken, and what looks wrong is told.

use karez_connectors::webhooks::Call;

use crate::diagnostics::counted;

/// A request with remarks about how it was read.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) call: Call,
    pub(super) remarks: Vec<String>,
}

/// # Errors
/// It is no request, in a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<Capture, String> {
    let (head, body) = split(bytes);
    let head = std::str::from_utf8(head).map_err(|_| "the head of the request is not text")?;
    let mut lines = head.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
    let first = lines.peek().copied().ok_or("there is no request to read")?;
    let (method, url) = match request_line(first) {
        Some((method, target)) => {
            lines.next();
            (method.to_owned(), target.to_owned())
        }
        None => ("POST".into(), "/".into()),
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("{line:?} is neither a request line nor a header"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut remarks = Vec::new();
    let body = whole(body, &headers, &mut remarks);
    Ok(Capture { call: Call { method, url, headers, body: body.into() }, remarks })
}

/// At the first empty line.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let begun = at > 0;
        at += line.len();
        if begun && line.trim_ascii().is_empty() {
            return (&bytes[..at], &bytes[at..]);
        }
    }
    (bytes, b"")
}

fn request_line(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next());
    let fits = method.bytes().all(|byte| byte.is_ascii_uppercase())
        && version.is_none_or(|it| it.starts_with("HTTP/"));
    fits.then_some((method, target))
}

/// The body that the headers announce.
fn whole(body: &[u8], headers: &[(String, String)], remarks: &mut Vec<String>) -> Vec<u8> {
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| &**value)
    };
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        && let Some(whole) = unchunked(body)
    {
        return whole;
    }
    match header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length < body.len() => {
            let rest = &body[length..];
            if !rest.trim_ascii().is_empty() {
                let rest = counted(rest.len(), "byte");
                remarks.push(format!("content-length is {length}: {rest} behind it left out"));
            }
            body[..length].to_vec()
        }
        Some(length) if length > body.len() => {
            let n = counted(body.len(), "byte");
            remarks
                .push(format!("content-length is {length}, but the body has {n}: it is not as it was sent"));
            body.to_vec()
        }
        _ => body.to_vec(),
    }
}

/// Nothing where these are no chunks: many tools print the body put together.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let chunk = rest.get(end + 1..)?;
        whole.extend_from_slice(chunk.get(..size)?);
        let behind = chunk.get(size..)?;
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.strip_prefix(b"\n"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> (String, Vec<String>) {
        let capture = read(text.as_bytes()).unwrap();
        (String::from_utf8(capture.call.body.to_vec()).unwrap(), capture.remarks)
    }

    #[test]
    fn a_request_is_read_as_it_came() {
        let capture =
            read(b"PUT /webhooks/a?b=c HTTP/1.1\r\nHost: x\r\nX-Time: 10:15\r\n\r\n{\"a\":\r\n1}").unwrap();
        let Call { method, url, headers, body } = capture.call;
        assert_eq!((&*method, &*url), ("PUT", "/webhooks/a?b=c"));
        assert_eq!(headers, [("Host".into(), "x".into()), ("X-Time".to_owned(), "10:15".to_owned())]);
        assert_eq!(body, "{\"a\":\r\n1}");
    }

    #[test]
    fn headers_alone_and_the_line_ends_of_an_editor_are_understood() {
        let capture = read(b"X-A: 1\nX-B: 2\n\nbody\n").unwrap();
        assert_eq!((&*capture.call.method, capture.call.headers.len()), ("POST", 2));
        assert_eq!(capture.call.body, "body\n");
        assert_eq!(read(b"X-A: 1").unwrap().call.body, "");
    }

    #[test]
    fn the_body_is_as_long_as_its_headers_say() {
        assert_eq!(body("POST / HTTP/1.1\nContent-Length: 4\n\nbody\n"), ("body".into(), vec![]));
        let (text, remarks) = body("POST / HTTP/1.1\nContent-Length: 9\n\nbody\n");
        assert_eq!((&*text, remarks.len()), ("body\n", 1));
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body(&format!("{chunked}3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n")).0, "abcde");
        assert_eq!(body(&format!("{chunked}abcde")).0, "abcde");
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_line() {
        assert_eq!(read(b"").unwrap_err(), "there is no request to read");
        assert!(read(b"POST / HTTP/1.1\nnonsense\n\n").unwrap_err().contains("\"nonsense\""));
    }
}
