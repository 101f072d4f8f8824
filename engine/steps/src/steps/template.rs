//! `template`: writes one field, or the whole body, from a text.

use bytes::Bytes;
use karez_api::{Body, Checker, Emit, Escape, Fault, Form, Json, Path, Record, Step, StepSpec, Text};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{Place, edit};

/// A text made from the record.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateSpec {
    /// The field to write, a name or a path that begins with `$.`; without it the text becomes the whole body.
    #[serde(default)]
    to: Option<String>,
    /// The text, with `{{…}}` where fields of the record go.
    #[schemars(extend("x-karez-kind" = "text"))]
    text: String,
}

impl StepSpec for TemplateSpec {
    const NAME: &'static str = "template";
    const SUMMARY: &'static str = "Writes a text made from the record into a field, or makes it the body.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let text = cx.text(&Path::root().field("text"), &self.text, Escape::None);
        let to = match &self.to {
            Some(key) => Some(Place::compile(cx, &Path::root().field("to"), key, false)?),
            None => None,
        };
        Some(Box::new(Template { to, text: text? }))
    }
}

struct Template {
    to: Option<Place>,
    text: Text,
}

impl Step for Template {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let text = self.text.eval(&record)?;
        out.push(match &self.to {
            Some(place) => edit(record, |tree| place.put(tree, Json::String(text)))?,
            None => record.with_body(Body::from_bytes(Form::Text, Bytes::from(text))),
        });
        Ok(())
    }
}
