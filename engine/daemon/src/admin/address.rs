//! Names and ids as parts of an address of the API: percent-encoded by the command line, decoded by the daemon.

/// RFC 3986 §2.3: everything but unreserved characters is encoded.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What [`encoded`] was given; a `%` that begins no escape stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let escape = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match (first, escape) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_out_again() {
        for text in ["1795-cb06@orders", "a b/c?d#e%41", "größe", "", "%"] {
            let there = encoded(text);
            assert!(there.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte)), "{there}");
            assert_eq!(decoded(&there), text);
        }
        assert_eq!(decoded("100%+%4"), "100%+%4");
    }
}
