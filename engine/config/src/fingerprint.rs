//! A number for settings: equal settings, equal numbers, in this process and the next.

use std::hash::Hasher;

use karez_api::Json;
use siphasher::sip::SipHasher13;

/// Whether the order of fields counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `map` writes fields in the order of the file.
    Kept,
    Ignored,
}

/// The fingerprint of several values, in order.
pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a Json>, order: Order) -> u64 {
    let mut hasher = SipHasher13::new();
    for value in values {
        add(&mut hasher, value, order);
    }
    hasher.finish()
}

fn add(hasher: &mut SipHasher13, value: &Json, order: Order) {
    match value {
        Json::Array(items) => {
            hasher.write_u8(b'[');
            items.iter().for_each(|item| add(hasher, item, order));
            hasher.write_u8(b']');
        }
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            if order == Order::Ignored {
                fields.sort_by_key(|(name, _)| name.as_str());
            }
            hasher.write_u8(b'{');
            for (name, value) in fields {
                text(hasher, name);
                add(hasher, value, order);
            }
            hasher.write_u8(b'}');
        }
        Json::String(value) => {
            hasher.write_u8(b'"');
            text(hasher, value);
        }
        scalar => {
            hasher.write_u8(b'#');
            text(hasher, &scalar.to_string());
        }
    }
}

fn text(hasher: &mut SipHasher13, text: &str) {
    hasher.write_u64(text.len() as u64);
    hasher.write(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_settings_have_equal_fingerprints_and_others_do_not() {
        let (a, b) = (json!({"x": 1, "y": [true]}), json!({"y": [true], "x": 1}));
        assert_eq!(of([&a], Order::Ignored), of([&b], Order::Ignored));
        assert_ne!(of([&a], Order::Kept), of([&b], Order::Kept));
        assert_ne!(of([&json!("1")], Order::Kept), of([&json!(1)], Order::Kept));
        assert_ne!(of([&json!(["a", "b"])], Order::Kept), of([&json!(["ab"])], Order::Kept));
    }
}
