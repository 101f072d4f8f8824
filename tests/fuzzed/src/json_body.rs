//! JSON bodies: what is taken comes out again with its values, what would be altered is refused.

use bytes::Bytes;
use karez_api::{Body, Form, Json, MAX_DEPTH};

/// The body.
pub fn json_body(data: &[u8]) {
    let body = Body::from_bytes(Form::Json, Bytes::copy_from_slice(data));
    assert_eq!(body.bytes(), data);
    let reference = serde_json::from_slice::<Json>(data);
    // Judged alike without a tree.
    assert_eq!(karez_api::verify_json(data).is_ok(), body.tree().is_ok());
    let tree = match body.tree() {
        Ok(tree) => tree,
        Err(refused) => {
            let message = refused.to_string();
            assert!(!message.is_empty());
            // Valid JSON is refused for two reasons only.
            let named = message.contains("stands twice") || message.contains("more than 64 bits");
            assert!(reference.is_err() || named || depth(data) > MAX_DEPTH, "{message}");
            return;
        }
    };
    assert_eq!(Some(tree), reference.as_ref().ok(), "not what another reader reads");
    let encoded = Body::from_tree(tree.clone());
    assert_same_tokens(data, encoded.bytes());
    let line = body.json_line().unwrap();
    assert!(!line.contains(&b'\n'));
    assert_eq!(karez_api::parse_json(&line).as_ref().ok(), Some(tree));
    assert_eq!(body.into_tree().as_ref().ok(), Some(encoded.tree().unwrap()));
}

/// The deepest nesting of brackets outside of strings.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut rest) = (0_usize, 0, text);
    while let Some((token, behind)) = next_token(rest) {
        match token {
            [b'[' | b'{'] => depth += 1,
            [b']' | b'}'] => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        rest = behind;
    }
    deepest
}

/// Token by token the same: strings by what they say, numbers by their value, integers by their digits.
fn assert_same_tokens(mut left: &[u8], mut right: &[u8]) {
    loop {
        match (next_token(left), next_token(right)) {
            (None, None) => return,
            (Some((a, behind_a)), Some((b, behind_b))) => {
                let shown = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
                assert!(is_same(a, b), "{} became {}", shown.0, shown.1);
                (left, right) = (behind_a, behind_b);
            }
            _ => panic!("tokens were lost or made up"),
        }
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    let text = |token: &[u8]| serde_json::from_slice::<String>(token).unwrap();
    let number = |token: &[u8]| std::str::from_utf8(token).unwrap().parse::<f64>().unwrap();
    match a.first() {
        Some(b'"') => text(a) == text(b),
        Some(b'-' | b'0'..=b'9') => {
            let integer = !a.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
            if integer && a != b"-0" { a == b } else { number(a).to_bits() == number(b).to_bits() }
        }
        _ => a == b,
    }
}

/// The first token of a JSON text that is known to be one, and what follows it.
fn next_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let length = match text.first()? {
        b'"' => {
            let mut at = 1;
            while at < text.len() && text[at] != b'"' {
                at += if text[at] == b'\\' { 2 } else { 1 };
            }
            at + 1
        }
        b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
        _ => text
            .iter()
            .position(|byte| b"[]{},:\"".contains(byte) || byte.is_ascii_whitespace())
            .unwrap_or(text.len()),
    };
    Some(text.split_at(length.min(text.len())))
}
