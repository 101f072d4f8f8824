//! Texts with `{name}` in them: addresses, headers and query parameters that depend on the account.

use std::collections::{BTreeMap, BTreeSet};

/// A text whose `{name}` stand for values that are known when it is used. Braces around anything but a
/// name are just braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Text(_) => None,
        }
    }
}

impl Template {
    pub(crate) fn read(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let inside = &rest[start + 1..];
            match inside.find('}').map(|end| &inside[..end]).filter(|name| is_name(name)) {
                Some(name) => {
                    plain.push_str(&rest[..start]);
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Name(name.to_owned()));
                    rest = &inside[name.len() + 1..];
                }
                None => {
                    plain.push_str(&rest[..=start]);
                    rest = inside;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(Part::name).collect()
    }

    /// The whole text.
    ///
    /// # Errors
    /// The first name without a value.
    pub(crate) fn fill(&self, values: &BTreeMap<String, String>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.0 {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Name(name) => values.get(name).ok_or(name.as_str())?,
            });
        }
        Ok(text)
    }

    /// As [`Template::fill`], for an address: only a value at its very beginning may bring scheme and host
    /// along; elsewhere it cannot change what host is called or where the path ends.
    ///
    /// # Errors
    /// What is missing or would do so, as a fragment.
    pub(crate) fn fill_address(&self, values: &BTreeMap<String, String>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => {
                    let value =
                        values.get(name).ok_or_else(|| format!("{{{name}}} is not known before a log-in"))?;
                    if !text.is_empty() && !is_harmless(value, is_in_host(&text)) {
                        return Err(format!("the value of {{{name}}} does not belong into an address"));
                    }
                    text.push_str(value);
                }
            }
        }
        Ok(text)
    }
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(letter) && text.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Whether an address that begins so is still in its host.
fn is_in_host(beginning: &str) -> bool {
    beginning.split_once("://").is_none_or(|(_, rest)| !rest.contains('/'))
}

fn is_harmless(value: &str, in_host: bool) -> bool {
    let plain = !value.contains(|c: char| c.is_control() || c.is_whitespace() || "?#@\\".contains(c));
    let inside = !value.split('/').any(|segment| matches!(segment, "." | ".."));
    plain && inside && !(in_host && value.contains(['/', ':', '%']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_stand_for_values_and_other_braces_for_themselves() {
        let known = values(&[("a", "1"), ("b_2", "x")]);
        for (text, expected) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("{a}", Ok("1")),
            ("-{a}-{b_2}{a}-", Ok("-1-x1-")),
            (r#"{"a": {a}}"#, Ok(r#"{"a": 1}"#)),
            ("{}{ a}{1}{", Ok("{}{ a}{1}{")),
            ("{{a}}", Ok("{1}")),
            ("{c}", Err("c")),
        ] {
            assert_eq!(
                Template::read(text).fill(&known).as_deref(),
                expected.as_ref().map(|text| *text),
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_cannot_lead_to_another_host() {
        let filled =
            |text: &str, value: &str| Template::read(text).fill_address(&values(&[("v", value)])).ok();
        assert_eq!(
            filled("{v}/services", "https://eu1.example.com").as_deref(),
            Some("https://eu1.example.com/services")
        );
        assert_eq!(
            filled("https://{v}.example.com/x", "acme").as_deref(),
            Some("https://acme.example.com/x")
        );
        assert_eq!(filled("https://example.com/{v}/x", "a/b").as_deref(), Some("https://example.com/a/b/x"));
        for (text, value) in [
            ("https://{v}.example.com", "evil.example.net/"),
            ("https://{v}.example.com", "evil.example.net#"),
            ("https://{v}.example.com", "user:pass@evil"),
            ("https://{v}.example.com", "evil:1"),
            ("https://example.com{v}", ".evil.net/"),
            ("https://example.com/{v}", "../admin"),
            ("https://example.com/{v}", "a?b=c"),
            ("https://example.com/{v}", "a b"),
            ("https://example.com/{w}", "a"),
        ] {
            assert_eq!(filled(text, value), None, "{text} {value}");
        }
    }
}
