//! Logical expressions, comparisons and the five functions, with RFC 9535's typing (its §2.4.3).

use karez_api::Json;

use super::super::ast::{Comparison, Logical, Operand, Pattern, Query};
use super::super::regexp;
use super::cursor::Cursor;
use super::{Mistake, anchored, literal};

const FUNCTIONS: [&str; 5] = ["length", "count", "value", "match", "search"];

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// What word processors and web pages make of quotes.
const PRETTY: &str = "this is a typographic quote; write ' or \"";

/// What people write from habit, and what is meant.
const HABITS: [(&str, &str); 20] = [
    ("&&", "a condition is missing on one side of &&"),
    ("||", "a condition is missing on one side of ||"),
    ("and", "write && for \"and\""),
    ("or", "write || for \"or\""),
    ("not", "write ! for \"not\": !(…)"),
    ("in", "there is no \"in\"; write @.x == 'a' || @.x == 'b'"),
    ("contains", "there is no \"contains\"; write search(@.x, 'part')"),
    ("=~", "there is no =~; write match(@.x, 'whole pattern') or search(@.x, 'part')"),
    ("=", "write == to compare"),
    ("&", "write && for \"and\""),
    ("|", "write || for \"or\""),
    ("+", "conditions do not calculate; use {jq: '…'}"),
    ("-", "conditions do not calculate; a name with a hyphen is written in brackets: @['first-name']"),
    ("*", "conditions do not calculate; use {jq: '…'}"),
    ("/", "conditions do not calculate; use {jq: '…'}"),
    ("{{", "a condition takes no template; write @.name for a field"),
    ("“", PRETTY),
    ("”", PRETTY),
    ("‘", PRETTY),
    ("’", PRETTY),
];

/// The mistake of something that stands where an expression should have ended.
pub(super) fn unexpected(rest: &str, at: usize) -> Mistake {
    let word = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let habit = HABITS.iter().find(|(habit, _)| {
        if habit.starts_with(char::is_alphabetic) {
            word.eq_ignore_ascii_case(habit)
        } else {
            rest.starts_with(habit)
        }
    });
    let length = habit.map_or(word.len(), |(habit, _)| habit.len());
    let found = match rest.get(..length) {
        Some(found) if !found.is_empty() => found,
        _ => rest.split_inclusive(|_: char| true).next().unwrap_or_default(),
    };
    let mistake = Mistake::new(at..at + found.len(), format!("unexpected {found}"));
    match habit {
        Some((_, help)) => mistake.help(*help),
        None => mistake,
    }
}

/// `logical-or-expr`
pub(super) fn expression(cursor: &mut Cursor<'_>) -> Result<Logical, Mistake> {
    let parts = chain(cursor, "||", conjunction)?;
    Ok(one_or(parts, Logical::Or))
}

fn conjunction(cursor: &mut Cursor<'_>) -> Result<Logical, Mistake> {
    let parts = chain(cursor, "&&", basic)?;
    Ok(one_or(parts, Logical::And))
}

