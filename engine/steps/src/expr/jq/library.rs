//! jq's library of definitions, parsed once. A program is compiled with those that it needs: all of
//! them take a hundred kilobytes, and there may be thousands of programs.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

use super::natives;

/// A definition with the names that its body calls.
struct Entry {
    definition: Def<&'static str>,
    calls: BTreeSet<&'static str>,
}

static LIBRARY: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    definitions
        .filter(|definition| !natives::OFF_DEFINITIONS.contains(&definition.name))
        .map(|definition| {
            let mut calls = Calls(BTreeSet::new());
            calls.term(&definition.body);
            Entry { definition, calls: calls.0 }
        })
        .collect()
});

/// All definitions, in an order in which each comes after those that it calls.
pub(super) fn all() -> impl Iterator<Item = &'static Def<&'static str>> {
    LIBRARY.iter().map(|entry| &entry.definition)
}

/// The definitions that a program calls, and those that they call.
pub(super) fn needed_by<'a>(program: &Term<&'a str>) -> Vec<&'static Def<&'static str>> {
    let mut calls = Calls(BTreeSet::new());
    calls.term(program);
    let mut wanted: BTreeSet<&'a str> = calls.0;
    // A definition calls only what stands before it.
    let mut needed = Vec::new();
    for entry in LIBRARY.iter().rev() {
        if wanted.contains(entry.definition.name) {
            wanted.extend(&entry.calls);
            needed.push(&entry.definition);
        }
    }
    needed.reverse();
    needed
}

/// The names that terms call; names that they define themselves may be among them.
struct Calls<'a>(BTreeSet<&'a str>);

impl<'a> Calls<'a> {
    fn terms<'t>(&mut self, terms: impl IntoIterator<Item = &'t Term<&'a str>>)
    where
        'a: 't,
    {
        terms.into_iter().for_each(|term| self.term(term));
    }

    fn term(&mut self, term: &Term<&'a str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Str(format, parts) => {
                self.0.extend(format);
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.term(inner);
                    }
                }
            }
            Term::Arr(inner) => self.terms(inner.as_deref()),
            Term::Obj(entries) => {
                entries.iter().for_each(|(key, value)| self.terms(std::iter::once(key).chain(value)));
            }
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, operator, right) => {
                self.terms([&**left, &**right]);
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern);
                }
            }
            Term::Fold(_, over, pattern, steps) => {
                self.terms(std::iter::once(&**over).chain(steps));
                self.pattern(pattern);
            }
            Term::TryCatch(inner, caught) => self.terms(std::iter::once(&**inner).chain(caught.as_deref())),
            Term::IfThenElse(branches, otherwise) => {
                branches.iter().for_each(|(condition, then)| self.terms([condition, then]));
                self.terms(otherwise.as_deref());
            }
            Term::Def(definitions, rest) => {
                self.terms(definitions.iter().map(|definition| &definition.body).chain([&**rest]));
            }
            Term::Call(name, arguments) => {
                self.0.insert(name);
                self.terms(arguments);
            }
            Term::Path(head, path) => {
                self.term(head);
                self.path(path);
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&'a str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(inner) => inner.iter().for_each(|inner| self.pattern(inner)),
            Pattern::Obj(entries) => {
                for (key, inner) in entries {
                    self.term(key);
                    self.pattern(inner);
                }
            }
        }
    }

    fn path(&mut self, path: &Path<Term<&'a str>>) {
        for (part, _) in &path.0 {
            match part {
                Part::Index(index) => self.term(index),
                Part::Range(from, to) => self.terms(from.iter().chain(to)),
            }
        }
    }
}
