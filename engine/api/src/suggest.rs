//! "Did you mean": the nearest of some names, if it is near enough to be a slip.

/// The candidate that `typed` was probably meant to be: a slip away, or begun and not finished.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let near = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let distance = strsim::osa_distance(&typed, &candidate);
        let longer = typed.chars().count().max(candidate.chars().count());
        let begun = typed.len() >= SHORTEST_BEGINNING && candidate.starts_with(&typed);
        (distance <= allowed(longer) || begun).then_some(distance)
    };
    let near = candidates.into_iter().filter_map(|candidate| Some((near(candidate)?, candidate)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `int` is the beginning of `integer`; of one or two letters much is the beginning.
const SHORTEST_BEGINNING: usize = 3;

/// One slip in a short word, one for each three letters of a longer one.
fn allowed(length: usize) -> usize {
    if length < 3 { 0 } else { (length / 3).clamp(1, 4) }
}

/// `did you mean "x"?`, or the list of what there is after `what`; nothing where there is none.
#[must_use]
pub fn help<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> Option<String> {
    if let Some(near) = nearest(typed, candidates.clone()) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    let names: Vec<&str> = candidates.into_iter().collect();
    match names.len() {
        0 => None,
        1..=16 => Some(format!("{what}: {}", names.join(", "))),
        more => Some(format!("{what}: {} and {} more", names[..15].join(", "), more - 15)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = ["timeout", "path", "method", "headers"];
        assert_eq!(nearest("timout", names), Some("timeout"));
        assert_eq!(nearest("Method", names), Some("method"));
        assert_eq!(nearest("haeders", names), Some("headers"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("int", ["number", "integer"]), Some("integer"));
        assert_eq!(nearest("in", ["number", "integer"]), None);
    }

    #[test]
    fn without_a_near_name_all_are_listed() {
        assert_eq!(help("zzz", ["a1", "b2"], "it takes"), Some("it takes: a1, b2".into()));
        assert_eq!(help("zzz", [], "it takes"), None);
    }
}
