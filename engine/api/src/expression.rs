//! What a setting that depends on the record looks like once it is compiled. The languages
//! (JSONPath, Handlebars, jq) live in `karez-steps`; connectors see only this.

use std::sync::Arc;

use crate::{Fault, Json, Path, Problem, Record};

/// A compiled setting.
pub trait Evaluate<T>: Send + Sync {
    /// # Errors
    /// Class validation: the record does not have what the expression needs.
    fn eval(&self, record: &Record) -> Result<T, Fault>;
    /// The result, where it is the same for every record.
    fn constant(&self) -> Option<T> {
        None
    }
}

/// A pick, template, jq program or literal; `None` where a pick matches nothing.
pub type Value = Arc<dyn Evaluate<Option<Json>>>;
/// A template or literal.
pub type Text = Arc<dyn Evaluate<String>>;
/// True or false, never a guess.
pub type Condition = Arc<dyn Evaluate<bool>>;

/// Somewhere in a record that something is written to; never the whole record.
pub trait Put: Send + Sync {
    /// Writes a value; objects on the way are made where they are missing.
    ///
    /// # Errors
    /// Class validation: something on the way is neither an object nor missing, or an array is too short.
    fn put(&self, tree: &mut Json, value: Json) -> Result<(), Fault>;
}

/// A plain field name, or a singular path that begins with `$.`.
pub type Place = Arc<dyn Put>;

/// What `{{…}}` may bring into a text (grammar.md §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    None,
    /// Percent-encoded as one path segment; `.` and `..` refused.
    UrlPath,
    /// Percent-encoded as a query value.
    UrlQuery,
    /// CR, LF and NUL refused.
    Header,
    /// `/`, `\`, NUL and `..` refused.
    FilePath,
}

/// The compiler of the three languages. `at` is where the setting stands in its node; problems carry it.
pub trait Expressions: Send + Sync {
    /// A *value* setting: also maps, lists and the one-key forms `{jq: …}` and `{literal: …}`, nested.
    ///
    /// # Errors
    /// Every problem of every expression inside.
    fn value(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Value, Vec<Problem>>;
    /// A *text* setting.
    ///
    /// # Errors
    /// As [`Expressions::value`].
    fn text(&self, scope: &Scope<'_>, at: &Path, setting: &str, escape: Escape)
    -> Result<Text, Vec<Problem>>;
    /// A *condition*: a JSONPath logical expression, or `{jq: …}`.
    ///
    /// # Errors
    /// As [`Expressions::value`]. Warnings go to `scope`.
    fn condition(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Condition, Vec<Problem>>;
    /// A place to write to: a field of the record, and where the language has paths, what they name.
    ///
    /// # Errors
    /// It is no path, or can match many places.
    fn place(&self, at: &Path, setting: &str) -> Result<Place, Problem> {
        let _ = at;
        Ok(Arc::new(Field(setting.to_owned())))
    }
}

use crate::check::Scope;

/// A field of the record itself.
struct Field(String);

impl Put for Field {
    fn put(&self, tree: &mut Json, value: Json) -> Result<(), Fault> {
        let fields = tree
            .as_object_mut()
            .ok_or_else(|| Fault::validation("place", format!("{} cannot be written: no object", self.0)))?;
        fields.insert(self.0.clone(), value);
        Ok(())
    }
}

struct Constant<T>(T);

impl<T: Clone + Send + Sync> Evaluate<T> for Constant<T> {
    fn eval(&self, _: &Record) -> Result<T, Fault> {
        Ok(self.0.clone())
    }
    fn constant(&self) -> Option<T> {
        Some(self.0.clone())
    }
}

/// A setting that is the same for every record.
pub fn constant<T: Clone + Send + Sync + 'static>(value: T) -> Arc<dyn Evaluate<T>> {
    Arc::new(Constant(value))
}
