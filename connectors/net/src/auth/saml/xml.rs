//! XML that is written as Exclusive XML Canonicalization (RFC 3741) has it, so that what is signed is what is sent.

/// An element: attributes in the order of their names, no empty-element tags.
pub(super) fn element(name: &str, attributes: &[(&str, &str)], content: &str) -> String {
    let attributes: String =
        attributes.iter().map(|(name, value)| format!(" {name}=\"{}\"", attribute(value))).collect();
    format!("<{name}{attributes}>{content}</{name}>")
}

/// Text between tags.
pub(super) fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#xD;")
}

fn attribute(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    text.replace('\t', "&#x9;").replace('\n', "&#xA;").replace('\r', "&#xD;")
}

/// Whether a text can stand in XML 1.0 at all (§2.2).
pub(super) fn takes(text: &str) -> bool {
    text.chars()
        .all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}
