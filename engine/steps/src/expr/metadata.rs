//! A record's metadata as the languages see it: `{{@meta.…}}` and `$meta`. What a record does not have is absent.

use karez_api::{Json, JsonMap, Meta, MetaFault, Millis, Signature};
use serde_json::json;

use super::descend;

/// One field of the metadata by its path.
pub(crate) fn look_up(meta: &Meta, path: &[String]) -> Option<Json> {
    match path {
        [] => Some(tree(meta)),
        [name] => field(meta, name),
        [name, header] if name == "headers" => self::header(meta, header),
        [name, rest @ ..] => descend(&field(meta, name)?, rest).cloned(),
    }
}

/// Everything that is known.
pub(crate) fn tree(meta: &Meta) -> Json {
    let fixed = Meta::FIXED.iter().filter_map(|name| Some(((*name).to_owned(), field(meta, name)?)));
    let mut fields: JsonMap = fixed.collect();
    for (name, value) in &*meta.extra {
        fields.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Json::Object(fields)
}

fn field(meta: &Meta, name: &str) -> Option<Json> {
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(Json::from);
    match name {
        "id" => Some(meta.id.to_string().into()),
        "source" => Some(Json::from(&*meta.source)),
        "received_at" => Some(timestamp(meta.received_at).into()),
        "event_type" => text(&meta.event_type),
        "delivery_id" => text(&meta.delivery_id),
        "signature" => meta.signature.map(signature),
        "attempt" => meta.attempt.map(Json::from),
        "headers" => Some(headers(meta)),
        "key" => text(&meta.key),
        "partition" => meta.partition.map(Json::from),
        "offset" => meta.offset.map(Json::from),
        "topic" => text(&meta.topic),
        "file" => text(&meta.file),
        "line" => meta.line.map(Json::from),
        "error" => meta.error.as_deref().map(error),
        other => meta.extra.get(other).cloned(),
    }
}

fn signature(signature: Signature) -> Json {
    let secret = signature.secret.map(|secret| ("secret".to_owned(), secret.into()));
    let at = signature.at.map(|at| ("timestamp".to_owned(), timestamp(at).into()));
    Json::Object([secret, at].into_iter().flatten().collect())
}

/// All values of a header, as one list (RFC 9110 §5.3).
fn header(meta: &Meta, name: &str) -> Option<Json> {
    let values: Vec<_> =
        meta.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(", ").into())
}

fn headers(meta: &Meta) -> Json {
    meta.headers.keys().filter_map(|name| Some((name.to_string(), header(meta, name.as_str())?))).collect()
}

fn error(error: &MetaFault) -> Json {
    json!({
        "class": error.class.name(),
        "code": &*error.code,
        "node": &*error.node,
        "message": &*error.message,
        "attempts": error.attempts,
        "at": timestamp(error.at),
    })
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn timestamp(at: Millis) -> String {
    let instant = i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", instant.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_api::RecordId;

    fn meta() -> Meta {
        let mut meta = Meta::new(RecordId::text("r-1"), "orders".into(), Millis(1_700_000_000_123));
        meta.event_type = Some("push".into());
        meta.headers.append("x-github-event", "push".parse().unwrap());
        meta.headers.append("x-tag", "a".parse().unwrap());
        meta.headers.append("x-tag", "b".parse().unwrap());
        meta.extra.insert("tenant".into(), json!({"id": [7]}));
        meta
    }

    #[test]
    fn what_is_known_is_found_and_nothing_else() {
        let find = |path: &str| look_up(&meta(), &path.split('.').map(String::from).collect::<Vec<_>>());
        assert_eq!(find("id"), Some(json!("r-1")));
        assert_eq!(find("received_at"), Some(json!("2023-11-14T22:13:20.123Z")));
        assert_eq!(find("headers.x-github-event"), Some(json!("push")));
        assert_eq!(find("headers.X-GitHub-Event"), Some(json!("push")));
        assert_eq!(find("headers.x-tag"), Some(json!("a, b")));
        assert_eq!(find("tenant.id.0"), Some(json!(7)));
        for absent in ["topic", "line", "error", "headers.none", "none", "id.none"] {
            assert_eq!(find(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_tree_leaves_out_what_is_absent() {
        assert_eq!(
            tree(&meta()),
            json!({
                "id": "r-1", "source": "orders", "received_at": "2023-11-14T22:13:20.123Z", "event_type": "push",
                "headers": {"x-github-event": "push", "x-tag": "a, b"}, "tenant": {"id": [7]}
            })
        );
    }
}
