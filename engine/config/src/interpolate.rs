//! `${VAR}`, `${VAR:-default}`, `${file:PATH}`, `${secret:NAME}` and `$${` in the strings of a
//! tree. What is brought in is literal text for ever: its ranges are kept, it is never read again.

use std::ops::Range;

use karez_api::{Path, Problem, Secret};

use crate::sheet::Sheet;
use crate::{Environment, StoredSecret, tree};

/// The codes of problems after which a string is not known.
pub(crate) const CODES: [&str; 4] =
    ["bad-interpolation", "missing-file", "missing-secret", "missing-variable"];

/// Stands in for a secret that is not at hand: text, hex and base64 alike, so that most of what is made of secrets can
/// be made of it.
pub const STAND_IN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

/// What became of one string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) pieces: Vec<Piece>,
}

/// One `${…}`: the bytes it stood in, the bytes it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) source: Range<usize>,
    pub(crate) result: Range<usize>,
    /// From `${file:…}` or `${secret:…}`: never to be shown.
    pub(crate) secret: bool,
    /// It stands in for a secret that is not at hand.
    pub(crate) stand_in: bool,
    /// `$${`, which wrote `${`: no text from elsewhere.
    pub(crate) escape: bool,
    /// As it is written, for messages.
    pub(crate) reference: String,
}

impl Written {
    pub(crate) fn literal(&self) -> Vec<Range<usize>> {
        self.brought().map(|piece| piece.result.clone()).collect()
    }

    /// The pieces that brought text from elsewhere.
    pub(crate) fn brought(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(|piece| !piece.escape)
    }

    /// Whether its text is not the one that will count.
    pub(crate) fn is_unknown(&self) -> bool {
        self.pieces.iter().any(|piece| piece.stand_in)
    }

    /// The whole string of `length` bytes is what one `${…}` brought.
    pub(crate) fn is_whole(&self, length: usize) -> bool {
        matches!(self.pieces.as_slice(), [piece] if !piece.escape && piece.result == (0..length))
    }

    /// Bytes of the finished string, as bytes of the string in the file.
    pub(crate) fn in_source(&self, result: &Range<usize>) -> Range<usize> {
        // What brought nothing, since it is missing or wrong, is the whole `${…}`.
        let empty = result.is_empty().then(|| self.pieces.iter().find(|piece| piece.result == *result));
        if let Some(piece) = empty.flatten() {
            return piece.source.clone();
        }
        self.source_byte(result.start, Side::Start)..self.source_byte(result.end, Side::End)
    }

    fn source_byte(&self, at: usize, side: Side) -> usize {
        let mut shift = (0, 0);
        for piece in &self.pieces {
            if at < piece.result.start || (at == piece.result.start && side == Side::End) {
                break;
            }
            if at < piece.result.end || (at == piece.result.end && side == Side::End) {
                return if side == Side::Start { piece.source.start } else { piece.source.end };
            }
            shift = (piece.result.end, piece.source.end);
        }
        at - shift.0 + shift.1
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// Puts `${…}` into every string below `at`.
pub(crate) fn interpolate(sheet: &mut Sheet, at: &Path, environment: &dyn Environment) {
    let Some(node) = tree::get_mut(&mut sheet.tree, at) else {
        return;
    };
    let mut found = Vec::new();
    tree::strings_mut(node, at, &mut |path, text| {
        if text.contains("${") {
            let (result, written, problems) = expand(text, path, environment);
            *text = result;
            found.push((path.clone(), written));
            sheet.problems.borrow_mut().extend(problems);
        }
    });
    for (path, written) in found {
        sheet.literal.insert(path.clone(), written.literal());
        sheet.written.insert(path, written);
    }
}

fn expand(text: &str, at: &Path, environment: &dyn Environment) -> (String, Written, Vec<Problem>) {
    let mut result = String::with_capacity(text.len());
    let mut written = Written::default();
    let mut problems = Vec::new();
    let mut done = 0;
    while let Some(found) = text[done..].find("${") {
        let open = done + found;
        let escape = text[done..open].ends_with('$');
        let close = text[open..].find('}').map(|length| open + length + 1);
        let (source, piece) = match (escape, close) {
            (true, _) => (open - 1..open + 2, Ok(Text::plain("${"))),
            (false, Some(close)) => (open..close, look_up(&text[open + 2..close - 1], environment)),
            (false, None) => (open..text.len(), Err(unclosed())),
        };
        result.push_str(&text[done..source.start]);
        let start = result.len();
        let piece = piece.unwrap_or_else(|Wrong { code, message, help }| {
            problems.push(Problem::error(code, at.clone(), message).help(help).within(source.clone()));
            Text::plain("")
        });
        result.push_str(piece.text.expose());
        let Text { secret, stand_in, .. } = piece;
        let reference = text[source.clone()].to_owned();
        done = source.end;
        written.pieces.push(Piece {
            source,
            result: start..result.len(),
            secret,
            stand_in,
            escape,
            reference,
        });
    }
    result.push_str(&text[done..]);
    // Ranges of these problems are of the text in the file; all later ones are of the result.
    for problem in &mut problems {
        problem.within = problem.within.take().map(|range| in_result(&written, &range));
    }
    (result, written, problems)
}

fn in_result(written: &Written, source: &Range<usize>) -> Range<usize> {
    let piece = written.pieces.iter().find(|piece| piece.source == *source);
    piece.map_or(0..0, |piece| piece.result.clone())
}

struct Wrong {
    code: &'static str,
    message: String,
    help: String,
}

fn unclosed() -> Wrong {
    Wrong {
        code: "bad-interpolation",
        message: "`${` is not closed".into(),
        help: "close it with `}`; `$${` writes `${`".into(),
    }
}

/// What one `${…}` becomes.
struct Text {
    text: Secret,
    secret: bool,
    stand_in: bool,
}

impl Text {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: Secret::new(text), secret: false, stand_in: false }
    }
    fn secret(text: Secret) -> Self {
        Self { text, secret: true, stand_in: false }
    }
}

