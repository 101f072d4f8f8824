//! `Content-Digest`: hashes of the body (RFC 9530).

use std::borrow::Cow;

use sfv::{BareItem, Dictionary, Item, ListEntry};

use super::super::mac::Algorithm;

/// Each hash that is known has to be right, and there has to be one: weaker ones are passed over.
///
/// # Errors
/// A sentence.
pub(super) fn holds(digests: &Dictionary, body: &[u8]) -> Result<(), String> {
    let mut known = 0;
    for (name, entry) in digests {
        let algorithm = match name.as_str() {
            "sha-256" => Algorithm::Sha256,
            "sha-512" => Algorithm::Sha512,
            _ => continue,
        };
        let hash = algorithm.digest(&[Cow::Borrowed(body)]);
        match entry {
            ListEntry::Item(Item { bare_item: BareItem::ByteSequence(given), .. }) if *given == hash => {
                known += 1
            }
            _ => return Err("content-digest is not the hash of the body".into()),
        }
    }
    match known {
        0 => Err("content-digest holds neither sha-256 nor sha-512".into()),
        _ => Ok(()),
    }
}
