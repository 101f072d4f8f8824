//! A compiled template, and its two ways to a text: directly, where it only puts fields into text, else by the engine.

use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use handlebars::template::{Parameter, Template as Parsed, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, Path, PathSeg, RenderContext, RenderError,
    RenderErrorReason, Renderable, ScopedJson, TemplateError,
};
use karez_api::{Escape, Fault, Json, JsonMap, Meta, Record};
use sha2::{Digest, Sha256};

use super::helpers::HELPERS;
use super::place::Protected;
use super::print::{print, within_bounds};
use super::rewrite::{META, NOW, PRINT, Rewrite, UUID};
use crate::expr::mistake::Mistake;
use crate::expr::{descend, metadata};

/// Longest template, in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// Nesting of parentheses, brackets and blocks.
const MAX_DEPTH: usize = 64;

/// A compiled template.
pub(crate) struct Template {
    /// Absent where the parts say it all.
    engine: Option<Engine>,
    parts: Vec<Part>,
    escape: Escape,
}

struct Engine {
    parsed: Parsed,
    /// Where the template stands: part of what its uuids are made from.
    place: String,
    /// Segments that the template itself leaves empty, as the path of a URL.
    empty_segments: usize,
}

enum Part {
    Text(String),
    Field { path: Vec<String>, name: String },
    Meta { path: Vec<String>, name: String },
    Constant { value: Json, name: String },
}

impl Template {
    /// `literal` are the bytes of `text` that are not read as template; `place` tells this template from all others.
    pub(crate) fn compile(
        text: &str,
        literal: &[Range<usize>],
        vars: &JsonMap,
        escape: Escape,
        place: String,
    ) -> Result<Self, Mistake> {
        let protected = Protected::new(text, literal)
            .ok_or_else(|| Mistake::new(0..0, "the template uses every private character of Unicode"))?;
        bounded(&protected)?;
        let mut parsed = Parsed::compile(&protected.source).map_err(|error| syntax(&error, &protected))?;
        let mut rewrite = Rewrite { protected: &protected, vars, escape, uuids: 0, within: 0..text.len() };
        rewrite.template(&mut parsed)?;
        let (engine, parts) = match parsed.elements.iter().map(part).collect() {
            Some(parts) => (None, parts),
            None => (Some(Engine::new(parsed, place, text)), Vec::new()),
        };
        Ok(Self { engine, parts, escape })
    }

    /// The text, where it is the same for every record.
    pub(crate) fn constant(&self) -> Option<Result<String, Mistake>> {
        if self.engine.is_some() {
            return None;
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Constant { value, name } => {
                    if let Err(message) = print(Some(value), name, self.escape, &mut text) {
                        return Some(Err(Mistake::new(0..0, message)));
                    }
                }
                _ => return None,
            }
        }
        Some(Ok(text))
    }

    /// # Errors
    /// Class validation: a field is missing, has no text form or may not stand here; the text is too long.
    pub(crate) fn render(&self, record: &Record) -> Result<String, Fault> {
        let Some(engine) = &self.engine else {
            return self.direct(record).map_err(refused);
        };
        let text = engine.render(record, self.escape)?;
        // What prints a value refuses an empty one; a block may yield nothing at all.
        if self.escape == Escape::UrlPath && empty_segments(&text) > engine.empty_segments {
            return Err(refused(format_args!("a segment of the path {text:?} would be empty")));
        }
        Ok(text)
    }

    fn direct(&self, record: &Record) -> Result<String, String> {
        let mut text = String::with_capacity(self.parts.len() * 16);
        for part in &self.parts {
            match part {
                Part::Text(part) => {
                    text.push_str(part);
                    within_bounds(text.len())?;
                }
                Part::Field { path, name } => {
                    let tree =
                        record.body().tree().map_err(|error| format!("body cannot be read: {error}"))?;
                    print(descend(tree, path), name, self.escape, &mut text)?;
                }
                Part::Meta { path, name } => {
                    print(metadata::look_up(record.meta(), path).as_ref(), name, self.escape, &mut text)?;
                }
                Part::Constant { value, name } => print(Some(value), name, self.escape, &mut text)?,
            }
        }
        Ok(text)
    }

    /// The same template without its short way, to compare the two.
    #[cfg(test)]
    pub(super) fn by_engine(text: &str, vars: &JsonMap, escape: Escape) -> Result<Self, Mistake> {
        let protected = Protected::new(text, &[]).ok_or_else(|| Mistake::new(0..0, ""))?;
        let mut parsed = Parsed::compile(text).map_err(|error| syntax(&error, &protected))?;
        Rewrite { protected: &protected, vars, escape, uuids: 0, within: 0..0 }.template(&mut parsed)?;
        let engine = Some(Engine::new(parsed, String::new(), text));
        Ok(Self { engine, parts: Vec::new(), escape })
    }

    #[cfg(test)]
    pub(super) fn is_direct(&self) -> bool {
        self.engine.is_none()
    }
}

