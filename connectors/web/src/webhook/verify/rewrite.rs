//! How else a body may have been written when it was signed: what software between a sender and its receiver
//! makes of line ends and of JSON.

use serde::de::IgnoredAny;

/// Each way with a name for people; those that would change nothing are left out.
pub(super) fn forms(body: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    lines(body).chain(json(body)).filter(move |(_, form)| form != body)
}

fn lines(body: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let text = body.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    let unix = replaced(body, b"\r\n", b"\n");
    let dos = replaced(&unix, b"\n", b"\r\n");
    let bare = body.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec);
    [
        ("without its last line break", text.map(<[u8]>::to_vec)),
        ("with a line break at its end", Some([body, b"\n"].concat())),
        ("with CRLF at its end", Some([body, b"\r\n"].concat())),
        ("with LF in place of CRLF", Some(unix)),
        ("with CRLF in place of LF", Some(dos)),
        ("without its byte order mark", bare),
    ]
    .into_iter()
    .filter_map(|(name, form)| Some((name.to_owned(), form?)))
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        match rest.strip_prefix(from) {
            Some(behind) => {
                out.extend_from_slice(to);
                rest = behind;
            }
            None => {
                out.push(*first);
                rest = &rest[1..];
            }
        }
    }
    out
}

struct Layout {
    name: &'static str,
    comma: &'static str,
    colon: &'static str,
    indent: Option<&'static str>,
}

const LAYOUTS: [Layout; 5] = [
    Layout { name: "as JSON without spaces", comma: ",", colon: ":", indent: None },
    Layout { name: "as JSON with a space after , and :", comma: ", ", colon: ": ", indent: None },
    Layout { name: "as JSON indented by 2", comma: ",", colon: ": ", indent: Some("  ") },
    Layout { name: "as JSON indented by 4", comma: ",", colon: ": ", indent: Some("    ") },
    Layout { name: "as JSON indented by tabs", comma: ",", colon: ": ", indent: Some("\t") },
];

/// How texts are written inside JSON.
#[derive(Clone, Copy)]
enum Texts {
    Kept,
    Plain,
    /// As Python's `json` and others do.
    Ascii,
    /// As PHP's `json_encode` does.
    AsciiAndSlash,
    Slash,
    /// As Go's `encoding/json` does.
    Html,
}

const TEXTS: [(Texts, &str); 6] = [
    (Texts::Kept, ""),
    (Texts::Plain, ", without \\u escapes"),
    (Texts::Ascii, ", with \\u escapes"),
    (Texts::AsciiAndSlash, ", with \\u escapes and \\/"),
    (Texts::Slash, ", with \\/"),
    (Texts::Html, ", with <, > and & as \\u escapes"),
];

fn json(body: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let fits = serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let layouts = LAYOUTS.iter().filter(move |_| fits);
    let ways = if is_plain(body) { 1 } else { TEXTS.len() };
    layouts.flat_map(move |layout| {
        let texts = TEXTS.iter().take(ways);
        texts.map(move |(texts, name)| (format!("{}{name}", layout.name), layout.write(body, *texts)))
    })
}

impl Layout {
    /// Piece by piece, so that keys keep their order and numbers their digits.
    fn write(&self, body: &[u8], texts: Texts) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() * 2);
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(byte) = body.get(at) {
            let mut length = 1;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'{' | b'[' => {
                    out.push(*byte);
                    depth += 1;
                    if !matches!(following(body, at + 1), Some(b'}' | b']')) {
                        self.line(&mut out, depth);
                    }
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if !matches!(out.last(), Some(b'{' | b'[')) {
                        self.line(&mut out, depth);
                    }
                    out.push(*byte);
                }
                b',' => {
                    out.extend_from_slice(self.comma.as_bytes());
                    self.line(&mut out, depth);
                }
                b':' => out.extend_from_slice(self.colon.as_bytes()),
                b'"' => {
                    length = string(&body[at..]);
                    texts.write(&body[at..at + length], &mut out);
                }
                other => out.push(*other),
            }
            at += length;
        }
        out
    }

    fn line(&self, out: &mut Vec<u8>, depth: usize) {
        if let Some(indent) = self.indent {
            out.push(b'\n');
            out.extend_from_slice(indent.repeat(depth).as_bytes());
        }
    }
}

