//! An element as JSON.

use karez_api::{Json, JsonMap};

/// Beside attributes and elements.
const TEXT: &str = "#text";

/// An element of a record, while it is open.
#[derive(Default)]
pub(super) struct Node {
    fields: JsonMap,
    text: String,
}

impl Node {
    /// Yields whether it had none of that name.
    pub(super) fn attribute(&mut self, name: &str, value: String) -> bool {
        self.fields.insert(format!("@{name}"), Json::String(value)).is_none()
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds an element inside of it. What an element becomes is never a list, so a list is several of them.
    pub(super) fn add(&mut self, name: String, value: Json, is_list: bool) {
        match self.fields.get_mut(&name) {
            None if is_list => drop(self.fields.insert(name, Json::Array(vec![value]))),
            None => drop(self.fields.insert(name, value)),
            Some(Json::Array(several)) => several.push(value),
            Some(one) => *one = Json::Array(vec![one.take(), value]),
        }
    }

    pub(super) fn finish(mut self) -> Json {
        let text = self.text.trim_matches([' ', '\t', '\r', '\n']);
        match (self.fields.is_empty(), text.is_empty()) {
            (true, true) => Json::Null,
            (true, false) => Json::from(text),
            (false, true) => Json::Object(self.fields),
            (false, false) => {
                self.fields.insert(TEXT.into(), Json::from(text));
                Json::Object(self.fields)
            }
        }
    }
}
