//! `$` where it means nothing: who writes `$TOKEN` or `$.id` into plain text probably meant the variable or the field.

use std::ops::Range;

use karez_api::{Path, Problem};

/// A shorter name in capitals may be a currency.
const SHORTEST_NAME: usize = 4;

/// A warning for a text (`kind` is `text`) or a fixed string (no kind) with a `$` that is taken as it is.
pub(super) fn as_text(
    text: &str,
    kind: Option<&str>,
    literal: &[Range<usize>],
    at: &Path,
) -> Option<Problem> {
    let found = match kind {
        None if text.starts_with('$') => whole(text)?,
        Some("text") => text
            .match_indices('$')
            .filter(|(start, _)| !literal.iter().any(|range| range.contains(start)))
            .find_map(|(start, _)| within(text, start))?,
        _ => return None,
    };
    if literal.iter().any(|range| range.contains(&found.range.start)) {
        return None;
    }
    let message = format!("`{}` is taken as it is written", &text[found.range.clone()]);
    Some(Problem::warning("dollar-in-text", at.clone(), message).help(found.help).within(found.range))
}

struct Found {
    range: Range<usize>,
    help: String,
}

/// A string that is read once: only as a whole is it a name.
fn whole(text: &str) -> Option<Found> {
    let name = &text[1..];
    (name_length(name) == name.len() && !name.is_empty())
        .then(|| Found { range: 0..text.len(), help: format!("for the variable write ${{{name}}}") })
}

/// A `$` at `start` of a text that may hold templates.
fn within(text: &str, start: usize) -> Option<Found> {
    let rest = &text[start + 1..];
    if let Some(path) = rest.strip_prefix('.') {
        let length = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(path.len());
        let path = path[..length].trim_end_matches('.');
        let is_pick = path.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let open = text[..start].matches("{{").count() > text[..start].matches("}}").count();
        return (is_pick && !open).then(|| Found {
            range: start..start + 2 + path.len(),
            help: format!("a pick has no meaning in a text; for the field write {{{{{path}}}}}"),
        });
    }
    let length = name_length(rest);
    let is_whole = start == 0 && length == rest.len() && length > 0;
    (is_whole || length >= SHORTEST_NAME).then(|| Found {
        range: start..start + 1 + length,
        help: format!("for the variable write ${{{}}}", &rest[..length]),
    })
}

/// Letters of a name of the environment at the beginning of `text`.
fn name_length(text: &str) -> usize {
    let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    let length = end.unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, kind: Option<&str>) -> Option<(Range<usize>, Option<String>)> {
        as_text(text, kind, &[], &Path::root())
            .map(|problem| (problem.within.unwrap_or_default(), problem.help))
    }

    #[test]
    fn what_looks_like_a_variable_or_a_pick_is_pointed_out() {
        let help = |text, kind| found(text, kind).and_then(|(_, help)| help);
        assert_eq!(help("$TOKEN", None).as_deref(), Some("for the variable write ${TOKEN}"));
        assert_eq!(
            help("Bearer $CRM_KEY", Some("text")).as_deref(),
            Some("for the variable write ${CRM_KEY}")
        );
        let field = Some("a pick has no meaning in a text; for the field write {{a.b}}");
        assert_eq!(help("/users/$.a.b/x", Some("text")).as_deref(), field);
        assert_eq!(found("/users/$.a.b/x", Some("text")).map(|(range, _)| range), Some(7..12));
    }

    #[test]
    fn money_and_what_a_variable_brought_are_left_alone() {
        for text in ["$5", "costs $5.00", "in $USD", "$", "$.5", "$$", "p$ssword"] {
            assert_eq!(found(text, None), None, "{text}");
            assert_eq!(found(text, Some("text")), None, "{text}");
        }
        assert_eq!(found("$TOKEN", Some("value")), None);
        let brought = 0..6;
        assert!(as_text("$TOKEN", None, std::slice::from_ref(&brought), &Path::root()).is_none());
    }
}
