//! From a setting to a program.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;

use jaq_core::Compiler;
use jaq_core::compile::Undefined;
use jaq_core::data::JustLut;
use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader, span};
use jaq_json::Val;
use karez_api::{Json, Path, Problem, Scope, suggest};

use super::Program;
use super::check::Check;
use super::{library, natives};
use crate::expr::mistake::Mistake;

/// Longest program, in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// Nesting of brackets and parentheses.
const MAX_DEPTH: usize = 128;
/// The name under which a program is compiled; no program can write it.
const MAIN: &str = "main__";

const CODE: &str = "bad-jq";

pub(super) fn compile(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Program, Problem> {
    let (code, at, unbounded) = read(at, setting)?;
    if let Some(range) = scope.literal.get(&at).and_then(|ranges| ranges.first()) {
        return Err(Problem::error(CODE, at, "${…} cannot stand in a jq program")
            .within(range.clone())
            .help("put it under `vars:` and write $vars.name"));
    }
    if code.trim().is_empty() {
        return Err(Problem::error(CODE, at, "the program is empty").help("`.` is the record itself"));
    }
    bounded(code).map_err(|mistake| mistake.problem(CODE, &at))?;
    let mut term = parse(code).map_err(|mistake| mistake.problem(CODE, &at))?;
    let mut check = Check::new(code, unbounded);
    check.term(&mut term).map_err(|mistake| mistake.problem(CODE, &at))?;
    let filter = link(code, term).map_err(|mistake| mistake.problem(CODE, &at))?;
    Ok(Program {
        filter,
        cost: check.cost(),
        uses_meta: check.uses_meta,
        uses_vars: check.uses_vars,
        vars: std::sync::Arc::clone(scope.vars),
        written_off: AtomicU32::new(0),
    })
}

/// The program, where it stands, and whether it may go on for long.
fn read<'a>(at: &Path, setting: &'a Json) -> Result<(&'a str, Path, bool), Problem> {
    let wrong = || {
        Problem::error(CODE, at.clone(), "jq takes a program")
            .help("write jq: '.a + .b', or jq: {program: '…', unbounded: true}")
    };
    match setting {
        Json::String(code) => Ok((code, at.clone(), false)),
        Json::Object(fields) => {
            let known = fields.keys().all(|key| key == "program" || key == "unbounded");
            let code = fields.get("program").and_then(Json::as_str).filter(|_| known).ok_or_else(wrong)?;
            let unbounded = match fields.get("unbounded") {
                None => false,
                Some(flag) => flag.as_bool().ok_or_else(wrong)?,
            };
            Ok((code, at.field("program"), unbounded))
        }
        _ => Err(wrong()),
    }
}

/// The library's parser recurses; a file must not be able to exhaust the stack.
fn bounded(code: &str) -> Result<(), Mistake> {
    if code.len() > MAX_LENGTH {
        return Err(Mistake::new(0..0, format!("a program has at most {} KiB", MAX_LENGTH >> 10)));
    }
    let mut depth = 0_usize;
    let mut operators = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'|' | b',' | b'-' | b'+' | b'?' | b':' | b';' => operators += 1,
            _ => {}
        }
        let words = at / 4;
        if depth > MAX_DEPTH || operators > 4 * MAX_DEPTH + words {
            return Err(Mistake::new(at..at, "the program is nested too deep"));
        }
    }
    Ok(())
}

fn parse(code: &str) -> Result<Term<&str>, Mistake> {
    let tokens = Lexer::new(code).lex().map_err(|errors| match errors.first() {
        Some((expected, rest)) => unexpected(code, expected.as_str(), Some(first_character(rest))),
        None => Mistake::new(0..code.len(), "the program cannot be read"),
    })?;
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| match errors.first() {
        Some((expected, found)) => unexpected(code, expected.as_str(), found.map(|token| token.0)),
        None => Mistake::new(0..code.len(), "the program cannot be read"),
    })
}

