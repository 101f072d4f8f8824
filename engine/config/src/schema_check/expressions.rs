//! Settings that are expressions: where they stand, and that `${…}` brings text into values and
//! texts, never into code.

use karez_api::{Json, Path};

use super::Check;
use crate::interpolate::Written;
use crate::schema_view::View;

/// What an expression is compiled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    Text,
    Condition,
}

impl Check<'_> {
    /// Looks at a setting that is an expression by its schema.
    pub(super) fn expression(&mut self, view: &View<'_>, value: &Json, at: &Path) {
        let kind = match (view.kind(), value) {
            (Some("value"), _) => Kind::Value,
            (Some("condition"), _) => Kind::Condition,
            (Some("text"), Json::String(_)) => Kind::Text,
            (Some("jq" | "names"), Json::String(_)) => return self.no_interpolation(at),
            _ => return,
        };
        self.no_code_from_elsewhere(kind, value, at);
        self.expressions.push((kind, at.clone()));
    }

    fn no_code_from_elsewhere(&mut self, kind: Kind, value: &Json, at: &Path) {
        match value {
            Json::String(_) if kind == Kind::Condition => self.no_interpolation(at),
            Json::Array(items) if kind == Kind::Value => {
                for (index, item) in items.iter().enumerate() {
                    self.no_code_from_elsewhere(kind, item, &at.index(index));
                }
            }
            Json::Object(fields) => {
                // A program is as little a place for text from elsewhere as a condition.
                let is_jq = fields.len() == 1 && fields.contains_key("jq");
                let kind = if is_jq { Kind::Condition } else { kind };
                for (name, inner) in fields {
                    self.no_code_from_elsewhere(kind, inner, &at.field(name.as_str()));
                }
            }
            _ => {}
        }
    }

    fn no_interpolation(&mut self, at: &Path) {
        let written = self.written;
        for piece in written.get(at).into_iter().flat_map(Written::brought) {
            let message = "`${…}` cannot stand in a condition, program or name";
            let problem = self.error("interpolation-in-code", at, message);
            problem.help = Some("put it into `vars:` and use `$vars` in jq".into());
            problem.within = Some(piece.result.clone());
        }
    }
}
