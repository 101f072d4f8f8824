//! "Did you mean": the nearest of some names, if it is near enough to be a slip.

/// The candidate that `typed` was probably meant to be.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed_lower = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&typed_lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed(typed.chars().count().max(candidate.chars().count()))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// One slip in a short word, one for each three letters of a longer one.
fn allowed(length: usize) -> usize {
    if length < 3 { 0 } else { (length / 3).clamp(1, 4) }
}

/// `did you mean "x"?`, or the list of what there is.
pub(crate) fn help<'a>(
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
    }

    #[test]
    fn without_a_near_name_all_are_listed() {
        assert_eq!(help("zzz", ["a1", "b2"], "it takes"), Some("it takes: a1, b2".into()));
        assert_eq!(help("zzz", [], "it takes"), None);
    }
}
