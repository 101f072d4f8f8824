//! A record's body: bytes until somebody looks inside, a tree from then on, and the
//! encoding of a tree kept once it was made. Clones share all of it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{Json, JsonError, JsonMap, json};

/// What the bytes of a body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON text.
    Json,
    /// UTF-8 text; its tree is one JSON string.
    Text,
    /// `a=1&b=2`, as browsers and some providers send it; its tree is an object of texts, a list where a name stands
    /// several times.
    Urlencoded,
    /// Bytes with no meaning to the engine; there is no tree.
    Opaque,
}

/// A shared, immutable body.
#[derive(Clone)]
pub struct Body(Arc<Inner>);

struct Inner {
    form: Form,
    /// Length as it came over the wire, or as first encoded; 0 while unknown.
    bytes: OnceLock<Bytes>,
    tree: OnceLock<Result<Json, JsonError>>,
}

impl Body {
    /// Bytes as they arrived; they are parsed when a step first looks inside.
    #[must_use]
    pub fn from_bytes(form: Form, bytes: Bytes) -> Self {
        Self(Arc::new(Inner { form, bytes: OnceLock::from(bytes), tree: OnceLock::new() }))
    }

    /// A tree that was just made; it is encoded when a sink first asks.
    #[must_use]
    pub fn from_tree(tree: Json) -> Self {
        Self(Arc::new(Inner { form: Form::Json, bytes: OnceLock::new(), tree: OnceLock::from(Ok(tree)) }))
    }

    #[must_use]
    pub fn form(&self) -> Form {
        self.0.form
    }

    /// The body as a tree, parsed at most once.
    ///
    /// # Errors
    /// The bytes are not the JSON or text that they claim to be.
    pub fn tree(&self) -> Result<&Json, &JsonError> {
        self.0.tree.get_or_init(|| self.parse()).as_ref()
    }

    /// Whether it has a tree, told without making one.
    ///
    /// # Errors
    /// As [`Body::tree`].
    pub fn verify(&self) -> Result<(), JsonError> {
        match (self.0.tree.get(), self.0.form, self.0.bytes.get()) {
            (Some(tree), ..) => tree.as_ref().map(drop).map_err(Clone::clone),
            (None, Form::Json, Some(bytes)) => json::verify(bytes),
            _ => self.tree().map(drop).map_err(Clone::clone),
        }
    }

    /// The values of these fields, where it is an object that has them; no tree is made for them.
    #[must_use]
    pub fn members(&self, names: &[String]) -> Vec<Option<Json>> {
        match (self.0.tree.get(), self.0.form, self.0.bytes.get()) {
            (None, Form::Json, Some(bytes)) => json::members(bytes, names),
            _ => {
                let fields = self.tree().ok().and_then(Json::as_object);
                names
                    .iter()
                    .map(|name| fields.and_then(|fields| json::field(fields, name)).cloned())
                    .collect()
            }
        }
    }

    fn parse(&self) -> Result<Json, JsonError> {
        // A body without bytes was made from a tree, so this never sees an absent one.
        let bytes = self.0.bytes.get().map_or(&[][..], |bytes| bytes);
        let unplaced = |message: &str| JsonError { message: message.into(), line: 0, column: 0 };
        match self.0.form {
            Form::Json => json::parse(bytes),
            Form::Text => std::str::from_utf8(bytes)
                .map(|text| Json::String(text.to_owned()))
                .map_err(|_| unplaced("text is not UTF-8")),
            Form::Urlencoded => Ok(urlencoded(bytes)),
            Form::Opaque => Err(unplaced("body is raw bytes; decode it as json or text first")),
        }
    }

