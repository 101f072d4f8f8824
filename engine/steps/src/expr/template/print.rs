//! What `{{…}}` puts into a text: one value, by the rules of the setting it stands in.

use std::fmt::Write;

use karez_api::{Escape, Json};

/// Longest text that a template may yield, in bytes.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// Appends a value; `name` is how the template calls it.
///
/// # Errors
/// A sentence: the value is missing, has no text form, or may not stand here.
pub(super) fn print(
    value: Option<&Json>,
    name: &str,
    escape: Escape,
    into: &mut String,
) -> Result<(), String> {
    match value {
        None => return Err(format!("field {name} is missing")),
        Some(Json::Array(_)) => {
            return Err(format!("{name} is an array, which has no text; use {{{{json {name}}}}}"));
        }
        Some(Json::Object(_)) => {
            return Err(format!("{name} is an object, which has no text; use {{{{json {name}}}}}"));
        }
        Some(Json::Null) => escaped("", name, escape, into)?,
        Some(Json::String(text)) => escaped(text, name, escape, into)?,
        Some(Json::Bool(true)) => into.push_str("true"),
        Some(Json::Bool(false)) => into.push_str("false"),
        // Digits, sign, dot and exponent need no escape anywhere but the plus of an exponent in a query.
        Some(Json::Number(number)) if escape == Escape::None => {
            write!(into, "{number}").map_err(|error| error.to_string())?;
        }
        Some(Json::Number(number)) => escaped(&number.to_string(), name, escape, into)?,
    }
    within_bounds(into.len())
}

pub(super) fn within_bounds(length: usize) -> Result<(), String> {
    if length > MAX_TEXT {
        return Err(format!("the text is longer than {} MiB", MAX_TEXT >> 20));
    }
    Ok(())
}

fn escaped(text: &str, name: &str, escape: Escape, into: &mut String) -> Result<(), String> {
    match escape {
        Escape::None => into.push_str(text),
        Escape::UrlPath if matches!(text, "" | "." | "..") => {
            return Err(format!("{name} is {text:?}, which cannot be a segment of a path"));
        }
        Escape::UrlPath | Escape::UrlQuery => percent_encode(text, into),
        Escape::Header if text.contains(['\r', '\n', '\0']) => {
            return Err(format!("{name} holds a line break or NUL, which cannot stand in a header"));
        }
        Escape::FilePath if text.contains(['/', '\\', '\0']) || text.contains("..") => {
            return Err(format!("{name} holds /, \\, NUL or .., which cannot stand in a file path"));
        }
        Escape::Header | Escape::FilePath => into.push_str(text),
    }
    Ok(())
}

/// RFC 3986 §2.3: everything but unreserved characters is encoded.
pub(crate) fn percent_encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
