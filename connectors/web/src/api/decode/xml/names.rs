//! Names of elements and attributes by their namespaces (Namespaces in XML 1.0): prefixes are what the file says they are,
//! whatever a document calls them.

use std::collections::BTreeMap;

/// Namespaces of the file by their prefixes.
pub(super) struct Namespaces {
    prefixes: BTreeMap<String, String>,
    /// Prefixes by their namespaces.
    by_address: BTreeMap<String, String>,
}

impl Namespaces {
    /// # Errors
    /// The prefix that stands for nothing, or for what another stands for.
    pub(super) fn new(prefixes: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut by_address = BTreeMap::new();
        for (prefix, address) in prefixes {
            let taken = by_address.insert(address.clone(), prefix.clone()).is_some();
            if taken || address.is_empty() || prefix.contains(':') {
                return Err(prefix.clone());
            }
        }
        Ok(Self { prefixes: prefixes.clone(), by_address })
    }
}

/// What prefixes stand for at one place of a document.
#[derive(Default)]
pub(super) struct Scope {
    /// The depth at which each was declared, the prefix, the namespace.
    declared: Vec<(usize, String, String)>,
}

/// An attribute's default namespace is none, whatever that of elements is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Element,
    Attribute,
}

impl Scope {
    /// What an attribute declares, if it is a declaration.
    pub(super) fn declare(&mut self, depth: usize, name: &str, value: &str) -> bool {
        let prefix = match name.strip_prefix("xmlns") {
            Some("") => "",
            Some(rest) if rest.starts_with(':') => &rest[1..],
            _ => return false,
        };
        self.declared.push((depth, prefix.to_owned(), value.to_owned()));
        true
    }

    /// Forgets what was declared at that depth or deeper.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.declared.last().is_some_and(|(at, ..)| *at >= depth) {
            self.declared.pop();
        }
    }

    /// A name as the file would write it.
    pub(super) fn name(&self, namespaces: &Namespaces, written: &str, of: Of) -> String {
        let (prefix, local) = written.split_once(':').unwrap_or(("", written));
        let address = match (prefix, of) {
            ("", Of::Attribute) | ("xml", _) => None,
            _ => self.address(prefix),
        };
        match address.and_then(|address| namespaces.by_address.get(address)) {
            Some(prefix) if prefix.is_empty() => local.to_owned(),
            Some(prefix) => format!("{prefix}:{local}"),
            // The document's prefix means something else than the file's: the name would be taken for another.
            None => match address.filter(|_| namespaces.prefixes.contains_key(prefix)) {
                // The document's prefix means something else than the file's: the name would be taken for another.
                Some(address) => format!("{{{address}}}{local}"),
                None => written.to_owned(),
            },
        }
    }

    fn address(&self, prefix: &str) -> Option<&str> {
        let found = self.declared.iter().rev().find(|(_, known, _)| known == prefix)?;
        Some(found.2.as_str()).filter(|address| !address.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_its_namespace_is_called_in_the_file() {
        let prefixes = [("s", "urn:soap"), ("", "urn:orders"), ("x", "urn:x")];
        let prefixes = prefixes.map(|(prefix, address)| (prefix.to_owned(), address.to_owned()));
        let namespaces = Namespaces::new(&prefixes.into()).unwrap();
        let mut scope = Scope::default();
        for (name, value) in [("xmlns:soap", "urn:soap"), ("xmlns:o", "urn:orders"), ("xmlns:x", "urn:other")]
        {
            assert!(scope.declare(0, name, value));
        }
        assert!(!scope.declare(0, "xmlnsx", "urn:x"));
        scope.declare(1, "xmlns", "urn:soap");
        for (written, element, attribute) in [
            ("soap:Body", "s:Body", "s:Body"),
            ("o:Order", "Order", "Order"),
            ("Fault", "s:Fault", "Fault"),
            ("s:Body", "s:Body", "s:Body"),
            ("x:a", "{urn:other}a", "{urn:other}a"),
            ("y:a", "y:a", "y:a"),
            ("xml:lang", "xml:lang", "xml:lang"),
        ] {
            assert_eq!(scope.name(&namespaces, written, Of::Element), element);
            assert_eq!(scope.name(&namespaces, written, Of::Attribute), attribute);
        }
        scope.leave(1);
        assert_eq!(scope.name(&namespaces, "Fault", Of::Element), "Fault");
        let twice = [("a", "urn:x"), ("b", "urn:x")];
        let twice = twice.map(|(prefix, address)| (prefix.to_owned(), address.to_owned()));
        assert_eq!(Namespaces::new(&twice.into()).err().as_deref(), Some("b"));
    }
}