/// The text for what stands between the braces.
fn look_up(inner: &str, environment: &dyn Environment) -> Result<Text, Wrong> {
    if let Some(field) = inner.strip_prefix('{') {
        return Err(Wrong {
            code: "bad-interpolation",
            message: "`${{` begins neither a variable nor a template".into(),
            help: format!("a field is {{{{{field}}}}}, a variable ${{NAME}}"),
        });
    }
    if let Some(path) = inner.strip_prefix("file:") {
        return match environment.file(path) {
            Ok(text) => Ok(Text::secret(Secret::new(
                text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t)),
            ))),
            Err(why) => Err(Wrong {
                code: "missing-file",
                message: format!("{path}: {}", reason(&why)),
                help: "the file must be there and readable when pipelines are loaded".into(),
            }),
        };
    }
    if let Some(name) = inner.strip_prefix("secret:") {
        return match environment.secret(name) {
            Ok(Some(StoredSecret::Value(text))) => Ok(Text::secret(text)),
            Ok(Some(StoredSecret::NotAtHand)) => {
                Ok(Text { stand_in: true, ..Text::secret(Secret::new(STAND_IN)) })
            }
            Ok(None) => Err(Wrong {
                code: "missing-secret",
                message: format!("no secret is called {name:?}"),
                help: format!("`karez secrets set {name}` stores it"),
            }),
            Err(why) => Err(Wrong {
                code: "missing-secret",
                message: format!("secret {name:?} cannot be read: {why}"),
                help: "the whole file waits until it can be read".into(),
            }),
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(Wrong {
            code: "bad-interpolation",
            message: format!("{name:?} is not the name of a variable"),
            help:
                "write `${NAME}`, `${NAME:-default}`, `${file:PATH}` or `${secret:NAME}`; `$${` writes `${`"
                    .into(),
        });
    }
    match (environment.var(name), default) {
        (Some(value), None) => Ok(Text::plain(value)),
        (Some(value), Some(_)) if !value.is_empty() => Ok(Text::plain(value)),
        (_, Some(default)) => Ok(Text::plain(default)),
        (None, None) => Err(Wrong {
            code: "missing-variable",
            message: format!("variable {name} is not set"),
            help: format!("set it, or give a default: `${{{name}:-…}}`"),
        }),
    }
}

/// An error of the operating system without its number.
pub(crate) fn reason(why: &str) -> &str {
    why.split(" (os error").next().unwrap_or(why)
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    fn check(text: &str) -> (String, Vec<Range<usize>>, Vec<String>) {
        let fixture = Fixture::new().var("A", "x{{y}}").var("E", "").var("D", "${A}").file("/run/s", "s3\n");
        let (result, written, problems) = expand(text, &Path::root(), &fixture);
        (result, written.literal(), problems.into_iter().map(|p| p.message).collect())
    }

    #[test]
    fn text_comes_in_and_its_place_is_kept() {
        assert_eq!(check("a${A}b"), ("ax{{y}}b".into(), std::iter::once(1..7).collect(), vec![]));
        assert_eq!(check("${A}${file:/run/s}"), ("x{{y}}s3".into(), vec![0..6, 6..8], vec![]));
        assert_eq!(check("${E:-d}${N:-}${E}"), ("d".into(), vec![0..1, 1..1, 1..1], vec![]));
    }

    #[test]
    fn what_came_in_is_not_read_again() {
        assert_eq!(check("${D}").0, "${A}");
    }

    #[test]
    fn an_escape_is_no_literal_text() {
        assert_eq!(check("$${A} $$${A}"), ("${A} $${A}".into(), vec![], vec![]));
    }

    #[test]
    fn what_is_missing_or_malformed_is_reported() {
        assert_eq!(check("${N}").2, ["variable N is not set"]);
        assert_eq!(check("${a b}").2, ["\"a b\" is not the name of a variable"]);
        assert_eq!(check("x${A").2, ["`${` is not closed"]);
        assert_eq!(check("${file:/none}").2, ["/none: no such file"]);
        assert_eq!(check("${secret:none}").2, ["no secret is called \"none\""]);
    }

    #[test]
    fn places_in_the_result_are_places_in_the_file() {
        let fixture = Fixture::new().var("A", "12345678");
        let (_, written, _) = expand("ab${A}cd$${", &Path::root(), &fixture);
        assert_eq!(written.in_source(&(0..2)), 0..2);
        assert_eq!(written.in_source(&(4..6)), 2..6);
        assert_eq!(written.in_source(&(10..12)), 6..8);
        assert_eq!(written.in_source(&(12..14)), 8..11);
    }
}
