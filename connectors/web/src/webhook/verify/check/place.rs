//! Where something stands, as settings say it.

use ::http::HeaderName;
use karez_api::{Checker, Path, Problem};

use super::super::super::header_name;
use super::super::path::BodyPath;
use super::super::place::Place;
use super::super::texts::Texts;

pub(super) fn place(
    cx: &Checker<'_>,
    at: &Path,
    header: Option<&Texts>,
    query: Option<String>,
    body: Option<&str>,
) -> Option<Place> {
    match (header, query, body) {
        (Some(names), None, None) => header_names(cx, &at.field("header"), names).map(Place::Headers),
        (None, Some(name), None) => Some(Place::Query(name)),
        (None, None, Some(path)) => body_path(cx, &at.field("body"), path).map(Place::Body),
        (None, None, None) => {
            cx.report(
                Problem::error("missing-place", at.clone(), "nothing says where it stands")
                    .help("add header: X-Name, query: NAME, or body: FIELD"),
            );
            None
        }
        _ => {
            cx.report(ambiguous_place(at));
            None
        }
    }
}

pub(super) fn ambiguous_place(at: &Path) -> Problem {
    Problem::error("ambiguous-place", at.clone(), "it can stand in one place only")
        .help("keep one of header, query and body")
}

pub(in super::super) fn body_path(cx: &Checker<'_>, at: &Path, text: &str) -> Option<BodyPath> {
    BodyPath::parse(text).map_err(|what| cx.report(Problem::error("bad-field", at.clone(), what))).ok()
}

pub(in super::super) fn header_names(cx: &Checker<'_>, at: &Path, names: &Texts) -> Option<Vec<HeaderName>> {
    let mut found = Vec::new();
    for (index, name) in names.list.iter().enumerate() {
        let place = if names.written_as_list { at.index(index) } else { at.clone() };
        match name.split_once('*') {
            None => found.push(header_name(cx, &place, name)?),
            Some((before, behind)) => {
                for number in 1..=100 {
                    found.push(header_name(cx, &place, &format!("{before}{number}{behind}"))?);
                }
            }
        }
    }
    if found.is_empty() {
        cx.report(Problem::error("missing-place", at.clone(), "no header is named"));
    }
    (!found.is_empty()).then_some(found)
}
