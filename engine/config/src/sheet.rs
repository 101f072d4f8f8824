//! A tree that was put together from several files: where each part of it is written, what
//! `${…}` wrote into it, and what is wrong with it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use karez_api::{Json, Path, Problem};

use crate::interpolate::{CODES, Written};
use crate::tree;

/// Where something is written: a file, by index into the load's files, and a path in that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) file: usize,
    pub(crate) path: Path,
}

/// For parts of a tree, where they come from; what is below a part comes from below its spot.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    root: Spot,
    parts: BTreeMap<Path, Spot>,
}

impl Origins {
    /// All of the tree is written in `file`, but for what merge keys moved.
    pub(crate) fn of_file(file: usize, moved: &[(Path, Path)]) -> Self {
        let mut origins = Self { root: Spot { file, path: Path::root() }, parts: BTreeMap::new() };
        for (to, from) in moved {
            origins.parts.insert(to.clone(), Spot { file, path: from.clone() });
        }
        origins
    }

    /// Says that everything at and below `path` comes from `spot`.
    pub(crate) fn insert(&mut self, path: Path, spot: Spot) {
        self.parts.retain(|known, _| !tree::below(known, &path));
        self.parts.insert(path, spot);
    }

    /// Copies what `other` knows of `from` and below to `to`, with the spot of `from` itself.
    pub(crate) fn graft(&mut self, to: &Path, other: &Self, from: &Path) {
        self.insert(to.clone(), other.find(from));
        for (path, spot) in &other.parts {
            if path != from && tree::below(path, from) {
                let rest = path.keys()[from.keys().len()..].iter().cloned();
                let moved = rest.fold(to.clone(), |path, key| path.then(key));
                self.parts.insert(moved, spot.clone());
            }
        }
    }

    /// Where `path` is written.
    pub(crate) fn find(&self, path: &Path) -> Spot {
        let mut prefix = path.clone();
        let known = loop {
            if let Some(spot) = self.parts.get(&prefix) {
                break spot;
            }
            match prefix.parent() {
                Some(parent) => prefix = parent,
                None => break &self.root,
            }
        };
        let rest = path.keys()[prefix.keys().len()..].iter().cloned();
        Spot { file: known.file, path: rest.fold(known.path.clone(), |path, key| path.then(key)) }
    }
}

/// A tree under examination.
pub(crate) struct Sheet {
    pub(crate) tree: Json,
    pub(crate) origins: Origins,
    /// What `${…}` wrote, by the path of the string.
    pub(crate) written: BTreeMap<Path, Written>,
    /// The literal parts of those strings, as expressions want them.
    pub(crate) literal: BTreeMap<Path, Vec<Range<usize>>>,
    /// Paths of fields that the schema calls secret.
    pub(crate) secret: RefCell<BTreeSet<Path>>,
    pub(crate) problems: RefCell<Vec<Problem>>,
    /// Something that this depends on is in error elsewhere, where it is reported.
    pub(crate) held: Cell<bool>,
}

impl Sheet {
    pub(crate) fn new(tree: Json, origins: Origins) -> Self {
        Self {
            tree,
            origins,
            written: BTreeMap::new(),
            literal: BTreeMap::new(),
            secret: RefCell::default(),
            problems: RefCell::default(),
            held: Cell::new(false),
        }
    }

    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Json> {
        tree::get(&self.tree, path)
    }

    /// Whether anything at or below `path` is an error.
    pub(crate) fn is_bad(&self, path: &Path) -> bool {
        let problems = self.problems.borrow();
        problems
            .iter()
            .any(|problem| is_error(problem) && self.counts(problem) && tree::below(&problem.at, path))
    }

    pub(crate) fn has_errors(&self) -> bool {
        let problems = self.problems.borrow();
        self.held.get() || problems.iter().any(|problem| is_error(problem) && self.counts(problem))
    }

    /// Not what is said of a text that something stands in for: the one that will count may be right.
    pub(crate) fn counts(&self, problem: &Problem) -> bool {
        let unknown = self.written.get(&problem.at).is_some_and(Written::is_unknown);
        !unknown || CODES.contains(&problem.code)
    }

    /// Whether a secret that is not at hand may be why something could not be built.
    pub(crate) fn is_unknown(&self) -> bool {
        self.problems.borrow().iter().any(|problem| !self.counts(problem))
    }
}

pub(crate) fn is_error(problem: &Problem) -> bool {
    problem.severity == karez_api::Severity::Error
}
