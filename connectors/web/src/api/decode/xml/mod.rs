//! Documents: a record per element of a path. The rules of xmltodict, but with lists where the file says so, and names by
//! namespaces rather than by prefixes. No DTD is read and no entity expanded but the five of XML.

mod elements;
mod names;
mod node;

use std::collections::BTreeSet;

use karez_api::{Checker, Path, Problem};

use super::format::Xml;
pub(super) use elements::Elements;
use names::Namespaces;

pub(super) const ACCEPTS: [&str; 2] = ["application/xml", "text/xml"];

/// Which elements are records and which are lists, checked.
pub(super) struct Document {
    /// As it is written.
    text: String,
    /// Names from the root.
    record: Vec<String>,
    lists: BTreeSet<String>,
    list_paths: Vec<Vec<String>>,
    namespaces: Namespaces,
}

impl Document {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, spec: &Xml) -> Option<Self> {
        let mut fine = true;
        let mut wrong = |at: Path, message: String| {
            fine = false;
            cx.report(Problem::error("bad-value", at, message));
        };
        let record = path(&spec.record).unwrap_or_default();
        if record.is_empty() {
            wrong(at.field("record"), "must be a path of names from the root, like /Orders/Order".into());
        }
        let (mut lists, mut list_paths) = (BTreeSet::new(), Vec::new());
        for (number, text) in spec.list.iter().enumerate() {
            let at = at.field("list").index(number);
            match path(text) {
                Some(path) if path.len() > record.len() && path.starts_with(&record) => list_paths.push(path),
                Some(_) => wrong(at, format!("is not inside of the record elements {}", spec.record)),
                None if is_name(text) => drop(lists.insert(text.clone())),
                None => wrong(at, "must be the name of an element, or its path from the root".into()),
            }
        }
        let namespaces = Namespaces::new(&spec.namespaces);
        if let Err(prefix) = &namespaces {
            let at = at.field("namespaces").field(prefix.as_str());
            wrong(at, "stands for no namespace, or for one that another prefix stands for".into());
        }
        let namespaces = namespaces.ok()?;
        fine.then(|| Self { text: spec.record.clone(), record, lists, list_paths, namespaces })
    }

    /// Whether an element is a list also where there is only one of it. `path` is where it stands, itself included.
    fn is_list(&self, path: &[&str]) -> bool {
        path.last().is_some_and(|name| self.lists.contains(*name))
            || self.list_paths.iter().any(|list| list == path)
    }
}

fn path(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.strip_prefix('/')?.split('/').map(str::to_owned).collect();
    names.iter().all(|name| is_name(name)).then_some(names)
}

fn is_name(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>/&@*[]{}$\"'".contains(c);
    !text.is_empty() && !text.contains(odd)
}
