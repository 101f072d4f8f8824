//! Answers of APIs in every format: however they come, the records are the same, and what is no answer has none.

use bytes::Bytes;
use karez_api::{Body, Fault, Json};
use karez_web::answers::Reader;
use serde_json::json;

use crate::lent::checked;

/// The format, and where the records stand.
fn formats() -> [(Json, Option<&'static str>); 7] {
    [
        (json!("json"), Some("$")),
        (json!("json"), Some("$.data.items")),
        (json!("json"), Some("$.data[*].x")),
        (json!("ndjson"), None),
        (json!({"csv": {"null_values": [""]}}), None),
        (json!({"csv": {"header": false, "delimiter": ";"}}), None),
        (json!({"xml": {"record": "/a/b", "list": ["/a/b/c"]}}), None),
    ]
}

/// The first byte chooses the format, the second how much arrives at a time; then the body.
pub fn answer(data: &[u8]) {
    let Some((&[which, step], body)) = data.split_first_chunk() else { return };
    let which = usize::from(which) % formats().len();
    let (format, records) = formats()[which].clone();
    let reader = checked(|cx| Reader::check(cx, &format, false, records)).unwrap();
    let body = Bytes::copy_from_slice(body);
    let whole = trees(reader.whole(body.clone()));
    let Some(once) = reader.in_pieces(&body, usize::MAX) else { return };
    let once = trees(once);
    let pieces = reader.in_pieces(&body, usize::from(step)).unwrap();
    assert_eq!(trees(pieces), once, "{format} in pieces of {step}");
    match format == "json" {
        // Beside its records, an answer that comes in pieces is not judged as strictly.
        true => assert!(whole.is_none() || once == whole, "{format} as a whole"),
        false => assert_eq!(once, whole, "{format} as a whole"),
    }
}

/// The records, each as it is or what is wrong with it; nothing where there is no answer.
fn trees(read: Result<Vec<Body>, Fault>) -> Option<Vec<Result<Json, String>>> {
    let tree = |body: Body| body.into_tree().map_err(|error| error.message);
    match read {
        Ok(records) => Some(records.into_iter().map(tree).collect()),
        Err(fault) => {
            assert!(matches!(fault.code(), "bad_answer" | "records_missing"), "{fault:?}");
            None
        }
    }
}
