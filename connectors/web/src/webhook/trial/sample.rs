//! What a test event of a provider looks like.

use ::http::HeaderName;
use bytes::Bytes;
use karez_api::{Json, Millis};
use serde::de::IgnoredAny;
use serde_json::json;

use super::super::provider::Naming;
use super::super::verify::{BodyPath, Message};
use super::{Call, Trial};

impl Trial {
    /// A small event of the provider, with an id and a type where it has them.
    #[must_use]
    pub fn sample(&self, now: Millis) -> Bytes {
        if self.takes_forms() {
            return format!("id=test_{}", now.0).into();
        }
        let (mut tree, id) = (Json::Null, format!("test_{}", now.0));
        let fields = |naming: &Naming| -> Vec<BodyPath> {
            naming.first().map(Message::fields).into_iter().flatten().cloned().collect()
        };
        let of_event = |naming| {
            let fields = fields(naming).into_iter();
            fields.map(|path| self.provider.each().map_or(path.clone(), |each| each.first(&path))).collect()
        };
        let (ids, types): (Vec<BodyPath>, Vec<BodyPath>) =
            (of_event(self.provider.event_id()), of_event(self.provider.event_type()));
        let of_delivery =
            self.provider.each().map(|_| fields(self.provider.delivery_id())).unwrap_or_default();
        let lists = self.provider.verify().lists();
        // What is known by its hash has to differ each time too.
        let bare = ids.is_empty() && self.provider.event_id().first().is_none();
        let own = BodyPath::parse("id").ok().filter(|_| bare && lists.is_empty());
        let ids = ids.into_iter().chain(of_delivery).chain(lists.into_iter().filter(|_| bare)).chain(own);
        for (path, text) in ids.map(|path| (path, &*id)).chain(types.into_iter().map(|path| (path, "test"))) {
            // Where one template takes what is inside another's, the first stays.
            path.put(&mut tree, text).ok();
        }
        match tree {
            Json::Null => json!({"id": id, "type": "test"}),
            tree => tree,
        }
        .to_string()
        .into()
    }

    /// The same call with what each request of the provider says in headers, where it does not say it yet.
    #[must_use]
    pub fn introduced(&self, mut call: Call, now: Millis) -> Call {
        if !call.has("content-type") {
            let json = serde_json::from_slice::<IgnoredAny>(&call.body).is_ok();
            let content_type = match (json, self.takes_forms()) {
                (true, _) => "application/json",
                (false, true) => "application/x-www-form-urlencoded",
                (false, false) => "text/plain",
            };
            call.headers.push(("content-type".into(), content_type.into()));
        }
        let id = format!("test_{}", now.0);
        for (naming, text) in [(self.provider.event_id(), &*id), (self.provider.event_type(), "test")] {
            for names in naming.first().map(Message::headers).into_iter().flatten() {
                let name = names.first().map(HeaderName::as_str).unwrap_or_default();
                if !call.has(name) {
                    call.headers.push((name.to_owned(), text.to_owned()));
                }
            }
        }
        call
    }

    /// Whether its bodies are forms that are signed part by part.
    fn takes_forms(&self) -> bool {
        self.provider.verify().shown().signed.is_some_and(|signed| signed.contains("{sorted_form}"))
    }
}
