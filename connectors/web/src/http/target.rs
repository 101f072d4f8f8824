//! Where a record goes: a fixed scheme and host, a path and a query that may depend on the record.
//! A record never chooses the host: what stands before the path has no template.

use std::collections::BTreeMap;
use std::ops::Range;

use karez_api::{Checker, Escape, Fault, Json, Path, Problem, Record, Scope, Text, Value};
use reqwest::Url;

/// The parts of a target, compiled: what stands behind a far end's address.
pub(super) struct Target {
    path: Text,
    query: Option<Text>,
    pairs: Vec<(String, Value)>,
    /// The whole, where it is the same for every record.
    constant: Option<String>,
}

impl Target {
    /// What `setting`, which stands at `at`, says from `start` on.
    pub(super) fn check(
        cx: &Checker<'_>,
        at: &Path,
        setting: &str,
        start: usize,
        query: &BTreeMap<String, Json>,
    ) -> Option<Self> {
        let literal = cx.scope.literal.get(&cx.at.join(at)).map_or(&[][..], Vec::as_slice);
        let end = outside(setting, start, literal, b'#').unwrap_or(setting.len());
        let mark = outside(&setting[..end], start, literal, b'?');
        let path = part(cx, at, setting, start..mark.unwrap_or(end), Escape::UrlPath);
        let written = mark.map(|mark| part(cx, at, setting, mark + 1..end, Escape::UrlQuery));
        let pairs = pairs(cx, &at.parent().unwrap_or_default().field("query"), query);
        let mut target = Self {
            path: path?,
            query: written.map_or(Some(None), |part| part.map(Some))?,
            pairs: pairs?,
            constant: None,
        };
        target.constant = target.settle();
        let whole = target.constant.as_ref().map(|constant| Url::parse(&format!("http://host{constant}")));
        if whole.is_some_and(|whole| whole.is_err()) {
            cx.report(Problem::error("bad-url", at.clone(), "the path cannot stand in a URL"));
            return None;
        }
        Some(target)
    }

    /// The whole, where nothing depends on the record.
    fn settle(&self) -> Option<String> {
        let path = self.path.constant()?;
        let query = self.query.as_ref().map_or(Some(String::new()), |text| text.constant())?;
        self.pairs.is_empty().then(|| join(&path, query))
    }

    /// Path and query of a record.
    ///
    /// # Errors
    /// Class validation: the record lacks what they need.
    pub(super) fn of(&self, record: &Record) -> Result<String, Fault> {
        if let Some(constant) = &self.constant {
            return Ok(constant.clone());
        }
        let path = self.path.eval(record)?;
        let mut query = self.query.as_ref().map_or(Ok(String::new()), |text| text.eval(record))?;
        for (name, value) in &self.pairs {
            if let Some(found) = value.eval(record)? {
                append(&mut query, name, &found)?;
            }
        }
        Ok(join(&path, query))
    }
}

fn join(path: &str, query: String) -> String {
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    match query.is_empty() {
        true => format!("{slash}{path}"),
        false => format!("{slash}{path}?{query}"),
    }
}

/// A list is written as the name repeated; null and what matches nothing are left out.
pub(crate) fn append(query: &mut String, name: &str, value: &Json) -> Result<(), Fault> {
    let mut pair = |text: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        query.push('=');
        query.extend(form_urlencoded::byte_serialize(text.as_bytes()));
    };
    match value {
        Json::Null => {}
        Json::String(text) => pair(text),
        Json::Bool(_) | Json::Number(_) => pair(&value.to_string()),
        Json::Array(items) if items.iter().all(|item| !item.is_array()) => {
            for item in items {
                append(query, name, item)?;
            }
        }
        Json::Array(_) | Json::Object(_) => {
            return Err(Fault::validation(
                "bad_query",
                format!("query {name} is neither text, number, boolean nor a list of them"),
            ));
        }
    }
    Ok(())
}

