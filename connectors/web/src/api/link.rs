//! `Link` headers (RFC 8288).

use http::{HeaderMap, header};

/// The target of a link with this relation (RFC 8288 §3).
pub(super) fn target(headers: &HeaderMap, relation: &str) -> Option<String> {
    let fields = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(links).find_map(|(target, relations)| {
        let fits = |each: &str| each.eq_ignore_ascii_case(relation);
        relations.split_ascii_whitespace().any(fits).then_some(target)
    })
}

/// Targets and relations of one field's value.
fn links(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(open) = rest.find('<') {
        let Some(close) = rest[open..].find('>').map(|length| open + length) else { break };
        let target = rest[open + 1..close].trim().to_owned();
        // Parameters end at a comma outside quotes.
        let mut quoted = false;
        let end = rest[close..].find(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let end = end.map_or(rest.len(), |length| close + length);
        let named = |wanted: &str| {
            rest[close + 1..end].split(';').find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                let fits = name.trim().eq_ignore_ascii_case(wanted);
                fits.then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        // Some always name a next page, and say beside it that there is nothing (Sentry's `results`).
        let leads = named("results").is_none_or(|results| results != "false");
        found.extend(named("rel").filter(|_| leads).map(|relation| (target, relation)));
        rest = &rest[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LINK, value.parse().unwrap());
        target(&headers, "next")
    }

    #[test]
    fn the_target_is_found_by_its_relation() {
        let found = Some("https://a.b/x?page=2".to_owned());
        for value in [
            r#"<https://a.b/x?page=2>; rel="next""#,
            r#"<https://a.b/x?page=9>; rel="last", <https://a.b/x?page=2>; rel="next""#,
            r#"<https://a.b/x?page=2>; title="a, b; <c>"; rel=Next"#,
            r#"<https://a.b/x?page=2>;REL="prefetch next""#,
        ] {
            assert_eq!(next(value), found, "{value}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_no_link() {
        for value in [
            "",
            "<https://a.b/x",
            r#"<https://a.b/x>; rel="prev""#,
            r#"<https://a.b/x>; rel="next"; results="false""#,
            "https://a.b/x; rel=next",
        ] {
            assert_eq!(next(value), None, "{value}");
        }
    }
}