fn one_or(mut parts: Vec<Logical>, many: fn(Vec<Logical>) -> Logical) -> Logical {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn chain(
    cursor: &mut Cursor<'_>,
    operator: &str,
    part: fn(&mut Cursor<'_>) -> Result<Logical, Mistake>,
) -> Result<Vec<Logical>, Mistake> {
    let mut parts = vec![part(cursor)?];
    loop {
        let before = cursor.at();
        cursor.blank();
        if !cursor.eat(operator) {
            cursor.back_to(before);
            return Ok(parts);
        }
        cursor.blank();
        parts.push(part(cursor)?);
    }
}

/// `basic-expr`: parentheses, a comparison or a test.
fn basic(cursor: &mut Cursor<'_>) -> Result<Logical, Mistake> {
    if cursor.rest().starts_with('!') && !cursor.rest().starts_with("!=") {
        return negation(cursor);
    }
    if cursor.rest().starts_with('(') {
        return parenthesis(cursor);
    }
    let at = cursor.at();
    let term = term(cursor)?;
    let end = cursor.at();
    cursor.blank();
    let Some((_, comparison)) = COMPARISONS.iter().find(|(written, _)| cursor.eat(written)) else {
        cursor.back_to(end);
        return term.test(at..end, cursor.rest());
    };
    let left = term.comparable(at..end)?;
    cursor.blank();
    let at = cursor.at();
    let right = self::term(cursor)?.comparable(at..cursor.at())?;
    Ok(Logical::Compare { left, comparison: *comparison, right })
}

fn negation(cursor: &mut Cursor<'_>) -> Result<Logical, Mistake> {
    let at = cursor.at();
    cursor.eat("!");
    cursor.blank();
    if cursor.rest().starts_with('(') {
        return Ok(Logical::Not(Box::new(parenthesis(cursor)?)));
    }
    let start = cursor.at();
    let tested = term(cursor)?.test(start..cursor.at(), cursor.rest())?;
    let end = cursor.at();
    cursor.blank();
    if COMPARISONS.iter().any(|(written, _)| cursor.rest().starts_with(written)) {
        return Err(
            Mistake::new(at..end, "! cannot negate one side of a comparison").help("write !(… == …), or !=")
        );
    }
    cursor.back_to(end);
    Ok(Logical::Not(Box::new(tested)))
}

fn parenthesis(cursor: &mut Cursor<'_>) -> Result<Logical, Mistake> {
    let open = cursor.at();
    cursor.eat("(");
    cursor.enter(open)?;
    cursor.blank();
    let inner = expression(cursor)?;
    close(cursor, open)?;
    Ok(inner)
}

fn close(cursor: &mut Cursor<'_>, open: usize) -> Result<(), Mistake> {
    cursor.blank();
    if cursor.eat(")") {
        cursor.leave();
        return Ok(());
    }
    Err(match cursor.rest() {
        "" => Mistake::new(open..open + 1, "this parenthesis is not closed"),
        rest => unexpected(rest, cursor.at()),
    })
}

/// What stands in a test or on a side of a comparison, before it is known which.
enum Term {
    Value(Operand),
    Query(super::Anchor, Query),
    Logical(Logical),
}

impl Term {
    /// As a condition of its own.
    fn test(self, within: std::ops::Range<usize>, rest: &str) -> Result<Logical, Mistake> {
        match self {
            Self::Query(anchor, query) => Ok(Logical::Exists { anchor, query, within }),
            Self::Logical(logical) => Ok(logical),
            Self::Value(Operand::Literal(_)) => {
                // `'a' in @.x`: the habit is the better message.
                let after = rest.trim_start();
                match after.chars().next() {
                    Some(next) if !matches!(next, ')' | ']' | ',' | '&' | '|') => {
                        Err(unexpected(after, within.end + rest.len() - after.len()))
                    }
                    _ => {
                        Err(Mistake::new(within, "a value alone is not a condition")
                            .help("compare it: @.x == …"))
                    }
                }
            }
            Self::Value(_) => Err(Mistake::new(within, "this function yields a value, not true or false")
                .help("compare it, like length(@.x) > 0")),
        }
    }

    /// As a side of a comparison.
    fn comparable(self, within: std::ops::Range<usize>) -> Result<Operand, Mistake> {
        match self {
            Self::Value(operand) => Ok(operand),
            Self::Query(anchor, Query::Single(path)) => Ok(Operand::Node { anchor, path }),
            Self::Query(..) => Err(Mistake::new(within, "a path that can match many cannot be compared")
                .help("use value(…) or count(…), or a filter: @.items[?@.price > 10]")),
            Self::Logical(_) => Err(Mistake::new(within, "match and search are true or false already")
                .help("write it alone, with ! in front for \"not\"")),
        }
    }
}

fn term(cursor: &mut Cursor<'_>) -> Result<Term, Mistake> {
    let at = cursor.at();
    match cursor.rest().chars().next() {
        Some('@' | '$') => anchored(cursor).map(|(anchor, query)| Term::Query(anchor, query)),
        Some('\'' | '"') => {
            literal::string(cursor).map(|text| Term::Value(Operand::Literal(Json::String(text))))
        }
        Some('-' | '0'..='9') => literal::number(cursor).map(|number| Term::Value(Operand::Literal(number))),
        Some(next) if next.is_alphabetic() => word(cursor),
        Some(_) => Err(unexpected(cursor.rest(), at)),
        None => Err(Mistake::new(at..at, "the condition ends too early")),
    }
}

fn word(cursor: &mut Cursor<'_>) -> Result<Term, Mistake> {
    let at = cursor.at();
    let name = cursor.name();
    let within = at..cursor.at();
    if cursor.rest().starts_with('(') {
        return function(cursor, name, within);
    }
    let constant = match name {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        "null" => Json::Null,
        _ => return Err(bare_word(name, within)),
    };
    Ok(Term::Value(Operand::Literal(constant)))
}

fn bare_word(name: &str, within: std::ops::Range<usize>) -> Mistake {
    let mistake = Mistake::new(within, format!("unexpected {name}"));
    match name {
        "not" => mistake.help("write ! for \"not\": !(…)"),
        "True" | "TRUE" | "False" | "FALSE" | "Null" | "NULL" => {
            mistake.help("true, false and null are written in lower case")
        }
        "nil" | "None" | "undefined" => mistake.help("write null"),
        _ => mistake.help(format!("write '{name}' for text, @.{name} for a field")),
    }
}

fn function(cursor: &mut Cursor<'_>, name: &str, within: std::ops::Range<usize>) -> Result<Term, Mistake> {
    let open = cursor.at();
    cursor.eat("(");
    cursor.enter(open)?;
    cursor.blank();
    let result = match name {
        "length" => argument(cursor).map(|operand| Term::Value(Operand::Length(Box::new(operand)))),
        "count" => nodes(cursor).map(|(anchor, query)| Term::Value(Operand::Count { anchor, query })),
        "value" => nodes(cursor).map(|(anchor, query)| Term::Value(Operand::Value { anchor, query })),
        "match" | "search" => pattern(cursor, name == "match"),
        _ => {
            let help = match name {
                "contains" | "starts_with" | "startsWith" | "endsWith" | "ends_with" | "like" => {
                    "write search(@.x, 'part'); ^ and $ bind it to the start and end".to_owned()
                }
                _ => format!("the functions are {}; others: {{jq: '…'}}", FUNCTIONS.join(", ")),
            };
            Err(Mistake::new(within, format!("unknown function {name}")).help(help))
        }
    }?;
    close(cursor, open)?;
    Ok(result)
}

fn argument(cursor: &mut Cursor<'_>) -> Result<Operand, Mistake> {
    let at = cursor.at();
    term(cursor)?.comparable(at..cursor.at())
}

fn nodes(cursor: &mut Cursor<'_>) -> Result<(super::Anchor, Query), Mistake> {
    let at = cursor.at();
    if !cursor.rest().starts_with(['@', '$']) {
        return Err(Mistake::new(at..at, "this function takes a path").help("like count(@.items[*])"));
    }
    anchored(cursor)
}

fn pattern(cursor: &mut Cursor<'_>, whole: bool) -> Result<Term, Mistake> {
    let subject = argument(cursor)?;
    cursor.blank();
    if !cursor.eat(",") {
        let at = cursor.at();
        return Err(Mistake::new(at..at, "a pattern is missing").help("like match(@.name, 'A.*')"));
    }
    cursor.blank();
    let at = cursor.at();
    let pattern = match argument(cursor)? {
        Operand::Literal(Json::String(text)) => Pattern::Compiled(
            regexp::compile(&text, whole)
                .map_err(|message| Mistake::new(at..cursor.at(), format!("bad pattern: {message}")))?,
        ),
        Operand::Literal(_) => return Err(Mistake::new(at..cursor.at(), "a pattern is a string")),
        operand => Pattern::Computed { operand, whole },
    };
    Ok(Term::Logical(Logical::Matches { subject, pattern }))
}
