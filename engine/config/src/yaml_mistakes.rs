//! What people write that YAML reads differently: `{{name}}` without quotes, and picks with
//! `[`, `,` or `?` inside `{ }` or `[ ]`. The parser's own words about them help nobody.

use crate::yaml::SyntaxError;

/// A message of its own for a mistake near `offset`, where the parser gave up with `message`;
/// `full` says also what it was reading then.
pub(crate) fn recognise(text: &str, offset: usize, message: &str, full: &str) -> Option<SyntaxError> {
    unquoted_template(text, offset, message)
        .or_else(|| key_that_is_no_text(text, offset, message))
        .or_else(|| pick_in_flow(text, offset))
        .or_else(|| behind_a_quote(text, offset, message))
        .or_else(|| colon_in_flow(text, offset, message))
        .or_else(|| known_words(text, offset, message, full))
}

/// The parser's words that people meet often, in ours, and placed where the mistake begins.
fn known_words(text: &str, offset: usize, message: &str, full: &str) -> Option<SyntaxError> {
    let mistake =
        |at, message: &str, help: &str| Some(SyntaxError::new(at, "yaml-syntax", message).help(help));
    let rest = text.get(offset..).unwrap_or_default();
    let context = |what: &str| {
        let place = full.split_once(what)?.1.strip_prefix(" at line ")?;
        let (line, column) = place.split_once(" column ")?;
        byte_of(text, line.parse().ok()?, column.parse().ok()?)
    };
    match message {
        "found character that cannot start any token" => match rest.chars().next()? {
            '\t' => mistake(offset, "a tab cannot indent", "use spaces"),
            c => mistake(
                offset,
                &format!("text that begins with `{c}` needs quotes"),
                &format!("write \"{}\"", rest.lines().next().unwrap_or_default().trim()),
            ),
        },
        "found unknown escape character" => mistake(
            offset,
            "this escape does not exist in double quotes",
            r"write `\\` for a backslash, or use single quotes, which take it as it is",
        ),
        "mapping values are not allowed in this context" => mistake(
            offset,
            "a `:` with a blank behind it makes a map, and none can stand here",
            "if it is part of a text, write the whole text in quotes; if not, begin a line of its own",
        ),
        "did not find expected key" => {
            mistake(offset, "this line does not fit the lines above it", "indent it like the keys beside it")
        }
        "found unexpected end of stream" => {
            let at = context("while scanning a quoted scalar")?;
            mistake(at, "this quote is not closed", "close it, and double a quote inside")
        }
        "did not find expected ',' or '}'" => mistake(
            context("while parsing a flow mapping")?,
            "this `{` is not closed",
            "close it with `}`, and write a comma between entries",
        ),
        "did not find expected ',' or ']'" => mistake(
            context("while parsing a flow sequence")?,
            "this `[` is not closed",
            "close it with `]`, and write a comma between items",
        ),
        _ => None,
    }
}

/// The byte at a line and column, both from 1, the column in characters.
fn byte_of(text: &str, line: usize, column: usize) -> Option<usize> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let within = text[start..].char_indices().nth(column.checked_sub(1)?);
    Some(start + within.map_or(text.len() - start, |(at, _)| at))
}

fn takes_a_map_for_a_key(message: &str) -> bool {
    message.contains("invalid type: map") || message.contains("invalid type: sequence")
}

fn unquoted_template(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    let mistake = |at| {
        SyntaxError::new(at, "unquoted-template", "YAML reads `{{` without quotes as a map")
            .help("write the template in quotes: \"{{name}}\"")
    };
    if takes_a_map_for_a_key(message) && text[..offset].ends_with('{') && text[offset..].starts_with('{') {
        return Some(mistake(offset - 1));
    }
    let (start, line) = line_of(text, offset);
    // The parser may give up at the first brace already.
    let upto = line.get(..offset - start + "{{".len()).unwrap_or(line);
    let (at, _) = plain(upto).find(|(at, c)| *c == '{' && upto[*at..].starts_with("{{"))?;
    Some(mistake(start + at))
}

fn key_that_is_no_text(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    (takes_a_map_for_a_key(message) && text[offset..].starts_with(['[', '{'])).then(|| {
        SyntaxError::new(offset, "bad-key", "a key is text, not a list or a map")
            .help("write it in quotes if the brackets belong to it")
    })
}

fn pick_in_flow(text: &str, offset: usize) -> Option<SyntaxError> {
    let (start, line) = line_of(text, offset);
    let mut open = 0_usize;
    let mut pick = None;
    for (at, c) in plain(line) {
        match (c, pick) {
            ('$' | '@', None) if open > 0 && line[at + 1..].starts_with(['.', '[']) => pick = Some(at),
            ('[' | '?', Some(began)) if start + at <= offset + 1 => {
                let message = format!("YAML reads `{c}` inside {{ }} or [ ] as its own");
                return Some(
                    SyntaxError::new(start + began, "unquoted-pick", message)
                        .help("write the pick in quotes: \"$.items[0]\""),
                );
            }
            (',' | ' ' | '}' | ']', Some(_)) => {
                pick = None;
                open -= usize::from(matches!(c, '}' | ']') && open > 0);
            }
            ('{' | '[', None) => open += 1,
            ('}' | ']', None) => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// `"a "b" c"`: the text ends at the second quote, and something stands behind it.
fn behind_a_quote(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    if !message.starts_with("did not find expected") {
        return None;
    }
    let before = text[..offset].chars().next_back().filter(|c| matches!(c, '"' | '\''))?;
    let behind =
        text[offset..].chars().next().filter(|c| !c.is_whitespace() && !matches!(c, ',' | '}' | ']'))?;
    let (mark, other) = if before == '"' { ('"', '\'') } else { ('\'', '"') };
    Some(
        SyntaxError::new(
            offset,
            "yaml-syntax",
            format!("`{behind}` stands behind a quote that closed the text"),
        )
        .help(format!(
            "inside {mark}…{mark} write {other} for a quote, or {} for {mark} itself",
            match mark {
                '"' => "\\\"",
                _ => "''",
            }
        )),
    )
}

fn colon_in_flow(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    (message.starts_with("did not find expected ','") && text[offset..].starts_with(": ")).then(|| {
        SyntaxError::new(offset, "yaml-syntax", "this entry has a `:` already").help(
            "if it is part of a text, write the whole text in quotes; if not, put the inner map into { }",
        )
    })
}

/// The line that holds `offset`, and where it begins. The parser often gives up at the start of the next one.
fn line_of(text: &str, offset: usize) -> (usize, &str) {
    let mut start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    if text[start..offset].trim().is_empty() && start > 0 {
        start = text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
    }
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    (start, &text[start..end])
}

/// The characters of a line that stand in no quotes and no comment.
fn plain(line: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    let mut before = ' ';
    line.char_indices().filter(move |(_, c)| {
        let outside = match quote {
            Some(open) => {
                if *c == open && (open == '\'' || before != '\\') {
                    quote = None;
                }
                false
            }
            // A quote opens a string only where a value may begin: `O'Brien` has none.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | ',' | '[' | '{' | ':') => {
                quote = Some(*c);
                false
            }
            None if *c == '#' && before == ' ' => {
                quote = Some('\n');
                false
            }
            None => true,
        };
        before = *c;
        outside
    })
}
