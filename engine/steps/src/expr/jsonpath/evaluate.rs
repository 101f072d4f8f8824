//! Evaluates parsed paths and conditions on a tree. Values are borrowed; only a pick's result is cloned.

use std::borrow::Cow;

use jsonpath_rust::query::js_path_process;
use karez_api::{Json, field};

use super::ast::{Anchor, Comparison, Hop, Logical, Operand, Pattern, Query, Segment, Selector, Step};
use super::regexp;
use crate::expr::number::{equal, less};

/// Where an expression looks: `$` and `@`.
#[derive(Clone, Copy)]
struct View<'a> {
    root: &'a Json,
    current: &'a Json,
}

impl<'a> View<'a> {
    fn start(self, anchor: Anchor) -> &'a Json {
        match anchor {
            Anchor::Root => self.root,
            Anchor::Current => self.current,
        }
    }
}

/// Follows a singular path.
pub(crate) fn walk<'a>(mut node: &'a Json, path: &[Step]) -> Option<&'a Json> {
    for step in path {
        node = match step {
            Step::Name(name) => field(node.as_object()?, name)?,
            Step::Index(index) => element(node, *index)?,
        };
    }
    Some(node)
}

fn element(node: &Json, index: i64) -> Option<&Json> {
    let items = node.as_array()?;
    let place = if index < 0 { index.checked_add(i64::try_from(items.len()).ok()?)? } else { index };
    items.get(usize::try_from(place).ok()?)
}

impl Query {
    /// What a pick yields: a singular path its value if there is one, any other path an array.
    pub(crate) fn pick(&self, root: &Json) -> Option<Json> {
        match self {
            Self::Single(path) => walk(root, path).cloned(),
            Self::Many(_) => Some(Json::Array(self.nodes(root).into_iter().cloned().collect())),
        }
    }

    /// All nodes, in document order as RFC 9535 has it.
    pub(crate) fn nodes<'a>(&self, root: &'a Json) -> Vec<&'a Json> {
        self.nodes_from(View { root, current: root }, Anchor::Root)
    }

    fn nodes_from<'a>(&self, view: View<'a>, anchor: Anchor) -> Vec<&'a Json> {
        let start = view.start(anchor);
        match self {
            Self::Single(path) => walk(start, path).into_iter().collect(),
            Self::Many(hops) => hops.iter().fold(vec![start], |nodes, hop| {
                let mut next = Vec::new();
                for node in nodes {
                    hop.select(view.root, node, &mut next);
                }
                next
            }),
        }
    }

    fn exists(&self, view: View<'_>, anchor: Anchor) -> bool {
        match self {
            Self::Single(path) => walk(view.start(anchor), path).is_some(),
            Self::Many(_) => !self.nodes_from(view, anchor).is_empty(),
        }
    }
}

impl Hop {
    fn select<'a>(&self, root: &'a Json, node: &'a Json, into: &mut Vec<&'a Json>) {
        match self {
            // It can only fail for a query that ends in a computed value; plain selectors never do.
            Self::Library(query) => {
                let found = js_path_process(query, node).unwrap_or_default();
                into.extend(found.into_iter().map(|found| found.val));
            }
            Self::Own(segment) => segment.select(root, node, into),
        }
    }
}

impl Segment {
    fn select<'a>(&self, root: &'a Json, node: &'a Json, into: &mut Vec<&'a Json>) {
        for selector in &self.selectors {
            selector.select(root, node, into);
        }
        if self.descendant {
            for child in children(node) {
                self.select(root, child, into);
            }
        }
    }
}

fn children(node: &Json) -> Box<dyn Iterator<Item = &Json> + '_> {
    match node {
        Json::Array(items) => Box::new(items.iter()),
        Json::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

impl Selector {
    fn select<'a>(&self, root: &'a Json, node: &'a Json, into: &mut Vec<&'a Json>) {
        match self {
            Self::Name(name) => into.extend(node.as_object().and_then(|fields| field(fields, name))),
            Self::Index(index) => into.extend(element(node, *index)),
            Self::Wildcard => into.extend(children(node)),
            Self::Filter(filter) => {
                into.extend(children(node).filter(|child| filter.test(View { root, current: child })));
            }
            Self::Slice { start, end, step } => slice(node, *start, *end, step.unwrap_or(1), into),
        }
    }
}