/// Whether all senders write its texts in the same way.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'\\' | b'/' | b'<' | b'>' | b'&'))
}

fn following(body: &[u8], at: usize) -> Option<&u8> {
    body[at..].iter().find(|byte| !byte.is_ascii_whitespace())
}

/// How long the string is that begins here, with its quotes.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

impl Texts {
    /// `written` has its quotes.
    fn write(self, written: &[u8], out: &mut Vec<u8>) {
        let text = match self {
            Self::Kept => None,
            _ if is_plain(written) => None,
            _ => serde_json::from_slice::<String>(written).ok(),
        };
        let Some(plain) = text.and_then(|text| serde_json::to_string(&text).ok()) else {
            out.extend_from_slice(written);
            return;
        };
        for letter in plain.chars() {
            match letter {
                '/' if matches!(self, Self::AsciiAndSlash | Self::Slash) => out.extend_from_slice(b"\\/"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if matches!(self, Self::Html) => {
                    escape(letter, out)
                }
                _ if letter.is_ascii() => out.push(letter as u8),
                _ if matches!(self, Self::Ascii | Self::AsciiAndSlash) => escape(letter, out),
                _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn escape(letter: char, out: &mut Vec<u8>) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: &str, name: &str) -> String {
        let mut forms = forms(body.as_bytes());
        let (_, form) = forms.find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} of {body}"));
        String::from_utf8(form).unwrap()
    }

    #[test]
    fn json_is_written_as_senders_do_with_its_keys_in_order_and_its_numbers_as_they_are() {
        let spaced = "{\"b\": 1.50, \"a\": [], \"c\": [{\"ü\": \"a, \\\"b\\\": c\"}, null]}";
        let compact = "{\"b\":1.50,\"a\":[],\"c\":[{\"ü\":\"a, \\\"b\\\": c\"},null]}";
        assert_eq!(written(spaced, "as JSON without spaces"), compact);
        assert_eq!(written(compact, "as JSON with a space after , and :"), spaced);
        let indented = "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"c\": [\n    {\n      \"ü\": \"a, \\\"b\\\": c\"\n    },\n    null\n  ]\n}";
        assert_eq!(written(compact, "as JSON indented by 2"), indented);
        assert_eq!(written(indented, "as JSON without spaces"), compact);
    }

    #[test]
    fn texts_are_escaped_as_senders_do() {
        let plain = "{\"ü\":\"😀</a>\\n\"}";
        let ascii = "{\"\\u00fc\":\"\\ud83d\\ude00</a>\\n\"}";
        assert_eq!(written(plain, "as JSON without spaces, with \\u escapes"), ascii);
        assert_eq!(written(ascii, "as JSON without spaces, without \\u escapes"), plain);
        let php = "{\"\\u00fc\":\"\\ud83d\\ude00<\\/a>\\n\"}";
        assert_eq!(written(plain, "as JSON without spaces, with \\u escapes and \\/"), php);
        let go = "{\"ü\":\"😀\\u003c/a\\u003e\\n\"}";
        assert_eq!(written(plain, "as JSON without spaces, with <, > and & as \\u escapes"), go);
    }

    #[test]
    fn line_ends_are_changed_in_any_text_and_json_only_in_json() {
        assert_eq!(written("a\r\nb\n", "with LF in place of CRLF"), "a\nb\n");
        assert_eq!(written("a\r\nb\n", "with CRLF in place of LF"), "a\r\nb\r\n");
        assert_eq!(written("a\n", "without its last line break"), "a");
        assert_eq!(written("a", "with a line break at its end"), "a\n");
        assert!(forms(b"{\"a\": ").all(|(name, _)| !name.contains("JSON")));
        assert!(forms(b"").all(|(name, _)| name.contains("end")), "an empty body has line ends to lack");
    }

    #[test]
    fn what_would_change_nothing_is_left_out() {
        assert!(forms(b"{\"a\":1}").all(|(_, form)| form != b"{\"a\":1}"));
    }
}
