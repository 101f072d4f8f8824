//! Strings, numbers and indexes of RFC 9535.

use karez_api::Json;

use super::Mistake;
use super::cursor::Cursor;

/// Integers that a double holds exactly, as I-JSON (RFC 7493) has it.
const MAX_INDEX: i64 = (1 << 53) - 1;

/// An integer without leading zeros, or nothing.
pub(super) fn index(cursor: &mut Cursor<'_>) -> Result<Option<i64>, Mistake> {
    let rest = cursor.rest();
    let sign = usize::from(rest.starts_with('-'));
    let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (at, length) = (cursor.at(), sign + digits);
    if length == 0 {
        return Ok(None);
    }
    let written = &rest[..length];
    let mistake = |message: &str| Mistake::new(at..at + length, message);
    if digits == 0 {
        return Err(mistake("a number is missing after the minus"));
    }
    if (digits > 1 && rest[sign..].starts_with('0')) || written == "-0" {
        return Err(mistake("an index has no leading zeros"));
    }
    match written.parse::<i64>() {
        Ok(index) if index.abs() <= MAX_INDEX => {
            cursor.advance(length);
            Ok(Some(index))
        }
        _ => Err(mistake("the index is too large")),
    }
}

/// `number = (int / "-0") [ frac ] [ exp ]`
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<Json, Mistake> {
    let rest = cursor.rest();
    let end =
        rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
    let (at, written) = (cursor.at(), &rest[..end]);
    // JSON's own grammar of numbers is the same.
    match serde_json::from_str::<Json>(written) {
        Ok(number @ Json::Number(_)) if exact(written, &number) => {
            cursor.advance(end);
            Ok(number)
        }
        Ok(_) => Err(Mistake::new(at..at + end, "the integer needs more than 64 bits")),
        Err(_) => Err(Mistake::new(at..at + end, format!("{written} is not a number"))),
    }
}

/// Whether an integer that was written stayed one.
fn exact(written: &str, number: &Json) -> bool {
    written.contains(['.', 'e', 'E']) || !number.is_f64() || written == "-0"
}

/// A string in single or double quotes, with JSON's escapes.
pub(super) fn string(cursor: &mut Cursor<'_>) -> Result<String, Mistake> {
    let open = cursor.at();
    let quote = cursor.next().unwrap_or('\'');
    let mut text = String::new();
    loop {
        let at = cursor.at();
        match cursor.next() {
            None => return Err(Mistake::new(open..open + 1, "this quote is not closed")),
            Some(end) if end == quote => return Ok(text),
            Some('\\') => text.push(escape(cursor, quote, at)?),
            Some(control) if control < ' ' => {
                return Err(Mistake::new(at..at + 1, "control characters are written as escapes, like \\n"));
            }
            Some(other) => text.push(other),
        }
    }
}

fn escape(cursor: &mut Cursor<'_>, quote: char, at: usize) -> Result<char, Mistake> {
    Ok(match cursor.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some(same @ ('/' | '\\')) => same,
        Some(same) if same == quote => same,
        Some('u') => return unicode(cursor, at),
        other => {
            let length = 1 + other.map_or(0, char::len_utf8);
            return Err(Mistake::new(at..at + length, "unknown escape")
                .help("a backslash itself is written twice; in a pattern, too: '\\\\d'"));
        }
    })
}

fn unicode(cursor: &mut Cursor<'_>, at: usize) -> Result<char, Mistake> {
    let first = hex(cursor, at)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).ok_or_else(|| lone(cursor, at));
    }
    if !cursor.eat("\\u") {
        return Err(lone(cursor, at));
    }
    let second = hex(cursor, at)?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(lone(cursor, at));
    }
    char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(|| lone(cursor, at))
}

fn lone(cursor: &Cursor<'_>, at: usize) -> Mistake {
    Mistake::new(at..cursor.at(), "half of a surrogate pair")
}

fn hex(cursor: &mut Cursor<'_>, at: usize) -> Result<u32, Mistake> {
    let digits = cursor.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    cursor.advance(if value.is_some() { 4 } else { 0 });
    value.ok_or_else(|| Mistake::new(at..cursor.at(), "\\u needs four hexadecimal digits"))
}
