//! What is signed: a line for each part of the message that is covered (RFC 9421 §2.5).

use ::http::HeaderName;
use sfv::{BareItem, FieldType as _, InnerList, Item, ListEntry};

use super::super::request::Request;
use super::super::url::PublicUrl;

/// What is covered, by name.
///
/// # Errors
/// A sentence: something is covered twice or in a way that is not known here.
pub(super) fn names(covered: &InnerList) -> Result<Vec<&str>, String> {
    let mut names = Vec::with_capacity(covered.items.len());
    for item in &covered.items {
        let name = name(item)?;
        if names.contains(&name) {
            return Err(format!("signature-input covers {name} twice"));
        }
        names.push(name);
    }
    Ok(names)
}

fn name(item: &Item) -> Result<&str, String> {
    match &item.bare_item {
        // A parameter would make another line of it: `sf`, `key`, `bs`, `tr`, `req`.
        BareItem::String(name) if item.params.is_empty() => Ok(name.as_str()),
        BareItem::String(name) => {
            Err(format!("signature-input covers {name} in a way that is not known here"))
        }
        _ => Err("signature-input covers something without a name".into()),
    }
}

/// # Errors
/// A sentence: something that is covered is not there.
pub(super) fn of(
    covered: &InnerList,
    request: &Request<'_>,
    public_url: Option<&PublicUrl>,
) -> Result<Vec<u8>, String> {
    let mut base = Vec::new();
    for name in names(covered)? {
        base.extend_from_slice(format!("\"{name}\": ").as_bytes());
        match name.strip_prefix('@') {
            Some(derived) => base.extend_from_slice(self::derived(derived, request, public_url)?.as_bytes()),
            None => field(name, request, &mut base)?,
        }
        base.push(b'\n');
    }
    let params = vec![ListEntry::InnerList(covered.clone())].serialize().unwrap_or_default();
    base.extend_from_slice(format!("\"@signature-params\": {params}").as_bytes());
    Ok(base)
}

/// RFC 9421 §2.2. The address is the public one, which is the one that the sender knows.
fn derived(name: &str, request: &Request<'_>, public_url: Option<&PublicUrl>) -> Result<String, String> {
    if name == "method" {
        return Ok(request.method.as_str().to_owned());
    }
    let url = public_url.ok_or_else(|| format!("@{name} is covered, but the file says no public_url"))?;
    Ok(match name {
        "target-uri" => url.whole(request.query),
        "authority" => url.authority(),
        "scheme" => url.scheme().to_ascii_lowercase(),
        "path" => url.path().to_owned(),
        "query" => format!("?{}", request.query.unwrap_or_default()),
        "request-target" => match request.query {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        },
        _ => return Err(format!("@{name} is covered, which is not known here")),
    })
}

/// RFC 9421 §2.1: the lines of a field are one value, without space around each.
fn field(name: &str, request: &Request<'_>, base: &mut Vec<u8>) -> Result<(), String> {
    let header: HeaderName = name
        .parse()
        .ok()
        // Names that differ only in case would be one field and two lines.
        .filter(|header: &HeaderName| header.as_str() == name)
        .ok_or_else(|| format!("{name:?} is covered, which is no field"))?;
    let mut values = request.headers.get_all(&header).iter().peekable();
    if values.peek().is_none() {
        return Err(format!("{name} is missing"));
    }
    while let Some(value) = values.next() {
        base.extend_from_slice(value.as_bytes().trim_ascii());
        if values.peek().is_some() {
            base.extend_from_slice(b", ");
        }
    }
    Ok(())
}