fn refused(message: impl std::fmt::Display) -> Fault {
    Fault::validation("template", message)
}

/// A template as it is where every `{{…}}` yields something.
fn without_expressions(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        plain.push_str(before);
        plain.push('x');
        rest = after.split_once("}}").map_or("", |(_, behind)| behind);
    }
    plain + rest
}

/// Segments of a URL's path with nothing in them: `/users//posts` asks for something else than was meant.
fn empty_segments(path: &str) -> usize {
    path.strip_prefix('/').unwrap_or(path).split('/').filter(|segment| segment.is_empty()).count()
}

/// The parser recurses; a file must not be able to exhaust the stack.
fn bounded(protected: &Protected) -> Result<(), Mistake> {
    let source = &protected.source;
    if source.len() > MAX_LENGTH {
        return Err(Mistake::new(0..0, format!("a template has at most {} KiB", MAX_LENGTH >> 10)));
    }
    let mut depth = 0_usize;
    for (at, character) in source.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '#' if source[..at].ends_with("{{") => depth += 2,
            '/' if source[..at].ends_with("{{") => depth = depth.saturating_sub(2),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Mistake::new(0..0, format!("the template is nested more than {MAX_DEPTH} deep")));
        }
    }
    Ok(())
}

fn syntax(error: &TemplateError, protected: &Protected) -> Mistake {
    if let Some(mistake) = unclosed(protected) {
        return mistake;
    }
    if let Some(mistake) = element_without_a_dot(protected) {
        return mistake;
    }
    let within = error.pos().map_or(0..0, |(line, column)| protected.place(line, column));
    let reason = error.reason().to_string();
    // The parser lists the rules of its grammar, which say nothing to people.
    let reason = match reason.strip_prefix("invalid handlebars syntax: ") {
        Some(_) => "this cannot be read as a template",
        None => reason.trim(),
    };
    Mistake::new(within, reason)
        .help("{{a.b}} prints a field, {{helper a}} calls, {{#if a}}…{{else}}…{{/if}} decides")
}

/// `{{items[0].id}}`: in the grammar an element stands behind a dot, as every field does.
fn element_without_a_dot(protected: &Protected) -> Option<Mistake> {
    let source = &protected.source;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let open = source.match_indices('[').map(|(at, _)| at).find(|at| {
        let before = &source[..*at];
        let inside = before.rfind("{{") > before.rfind("}}");
        inside && before.ends_with(is_name)
    })?;
    let end = source[open..].find(']').map_or(source.len(), |length| open + length + 1);
    let start = source[..open].trim_end_matches(|c| is_name(c) || c == '.').len();
    let (name, element) = (&source[start..open], &source[open..end]);
    Some(
        Mistake::new(protected.bytes(start..end), "an element of a list stands behind a dot")
            .help(format!("write {name}.{element}")),
    )
}

/// The mistakes that people make most: braces and blocks that are not closed.
fn unclosed(protected: &Protected) -> Option<Mistake> {
    let source = &protected.source;
    let mut open: Vec<(usize, usize, &str)> = Vec::new();
    let mut from = 0;
    while let Some(found) = source[from..].find("{{") {
        let start = from + found;
        let Some(length) = source[start..].find("}}") else {
            return Some(
                Mistake::new(protected.bytes(start..start + 2), "this {{ is not closed")
                    .help("write }} behind it"),
            );
        };
        let end = start + length + 2;
        let inner = source[start + 2..end - 2].trim_matches(['~', '{', ' ']);
        if inner.is_empty() {
            return Some(Mistake::new(protected.bytes(start..end), "nothing stands between {{ and }}"));
        }
        if let Some(block) = inner.strip_prefix('#') {
            open.push((start, end, block.split_whitespace().next().unwrap_or_default()));
        } else if inner.starts_with('/') {
            open.pop();
        }
        from = end;
    }
    let (start, end, name) = open.pop()?;
    let message = format!("the block {name} is not closed");
    Some(
        Mistake::new(protected.bytes(start..end), message)
            .help(format!("write {{{{/{name}}}}} where it ends")),
    )
}

/// An element that needs no engine.
fn part(element: &TemplateElement) -> Option<Part> {
    let call = match element {
        TemplateElement::RawString(text) => return Some(Part::Text(text.clone())),
        TemplateElement::Comment(_) => return Some(Part::Text(String::new())),
        TemplateElement::Expression(call) => call,
        _ => return None,
    };
    let [value, Parameter::Literal(Json::String(name))] = call.params.as_slice() else {
        return None;
    };
    let name = name.clone();
    match value {
        Parameter::Literal(value) => Some(Part::Constant { value: value.clone(), name }),
        Parameter::Path(Path::Relative((segments, _))) => {
            let named = |segment: &PathSeg| match segment {
                PathSeg::Named(name) => Some(name.clone()),
                _ => None,
            };
            Some(Part::Field { path: segments.iter().map(named).collect::<Option<_>>()?, name })
        }
        Parameter::Subexpression(inner) if inner.name() == META => {
            let key = |key: &Parameter| match key {
                Parameter::Literal(Json::String(key)) => Some(key.clone()),
                _ => None,
            };
            Some(Part::Meta { path: inner.params()?.iter().map(key).collect::<Option<_>>()?, name })
        }
        _ => None,
    }
}