/// RFC 9535 §2.3.4.2.2.
fn slice<'a>(node: &'a Json, start: Option<i64>, end: Option<i64>, step: i64, into: &mut Vec<&'a Json>) {
    let Some(items) = node.as_array() else { return };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |bound: i64| {
        if bound < 0 { bound.saturating_add(length) } else { bound }
    };
    let mut push = |at: i64| into.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
    if step > 0 {
        let (mut at, end) = (place(start.unwrap_or(0)).max(0), place(end.unwrap_or(length)).min(length));
        while at < end {
            push(at);
            at = at.saturating_add(step);
        }
    } else if step < 0 {
        let mut at = start.map_or(length - 1, place).min(length - 1);
        let end = end.map_or(-1, |end| place(end).max(-1));
        while at > end {
            push(at);
            at = at.saturating_add(step);
        }
    }
}

impl Logical {
    /// Whether a record's tree satisfies the condition; `@` and `$` are both the tree.
    pub(crate) fn holds(&self, tree: &Json) -> bool {
        self.test(View { root: tree, current: tree })
    }

    fn test(&self, view: View<'_>) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.test(view)),
            Self::And(parts) => parts.iter().all(|part| part.test(view)),
            Self::Not(part) => !part.test(view),
            Self::Exists { anchor, query, .. } => query.exists(view, *anchor),
            Self::Compare { left, comparison, right } => {
                comparison.holds(left.value(view).as_deref(), right.value(view).as_deref())
            }
            Self::Matches { subject, pattern } => match subject.value(view).as_deref() {
                Some(Json::String(subject)) => pattern.matches(subject, view),
                _ => false,
            },
        }
    }
}

impl Comparison {
    /// A missing value equals only another missing one.
    fn holds(self, left: Option<&Json>, right: Option<&Json>) -> bool {
        let same = || match (left, right) {
            (None, None) => true,
            (Some(left), Some(right)) => equal(left, right),
            _ => false,
        };
        let before = |left: Option<&Json>, right: Option<&Json>| {
            left.zip(right).is_some_and(|(left, right)| less(left, right))
        };
        match self {
            Self::Equal => same(),
            Self::NotEqual => !same(),
            Self::Less => before(left, right),
            Self::Greater => before(right, left),
            Self::LessOrEqual => before(left, right) || same(),
            Self::GreaterOrEqual => before(right, left) || same(),
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, view: View<'a>) -> Option<Cow<'a, Json>> {
        match self {
            Self::Literal(value) => Some(Cow::Borrowed(value)),
            Self::Node { anchor, path } => walk(view.start(*anchor), path).map(Cow::Borrowed),
            Self::Length(operand) => {
                length(operand.value(view)?.as_ref()).map(|length| Cow::Owned(length.into()))
            }
            Self::Count { anchor, query } => Some(Cow::Owned(query.nodes_from(view, *anchor).len().into())),
            Self::Value { anchor, query } => match query.nodes_from(view, *anchor).as_slice() {
                [node] => Some(Cow::Borrowed(*node)),
                _ => None,
            },
        }
    }
}

/// In characters for a string, in members for an array or object; other values have none.
fn length(value: &Json) -> Option<usize> {
    match value {
        Json::String(text) => Some(text.chars().count()),
        Json::Array(items) => Some(items.len()),
        Json::Object(fields) => Some(fields.len()),
        _ => None,
    }
}

impl Pattern {
    fn matches(&self, subject: &str, view: View<'_>) -> bool {
        match self {
            Self::Compiled(regex) => regex.is_match(subject),
            // RFC 9535 §2.4.6: what is not a legal pattern matches nothing.
            Self::Computed { operand, whole } => match operand.value(view).as_deref() {
                Some(Json::String(pattern)) => {
                    regexp::compile(pattern, *whole).is_ok_and(|regex| regex.is_match(subject))
                }
                _ => false,
            },
        }
    }
}