    /// The body as bytes: those that arrived, or the compact JSON of its tree, made once.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.0.bytes.get_or_init(|| match self.0.tree.get() {
            Some(Ok(tree)) => Bytes::from(serde_json::to_vec(tree).unwrap_or_default()),
            _ => Bytes::new(),
        })
    }

    /// The same body before anybody looked inside: for keeping, since a tree takes several times the room of its bytes.
    #[must_use]
    pub fn unparsed(&self) -> Self {
        Self::from_bytes(self.form(), self.bytes().clone())
    }

    /// The compact JSON of its tree, however it came; its bytes where there is no tree. Nothing of it is kept.
    #[must_use]
    pub fn compact(&self) -> Bytes {
        let encoded = |tree: &Json| Bytes::from(serde_json::to_vec(tree).unwrap_or_default());
        match (self.0.tree.get(), self.0.bytes.get()) {
            (Some(Ok(tree)), Some(_)) => encoded(tree),
            (None, Some(_)) => self.parse().map_or_else(|_| self.bytes().clone(), |tree| encoded(&tree)),
            _ => self.bytes().clone(),
        }
    }

    /// The body as one JSON text on one line: NDJSON's unit. Text becomes a JSON string.
    ///
    /// # Errors
    /// The body has no JSON form.
    pub fn json_line(&self) -> Result<Bytes, &JsonError> {
        match self.0.form {
            Form::Json if self.0.bytes.get().is_none_or(|bytes| !bytes.contains(&b'\n')) => {
                Ok(self.bytes().clone())
            }
            _ => self.tree().map(|tree| serde_json::to_vec(tree).unwrap_or_default().into()),
        }
    }

    /// What this body is charged against a memory budget: its bytes, eight times as much once parsed.
    #[must_use]
    pub fn weight(&self) -> usize {
        let parsed = self.0.tree.get().is_some_and(Result::is_ok);
        match self.0.bytes.get() {
            Some(bytes) if parsed => bytes.len() * 8,
            Some(bytes) => bytes.len(),
            None => self.0.tree.get().and_then(|tree| tree.as_ref().ok()).map_or(0, tree_weight),
        }
    }

    /// How long its text is; estimated for a tree that was not encoded yet.
    #[must_use]
    pub fn length(&self) -> usize {
        // A tree weighs about eight times its text.
        self.0.bytes.get().map_or_else(|| self.weight() / 8, Bytes::len)
    }

    /// The tree by value: taken where this is the last owner, else cloned.
    ///
    /// # Errors
    /// As [`Body::tree`].
    pub fn into_tree(self) -> Result<Json, JsonError> {
        if self.0.tree.get().is_none() {
            return self.parse();
        }
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.tree.into_inner().unwrap_or(Ok(Json::Null)),
            Err(shared) => match shared.tree.get() {
                Some(tree) => tree.clone(),
                None => Ok(Json::Null),
            },
        }
    }
}

/// Never refused (WHATWG URL §5.1): what cannot be decoded stays as it is.
fn urlencoded(bytes: &[u8]) -> Json {
    let mut fields = JsonMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        let value = Json::String(value.into_owned());
        match fields.get_mut(&*name) {
            None => {
                fields.insert(name.into_owned(), value);
            }
            Some(Json::Array(values)) => values.push(value),
            Some(first) => *first = Json::Array(vec![first.take(), value]),
        }
    }
    Json::Object(fields)
}

fn tree_weight(tree: &Json) -> usize {
    match tree {
        Json::Null | Json::Bool(_) | Json::Number(_) => 32,
        Json::String(text) => 32 + text.len(),
        Json::Array(items) => 32 + items.iter().map(tree_weight).sum::<usize>(),
        Json::Object(fields) => {
            32 + fields.iter().map(|(key, value)| 48 + key.len() + tree_weight(value)).sum::<usize>()
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({} bytes)", self.0.form, self.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_an_object_of_texts() {
        for (text, tree) in [
            ("", r#"{}"#),
            ("a=1&b=%C3%A4+%2B&a=2&a=&c", r#"{"a":["1","2",""],"b":"ä +","c":""}"#),
            ("a=%zz%ff", "{\"a\":\"%zz\u{fffd}\"}"),
        ] {
            let body = Body::from_bytes(Form::Urlencoded, Bytes::from_static(text.as_bytes()));
            assert_eq!(body.tree().unwrap().to_string(), tree, "{text}");
            assert_eq!(body.json_line().unwrap(), tree);
            assert_eq!(body.bytes(), text, "they arrived like that");
        }
    }
}
