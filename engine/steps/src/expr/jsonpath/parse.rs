//! A strict parser of RFC 9535's grammar (its appendix A). Every mistake has a place and, where people bring habits
//! from other languages (`and`, `in`, `=~`, a single `=`), a suggestion.

mod cursor;
mod literal;
mod logical;

use super::ast::{Anchor, Logical, Query, Segment, Selector};
use crate::expr::mistake::Mistake;
use cursor::Cursor;

/// Longest path or condition, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// Parses a pick: `$` with segments.
pub(crate) fn parse_pick(text: &str) -> Result<Query, Mistake> {
    let mut cursor = start(text)?;
    if !cursor.eat("$") {
        return Err(Mistake::new(0..text.len().min(1), "a path begins with $"));
    }
    let segments = segments(&mut cursor)?;
    match cursor.rest() {
        "" => Ok(Query::new(segments)),
        rest => Err(unexpected_in_path(rest, cursor.at())),
    }
}

/// Parses a condition: a logical expression in which `@` and `$` are both the record.
pub(crate) fn parse_condition(text: &str) -> Result<Logical, Mistake> {
    let mut cursor = start(text)?;
    cursor.blank();
    if cursor.rest().is_empty() {
        return Err(
            Mistake::new(0..text.len(), "the condition is empty").help("write it like \"@.type == 'order'\"")
        );
    }
    let condition = logical::expression(&mut cursor)?;
    cursor.blank();
    match cursor.rest() {
        "" => Ok(condition),
        rest => Err(logical::unexpected(rest, cursor.at())),
    }
}

fn start(text: &str) -> Result<Cursor<'_>, Mistake> {
    if text.len() > MAX_LENGTH {
        return Err(Mistake::new(0..0, format!("an expression has at most {MAX_LENGTH} bytes")));
    }
    Ok(Cursor::new(text))
}

/// `*(S segment)`; blanks are only taken where a segment follows.
fn segments(cursor: &mut Cursor<'_>) -> Result<Vec<Segment>, Mistake> {
    let mut segments = Vec::new();
    loop {
        let before = cursor.at();
        cursor.blank();
        if !cursor.rest().starts_with(['.', '[']) {
            cursor.back_to(before);
            return Ok(segments);
        }
        segments.push(segment(cursor)?);
    }
}

fn segment(cursor: &mut Cursor<'_>) -> Result<Segment, Mistake> {
    let descendant = cursor.eat("..");
    if cursor.rest().starts_with('[') {
        return Ok(Segment { descendant, selectors: bracketed(cursor)? });
    }
    if !descendant {
        cursor.eat(".");
    }
    if cursor.eat("*") {
        return Ok(Segment { descendant, selectors: vec![Selector::Wildcard] });
    }
    let name = cursor.name();
    if name.is_empty() {
        return Err(no_name(cursor));
    }
    Ok(Segment { descendant, selectors: vec![Selector::Name(name.to_owned())] })
}

fn no_name(cursor: &Cursor<'_>) -> Mistake {
    let at = cursor.at();
    match cursor.rest().chars().next() {
        None => Mistake::new(at..at, "a name is missing after the dot"),
        Some(next @ ('0'..='9')) => {
            Mistake::new(at..at + 1, format!("a name after a dot cannot begin with {next}"))
                .help("write an index as [0], a name as ['0']")
        }
        Some(next) => Mistake::new(at..at + next.len_utf8(), format!("expected a name, found {next:?}"))
            .help("write other names in brackets: ['first name']"),
    }
}

fn unexpected_in_path(rest: &str, at: usize) -> Mistake {
    let next = rest.chars().next().unwrap_or_default();
    let within = at..at + next.len_utf8();
    let mistake = Mistake::new(within, format!("unexpected {next:?} in a path"));
    match next {
        '-' => mistake.help("a name with a hyphen is written in brackets: $['first-name']"),
        ' ' => mistake.help("a name with a blank is written in brackets: $['first name']; text with a pick in it is a template: \"{{a}} b\""),
        '(' => mistake.help("paths have no functions here; compute with {jq: '…'}"),
        ',' => mistake.help("a pick picks once; text with picks in it is a template: \"{{a}}, {{b}}\""),
        '+' | '*' | '/' | '|' => mistake.help("a pick only picks; compute with {jq: '…'}"),
        _ => mistake,
    }
}

/// `"[" S selector *(S "," S selector) S "]"`
fn bracketed(cursor: &mut Cursor<'_>) -> Result<Vec<Selector>, Mistake> {
    let open = cursor.at();
    cursor.eat("[");
    cursor.enter(open)?;
    let mut selectors = Vec::new();
    loop {
        cursor.blank();
        selectors.push(selector(cursor)?);
        cursor.blank();
        if cursor.eat("]") {
            cursor.leave();
            return Ok(selectors);
        }
        if !cursor.eat(",") {
            return Err(unclosed(cursor, open));
        }
    }
}

fn unclosed(cursor: &Cursor<'_>, open: usize) -> Mistake {
    match cursor.rest().chars().next() {
        None => Mistake::new(open..open + 1, "this bracket is not closed"),
        Some(_) => logical::unexpected(cursor.rest(), cursor.at()),
    }
}

fn selector(cursor: &mut Cursor<'_>) -> Result<Selector, Mistake> {
    let at = cursor.at();
    match cursor.rest().chars().next() {
        Some('\'' | '"') => literal::string(cursor).map(Selector::Name),
        Some('*') => {
            cursor.eat("*");
            Ok(Selector::Wildcard)
        }
        Some('?') => {
            cursor.eat("?");
            cursor.blank();
            logical::expression(cursor).map(|filter| Selector::Filter(Box::new(filter)))
        }
        Some('-' | '0'..='9' | ':') => index_or_slice(cursor),
        Some(next) if next.is_alphabetic() => {
            let end = at + cursor.name().len().max(next.len_utf8());
            Err(Mistake::new(at..end, "a name in brackets stands in quotes").help("write ['name']"))
        }
        Some('(') => {
            Err(Mistake::new(at..at + 1, "expected a selector").help("a filter is written [?@.price < 10]"))
        }
        Some(next) => {
            Err(Mistake::new(at..at + next.len_utf8(), format!("expected a selector, found {next:?}")))
        }
        None => Err(Mistake::new(at..at, "the bracket is not closed").help("write [0], [*] or ['name']")),
    }
}

fn index_or_slice(cursor: &mut Cursor<'_>) -> Result<Selector, Mistake> {
    let start = literal::index(cursor)?;
    let after = cursor.at();
    cursor.blank();
    if !cursor.eat(":") {
        cursor.back_to(after);
        let missing = || Mistake::new(after..after, "an index is missing");
        return start.map(Selector::Index).ok_or_else(missing);
    }
    cursor.blank();
    let end = literal::index(cursor)?;
    let after = cursor.at();
    cursor.blank();
    let step = if cursor.eat(":") {
        cursor.blank();
        literal::index(cursor)?
    } else {
        cursor.back_to(after);
        None
    };
    Ok(Selector::Slice { start, end, step })
}

/// A path inside an expression: `@` or `$` with segments.
fn anchored(cursor: &mut Cursor<'_>) -> Result<(Anchor, Query), Mistake> {
    let anchor = if cursor.eat("@") {
        Anchor::Current
    } else {
        cursor.eat("$");
        Anchor::Root
    };
    Ok((anchor, Query::new(segments(cursor)?)))
}
