//! What a program may not do, what it uses, and how much it can cost, read from its syntax tree.

use std::ops::Range;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::load::span;
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::natives::MULTIPLY;
use crate::expr::mistake::Mistake;

/// What a run costs, in terms of the record's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    Linear,
    Quadratic,
    Unknown,
}

/// What is not there, and what to use instead.
const OFF: &[(&str, &str)] = &[
    ("env", "put what is needed under `vars:` and write $vars.name"),
    ("input", "a program sees one record"),
    ("inputs", "a program sees one record"),
    ("input_filename", "write $meta.file"),
    ("input_line_number", "write $meta.line"),
    ("now", "write $meta.received_at, which a retry repeats"),
    ("localtime", "use gmtime"),
    ("strflocaltime", "use strftime"),
    ("debug", "use `karez tap`"),
    ("stderr", "use `karez tap`"),
    ("halt", "use error(…) or empty"),
    ("halt_error", "use error(…)"),
];

/// Builtins that may go on for ever.
const ENDLESS: &[(&str, usize)] =
    &[("repeat", 1), ("while", 2), ("until", 2), ("recurse", 1), ("recurse", 2)];

/// Builtins of linear cost without a loop over their argument.
const PLAIN: &[&str] = &[
    "length",
    "keys",
    "keys_unsorted",
    "has",
    "tostring",
    "tonumber",
    "not",
    "empty",
    "ascii_downcase",
    "ascii_upcase",
    "type",
    "first",
    "last",
    "true",
    "false",
    "null",
    "select",
    "error",
    "floor",
    "ceil",
    "round",
    "startswith",
    "endswith",
    "ltrimstr",
    "rtrimstr",
    "values",
    "reverse",
    "sort",
    "abs",
    "toboolean",
];
/// Builtins that loop over what they are given.
const LOOPS: &[&str] = &[
    "map",
    "map_values",
    "to_entries",
    "from_entries",
    "with_entries",
    "any",
    "all",
    "add",
    "join",
    "min",
    "max",
];

pub(super) struct Check<'a> {
    pub(super) code: &'a str,
    pub(super) unbounded: bool,
    pub(super) uses_meta: bool,
    pub(super) uses_vars: bool,
    loops: usize,
    plain: bool,
    /// Definitions whose bodies are being read, with their number of arguments.
    open: Vec<(&'a str, usize)>,
}

impl<'a> Check<'a> {
    pub(super) fn new(code: &'a str, unbounded: bool) -> Self {
        Self { code, unbounded, uses_meta: false, uses_vars: false, loops: 0, plain: true, open: Vec::new() }
    }

    pub(super) fn cost(&self) -> Cost {
        match self.loops {
            _ if !self.plain => Cost::Unknown,
            0 | 1 => Cost::Linear,
            2 => Cost::Quadratic,
            _ => Cost::Unknown,
        }
    }

    fn place(&self, part: &str) -> Range<usize> {
        span(self.code, part)
    }