fn pairs(cx: &Checker<'_>, at: &Path, query: &BTreeMap<String, Json>) -> Option<Vec<(String, Value)>> {
    let compiled: Vec<_> = query
        .iter()
        .filter_map(|(name, setting)| Some((name.clone(), cx.value(&at.field(name), setting)?)))
        .collect();
    (compiled.len() == query.len()).then_some(compiled)
}

/// Where the path begins. The host comes before it and is literal.
pub(crate) fn host_end(cx: &Checker<'_>, at: &Path, url: &str) -> Option<usize> {
    let start = url.find("://").map(|colon| colon + 3);
    let Some(start) = start else {
        cx.report(
            Problem::error("bad-url", at.clone(), "a url begins with http:// or https://")
                .help("the scheme and the host are fixed; only path and query may hold {{…}}"),
        );
        return None;
    };
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    let literal = cx.scope.literal.get(&cx.at.join(at)).map_or(&[][..], Vec::as_slice);
    if let Some(open) = template(&url[..end], literal) {
        cx.report(
            Problem::error("template-in-host", at.clone(), "the host of a url cannot depend on the record")
                .within(open..end)
                .help("route records to one sink for each host"),
        );
        return None;
    }
    Some(end)
}

fn is_literal(at: usize, literal: &[Range<usize>]) -> bool {
    literal.iter().any(|range| range.contains(&at))
}

fn template(text: &str, literal: &[Range<usize>]) -> Option<usize> {
    text.match_indices("{{").map(|(at, _)| at).find(|at| !is_literal(*at, literal))
}

/// The first `byte` from `start` on that stands outside `{{…}}`.
fn outside(text: &str, start: usize, literal: &[Range<usize>], byte: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"{{") && !is_literal(at, literal) {
            at = text[at..].find("}}").map_or(bytes.len(), |length| at + length + 2);
        } else if bytes[at] == byte {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// Compiles a part of a setting; its literal ranges and its problems are moved to fit.
fn part(cx: &Checker<'_>, at: &Path, setting: &str, range: Range<usize>, escape: Escape) -> Option<Text> {
    let place = cx.at.join(at);
    let mut literal = cx.scope.literal.clone();
    if let Some(ranges) = literal.get_mut(&place) {
        *ranges = moved(ranges, &range);
    }
    let scope = Scope { vars: cx.scope.vars, literal: &literal, warnings: cx.scope.warnings };
    let start = range.start;
    cx.expressions
        .text(&scope, &place, &setting[range], escape)
        .map_err(|problems| {
            let shift = |within: Range<usize>| within.start + start..within.end + start;
            let moved = problems
                .into_iter()
                .map(|problem| Problem { within: problem.within.clone().map(shift), ..problem });
            cx.problems.borrow_mut().extend(moved);
        })
        .ok()
}

fn moved(ranges: &[Range<usize>], part: &Range<usize>) -> Vec<Range<usize>> {
    ranges
        .iter()
        .map(|range| range.start.max(part.start)..range.end.min(part.end))
        .filter(|range| !range.is_empty())
        .map(|range| range.start - part.start..range.end - part.start)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    #[test]
    fn a_query_begins_at_the_first_mark_outside_templates() {
        let found = |text: &str| outside(text, 0, &[], b'?');
        assert_eq!(found("/a?b"), Some(2));
        assert_eq!(found("/{{default x \"?\"}}?b"), Some(18));
        assert_eq!(found("/{{a}}"), None);
        assert_eq!(found("/{{a?"), None);
        // What a variable brought in is text, even where it looks like a template.
        assert_eq!(outside("/{{a?b", 0, from_ref(&(1..6)), b'?'), Some(4));
    }

    #[test]
    fn literal_ranges_move_with_their_part() {
        assert_eq!(moved(&[0..4, 6..12, 20..22], &(8..16)), vec![0..4]);
        assert_eq!(template("https://{{x}}", from_ref(&(8..13))), None);
        assert_eq!(template("https://{{x}}", &[]), Some(8));
    }
}
