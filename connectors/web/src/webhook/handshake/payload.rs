//! The body of an answer: text or JSON with parts of the request in it.

use karez_api::{Checker, Json, Path, Problem};

use super::super::verify::Message;

pub(super) enum Payload {
    None,
    Text(Message),
    Json(Tree),
}

/// JSON whose texts are templates.
pub(super) enum Tree {
    Leaf(Json),
    Text(Message),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn filled_in(
        &self,
        fill: &dyn Fn(&Message) -> Result<String, String>,
    ) -> Result<Json, String> {
        Ok(match self {
            Self::Leaf(leaf) => leaf.clone(),
            Self::Text(message) => Json::String(fill(message)?),
            Self::List(items) => {
                Json::Array(items.iter().map(|item| item.filled_in(fill)).collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let field =
                    |(name, tree): &(String, Tree)| Ok::<_, String>((name.clone(), tree.filled_in(fill)?));
                Json::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
        })
    }
}

pub(super) fn template(cx: &Checker<'_>, at: &Path, text: &str) -> Option<Message> {
    let fit = |message: Message| {
        message.has_only(&["header:NAME", "query:NAME", "body:FIELD", "hmac"]).map(|()| message)
    };
    Message::parse(text)
        .and_then(fit)
        .map_err(|what| cx.report(Problem::error("bad-message", at.clone(), what)))
        .ok()
}

pub(super) fn tree(cx: &Checker<'_>, at: &Path, json: Json) -> Option<Tree> {
    Some(match json {
        Json::String(text) if text.contains('{') => Tree::Text(template(cx, at, &text)?),
        Json::Array(items) => {
            let items = items.into_iter().enumerate();
            Tree::List(items.map(|(index, item)| tree(cx, &at.index(index), item)).collect::<Option<_>>()?)
        }
        Json::Object(fields) => {
            let fields = fields.into_iter();
            let field = |(name, value)| Some((String::clone(&name), tree(cx, &at.field(name), value)?));
            Tree::Map(fields.map(field).collect::<Option<_>>()?)
        }
        leaf => Tree::Leaf(leaf),
    })
}