fn first_character(rest: &str) -> &str {
    rest.split_inclusive(|_: char| true).next().unwrap_or(rest)
}

fn unexpected(code: &str, expected: &str, found: Option<&str>) -> Mistake {
    let expected = if expected == "nothing" { "an operator or the end" } else { expected };
    match found.filter(|found| !found.is_empty()) {
        Some(found) => {
            Mistake::new(span(code, found), format!("expected {expected}, found {}", first_line(found)))
        }
        None => Mistake::new(code.len()..code.len(), format!("expected {expected}, found the end")),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(40).collect()
}

/// Joins the program with what it needs of the library; where that is not enough, with all of it,
/// for a message that is about the program.
fn link<'a>(code: &'a str, term: Term<&'a str>) -> Result<jaq_core::Filter<JustLut<Val>>, Mistake> {
    let needed = library::needed_by(&term);
    link_with(needed, code, term.clone()).or_else(|_| link_with(library::all(), code, term))
}

/// The program goes in as a definition, since only those can be given as trees.
fn link_with<'a>(
    library: impl IntoIterator<Item = &'static Def<&'static str>>,
    code: &'a str,
    term: Term<&'a str>,
) -> Result<jaq_core::Filter<JustLut<Val>>, Mistake> {
    // The library's names live longer than the program's.
    let shorten = |definition: Def<&'static str>| -> Def<&'a str> { definition };
    let definitions = library
        .into_iter()
        .map(|definition| shorten(definition.clone()))
        .chain(std::iter::once(Def { name: MAIN, args: Vec::new(), body: term }));
    let arena = Arena::default();
    let modules = Loader::new(definitions)
        .load(&arena, File { code: MAIN, path: () })
        .map_err(|_| Mistake::new(0..code.len(), "the program cannot be loaded"))?;
    Compiler::default()
        .with_funs(natives::all())
        .with_global_vars(["$meta", "$vars"])
        .compile(modules)
        .map_err(|errors| undefined(code, &errors))
}

fn undefined(code: &str, errors: &jaq_core::compile::Errors<&str, ()>) -> Mistake {
    let bytes = code.as_bytes().as_ptr_range();
    let mine = errors.iter().flat_map(|(_, errors)| errors).find(|(name, _)| bytes.contains(&name.as_ptr()));
    match mine {
        Some((name, kind)) => unknown(name, kind, span(code, name)),
        None => {
            let names: Vec<_> = errors.iter().flat_map(|(_, errors)| errors).map(|(name, _)| *name).collect();
            Mistake::new(
                0..code.len(),
                format!("the program needs {}, which does not exist here", names.join(", ")),
            )
        }
    }
}

fn unknown(name: &str, kind: &Undefined, within: std::ops::Range<usize>) -> Mistake {
    let Undefined::Filter(arity) = kind else {
        let mistake = Mistake::new(within, format!("unknown {} {name}", kind.as_str()));
        return match kind {
            Undefined::Var => mistake.help("there are $meta, $vars and what the program itself names"),
            _ => mistake,
        };
    };
    let known: Vec<(&str, usize)> = library::all()
        .map(|definition| (definition.name, definition.args.len()))
        .chain(natives::all().map(|(name, arguments, _)| (name, arguments.len())))
        .collect();
    let takes: BTreeSet<usize> =
        known.iter().filter(|(other, _)| *other == name).map(|(_, arity)| *arity).collect();
    if !takes.is_empty() {
        let takes: Vec<String> = takes.iter().map(ToString::to_string).collect();
        let message = format!("{name} does not take {arity} arguments");
        return Mistake::new(within, message).help(format!("it takes {}", takes.join(" or ")));
    }
    let mistake = Mistake::new(within, format!("unknown filter {name}"));
    match suggest::nearest(name, known.iter().map(|(name, _)| *name)) {
        Some(near) => mistake.help(format!("did you mean {near}?")),
        None => mistake.help(format!("a field is written .{name}, text \"{name}\"")),
    }
}