/// Every engine template is rendered with the same helpers.
static HANDLEBARS: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut handlebars = Handlebars::new();
    handlebars.set_strict_mode(true);
    handlebars.register_escape_fn(handlebars::no_escape);
    handlebars.unregister_helper("log");
    for helper in HELPERS {
        handlebars.register_helper(helper.name, Box::new(helper));
    }
    handlebars
});

impl Engine {
    fn new(parsed: Parsed, place: String, text: &str) -> Self {
        Self { parsed, place, empty_segments: empty_segments(&without_expressions(text)) }
    }

    fn render(&self, record: &Record, escape: Escape) -> Result<String, Fault> {
        let tree = record.body().tree().map_err(|error| refused(format!("body cannot be read: {error}")))?;
        let context = Context::from(tree.clone());
        let mut render = RenderContext::new(None);
        render.register_local_helper(PRINT, Box::new(Print(escape)));
        render.register_local_helper(META, Box::new(MetaField(record.meta())));
        render.register_local_helper(NOW, Box::new(Now(record.meta())));
        render.register_local_helper(UUID, Box::new(Uuid { meta: record.meta(), place: &self.place }));
        let mut text = Bounded(String::new());
        match self.parsed.render(&HANDLEBARS, &context, &mut render, &mut text) {
            Ok(()) => Ok(text.0),
            Err(error) => Err(refused(explain(error.reason()))),
        }
    }
}

fn explain(reason: &RenderErrorReason) -> String {
    match reason {
        RenderErrorReason::MissingVariable(Some(name)) => {
            format!("field {name} is missing, or not what the block takes")
        }
        RenderErrorReason::MissingVariable(None) => {
            "a field is missing, or not what the block takes".to_owned()
        }
        RenderErrorReason::InvalidJsonIndex(index) => {
            format!("{index} is not an index of an array")
        }
        RenderErrorReason::IOError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// A text that does not grow for ever.
struct Bounded(String);

impl Output for Bounded {
    fn write(&mut self, segment: &str) -> Result<(), io::Error> {
        within_bounds(self.0.len() + segment.len()).map_err(io::Error::other)?;
        self.0.push_str(segment);
        Ok(())
    }
}

struct Print(Escape);

impl HelperDef for Print {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).filter(|value| !value.is_value_missing()).map(|value| value.value());
        let name = helper.param(1).and_then(|name| name.value().as_str()).unwrap_or_default();
        let mut text = String::new();
        print(value, name, self.0, &mut text).map_err(RenderErrorReason::Other)?;
        render.set_content_produced(true);
        Ok(out.write(&text)?)
    }
}

/// Implements a helper that yields a value.
macro_rules! yields {
    ($helper:ty, $this:ident, $call:ident => $value:expr) => {
        impl HelperDef for $helper {
            fn call_inner<'reg: 'rc, 'rc>(
                &self,
                $call: &Helper<'rc>,
                _: &'reg Handlebars<'reg>,
                _: &'rc Context,
                _: &mut RenderContext<'reg, 'rc>,
            ) -> Result<ScopedJson<'rc>, RenderError> {
                let $this = self;
                Ok($value)
            }
        }
    };
}

struct MetaField<'a>(&'a Meta);

yields!(MetaField<'_>, this, call => {
    let path: Vec<String> =
        call.params().iter().filter_map(|key| key.value().as_str().map(str::to_owned)).collect();
    metadata::look_up(this.0, &path).map_or(ScopedJson::Missing, ScopedJson::Derived)
});

/// When the record was received: a retry prints the same.
struct Now<'a>(&'a Meta);

yields!(Now<'_>, this, _call => ScopedJson::Derived(metadata::timestamp(this.0.received_at).into()));

/// Made from the record's id and the place in the file: a retry prints the same.
struct Uuid<'a> {
    meta: &'a Meta,
    place: &'a str,
}

yields!(Uuid<'_>, this, call => {
    let occurrence = call.param(0).and_then(|number| number.value().as_u64()).unwrap_or_default();
    ScopedJson::Derived(uuid(&this.meta.id.to_string(), this.place, occurrence).into())
});

/// RFC 9562 §5.8: version 8, from SHA-256.
fn uuid(id: &str, place: &str, occurrence: u64) -> String {
    let mut hash = Sha256::new();
    for part in [id.as_bytes(), b"\0", place.as_bytes(), b"\0", &occurrence.to_be_bytes()] {
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    groups.join("-")
}