    /// Reads a term, and puts our bounded multiplication in the place of the library's.
    pub(super) fn term(&mut self, term: &mut Term<&'a str>) -> Result<(), Mistake> {
        match term {
            Term::Id | Term::Num(_) | Term::Break(_) => {}
            Term::Recurse => self.loops += 1,
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.term(inner)?;
                    }
                }
            }
            Term::Arr(inner) => inner.iter_mut().try_for_each(|inner| self.term(inner))?,
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.term(key)?;
                    value.iter_mut().try_for_each(|value| self.term(value))?;
                }
            }
            Term::Neg(inner) => self.term(inner)?,
            Term::BinOp(left, operator, right) => {
                self.term(left)?;
                self.term(right)?;
                self.operator(operator)?;
                if matches!(operator, BinaryOp::Math(Math::Mul)) {
                    let operands = vec![std::mem::take(&mut **left), std::mem::take(&mut **right)];
                    *term = Term::Call(MULTIPLY, operands);
                }
            }
            Term::Label(_, inner) => {
                self.plain = false;
                self.term(inner)?;
            }
            Term::Fold(_, over, pattern, steps) => {
                self.plain = false;
                self.term(over)?;
                self.pattern(pattern)?;
                steps.iter_mut().try_for_each(|step| self.term(step))?;
            }
            Term::TryCatch(inner, caught) => {
                self.term(inner)?;
                caught.iter_mut().try_for_each(|caught| self.term(caught))?;
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition)?;
                    self.term(then)?;
                }
                otherwise.iter_mut().try_for_each(|otherwise| self.term(otherwise))?;
            }
            Term::Def(definitions, rest) => {
                self.plain = false;
                definitions.iter_mut().try_for_each(|definition| self.definition(definition))?;
                self.term(rest)?;
            }
            Term::Call(name, arguments) => self.call(name, arguments)?,
            Term::Var(name) => self.variable(name)?,
            Term::Path(head, path) => {
                self.term(head)?;
                self.path(path)?;
            }
        }
        Ok(())
    }

    fn operator(&mut self, operator: &mut BinaryOp<&'a str>) -> Result<(), Mistake> {
        match operator {
            BinaryOp::Pipe(Some(pattern)) => self.pattern(pattern)?,
            BinaryOp::Comma => self.loops += 1,
            BinaryOp::Math(Math::Mul) => self.plain = false,
            BinaryOp::UpdateMath(Math::Mul) => {
                let mistake = Mistake::new(0..self.code.len(), "*= does not exist here");
                return Err(mistake.help("write .x |= . * …"));
            }
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.loops += 1
            }
            _ => {}
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &mut Pattern<&'a str>) -> Result<(), Mistake> {
        match pattern {
            Pattern::Var(_) => Ok(()),
            Pattern::Arr(inner) => inner.iter_mut().try_for_each(|inner| self.pattern(inner)),
            Pattern::Obj(entries) => entries.iter_mut().try_for_each(|(key, inner)| {
                self.term(key)?;
                self.pattern(inner)
            }),
        }
    }

    fn path(&mut self, path: &mut Path<Term<&'a str>>) -> Result<(), Mistake> {
        for (part, _) in &mut path.0 {
            match part {
                Part::Index(index) => self.term(index)?,
                Part::Range(None, None) => self.loops += 1,
                Part::Range(from, to) => {
                    for bound in [from, to].into_iter().flatten() {
                        self.term(bound)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn definition(&mut self, definition: &mut Def<&'a str>) -> Result<(), Mistake> {
        self.open.push((definition.name, definition.args.len()));
        let checked = self.term(&mut definition.body);
        self.open.pop();
        checked
    }

    fn variable(&mut self, name: &'a str) -> Result<(), Mistake> {
        match name {
            "$meta" => self.uses_meta = true,
            "$vars" => self.uses_vars = true,
            "$ENV" | "$__env" => {
                let mistake = Mistake::new(self.place(name), "programs do not see the environment");
                return Err(mistake.help("put what is needed under `vars:` and write $vars.name"));
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, name: &'a str, arguments: &mut [Term<&'a str>]) -> Result<(), Mistake> {
        if let Some((_, instead)) = OFF.iter().find(|(off, _)| *off == name) {
            return Err(Mistake::new(self.place(name), format!("{name} does not exist here")).help(*instead));
        }
        let endless =
            ENDLESS.contains(&(name, arguments.len())) || self.open.contains(&(name, arguments.len()));
        if endless && !self.unbounded {
            let message = format!("{name} may go on for ever");
            return Err(Mistake::new(self.place(name), message)
                .help("if it surely ends, write jq: {program: …, unbounded: true}"));
        }
        if LOOPS.contains(&name) {
            self.loops += 1;
        } else if !PLAIN.contains(&name) {
            self.plain = false;
        }
        arguments.iter_mut().try_for_each(|argument| self.term(argument))
    }
}
