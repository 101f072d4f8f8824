//! Percent-encoding as signatures want it: everything but the unreserved characters of RFC 3986 §2.3, in capitals.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

pub(crate) fn strict(text: impl AsRef<[u8]>) -> String {
    encoded(text.as_ref(), &[])
}

/// The same, but slashes stay.
pub(crate) fn path(text: impl AsRef<[u8]>) -> String {
    encoded(text.as_ref(), b"/")
}

fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte))
            }
            byte if kept.contains(byte) => text.push(char::from(*byte)),
            byte => {
                text.push('%');
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    text
}

/// Percent-encoding undone; what is none stays.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}
