//! What a path or condition looks like once it is parsed.

use std::ops::Range;

use jsonpath_rust::parser::model as library;
use karez_api::Json;
use regex::Regex;

/// One step of a singular path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Name(String),
    /// From the end where negative.
    Index(i64),
}

/// What a query begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// `$`
    Root,
    /// `@`
    Current,
}

/// A compiled path.
#[derive(Debug)]
pub(crate) enum Query {
    /// Names and indexes only: at most one node.
    Single(Vec<Step>),
    Many(Vec<Hop>),
}

/// A part of a path that can yield many nodes.
#[derive(Debug)]
pub(crate) enum Hop {
    /// Plain selectors, by jsonpath-rust.
    Library(library::JpQuery),
    /// A segment with a filter, or with several selectors: jsonpath-rust orders the latter's nodes by selector instead of by node.
    Own(Segment),
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) descendant: bool,
    pub(crate) selectors: Vec<Selector>,
}

#[derive(Debug)]
pub(crate) enum Selector {
    Name(String),
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: Option<i64> },
    Wildcard,
    Filter(Box<Logical>),
}

/// A logical expression.
#[derive(Debug)]
pub(crate) enum Logical {
    Or(Vec<Self>),
    And(Vec<Self>),
    Not(Box<Self>),
    Exists { anchor: Anchor, query: Query, within: Range<usize> },
    Compare { left: Operand, comparison: Comparison, right: Operand },
    Matches { subject: Operand, pattern: Pattern },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One value, or nothing.
#[derive(Debug)]
pub(crate) enum Operand {
    Literal(Json),
    Node {
        anchor: Anchor,
        path: Vec<Step>,
    },
    Length(Box<Self>),
    Count {
        anchor: Anchor,
        query: Query,
    },
    /// The node of a query that yields exactly one.
    Value {
        anchor: Anchor,
        query: Query,
    },
}

#[derive(Debug)]
pub(crate) enum Pattern {
    Compiled(Regex),
    /// A pattern from the record; `whole` for `match`.
    Computed {
        operand: Operand,
        whole: bool,
    },
}

impl Query {
    pub(crate) fn new(segments: Vec<Segment>) -> Self {
        match segments.iter().map(Segment::singular).collect() {
            Some(steps) => Self::Single(steps),
            None => Self::Many(hops(segments)),
        }
    }
}

impl Segment {
    fn singular(&self) -> Option<Step> {
        match self.selectors.as_slice() {
            [Selector::Name(name)] if !self.descendant => Some(Step::Name(name.clone())),
            [Selector::Index(index)] if !self.descendant => Some(Step::Index(*index)),
            _ => None,
        }
    }

    fn library(&self) -> Option<library::Segment> {
        let selector = match self.selectors.as_slice() {
            [Selector::Name(name)] => library::Selector::Name(name.clone()),
            [Selector::Index(index)] => library::Selector::Index(*index),
            [Selector::Slice { start, end, step }] => library::Selector::Slice(*start, *end, *step),
            [Selector::Wildcard] => library::Selector::Wildcard,
            _ => return None,
        };
        let segment = library::Segment::Selector(selector);
        Some(if self.descendant { library::Segment::Descendant(Box::new(segment)) } else { segment })
    }
}

fn hops(segments: Vec<Segment>) -> Vec<Hop> {
    let mut hops = Vec::new();
    for segment in segments {
        match (segment.library(), hops.last_mut()) {
            (Some(plain), Some(Hop::Library(query))) => query.segments.push(plain),
            (Some(plain), _) => hops.push(Hop::Library(library::JpQuery::new(vec![plain]))),
            (None, _) => hops.push(Hop::Own(segment)),
        }
    }
    hops
}
