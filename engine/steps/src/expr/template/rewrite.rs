//! Turns what the library parsed into what our rules mean: every `{{…}}` prints through our own rules, `@meta` and
//! `@vars` are resolved with their whole path (the library drops what follows a local), names are checked.

use std::ops::Range;

use handlebars::Path;
use handlebars::template::{HelperTemplate, Parameter, Subexpression, Template, TemplateElement};
use karez_api::{Escape, Json, JsonMap, suggest};

use super::dates;
use super::helpers::HELPERS;
use super::place::Protected;
use crate::expr::mistake::Mistake;

/// The helper that prints a value: its arguments are the value and what to call it.
pub(super) const PRINT: &str = "karez:print";
/// The helper that yields a field of the metadata: its arguments are the path.
pub(super) const META: &str = "karez:meta";
/// The helper that yields a uuid: its argument is the number of the place in the text.
pub(super) const UUID: &str = "karez:uuid";
pub(super) const NOW: &str = "karez:now";

const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "raw"];
const LOCALS: [&str; 4] = ["index", "key", "first", "last"];

pub(super) struct Rewrite<'a> {
    pub(super) protected: &'a Protected,
    pub(super) vars: &'a JsonMap,
    pub(super) escape: Escape,
    /// How many `{{uuid}}` were seen.
    pub(super) uuids: u64,
    /// Where the element that is being rewritten stands.
    pub(super) within: Range<usize>,
}

impl Rewrite<'_> {
    pub(super) fn template(&mut self, template: &mut Template) -> Result<(), Mistake> {
        for (index, element) in template.elements.iter_mut().enumerate() {
            if let Some(mapping) = template.mapping.get(index) {
                self.within = self.protected.place(mapping.0, mapping.1);
            }
            self.element(element)?;
        }
        Ok(())
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.within.clone(), message)
    }

    fn element(&mut self, element: &mut TemplateElement) -> Result<(), Mistake> {
        match element {
            TemplateElement::RawString(text) => *text = self.protected.restore(text),
            TemplateElement::Comment(_) => {}
            TemplateElement::HtmlExpression(_) if self.escape != Escape::None => {
                return Err(self
                    .mistake("{{{…}}} and {{&…}} would go in without an escape")
                    .help("write {{…}}"));
            }
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                let name = Json::String(written(call));
                let value = self.printed(call)?;
                let print = Subexpression::new(
                    Parameter::Name(PRINT.to_owned()),
                    vec![value, Parameter::Literal(name)],
                    std::collections::HashMap::new(),
                );
                *element = *print.element;
            }
            TemplateElement::HelperBlock(block) => self.block(block)?,
            _ => return Err(self.mistake("partials and decorators do not exist here")),
        }
        Ok(())
    }

    fn block(&mut self, block: &mut HelperTemplate) -> Result<(), Mistake> {
        let name = name_of(&block.name);
        if !BLOCKS.contains(&name.as_str()) {
            let mistake = self.mistake(format!("unknown block {name}"));
            return Err(mistake
                .help(format!("write {{{{#if {name}}}}}, {{{{#each {name}}}}} or {{{{#with {name}}}}}")));
        }
        if name != "raw" && block.params.len() != 1 {
            return Err(self.mistake(format!("#{name} takes one value")));
        }
        self.parameters(block)?;
        let within = self.within.clone();
        for inner in [&mut block.template, &mut block.inverse].into_iter().flatten() {
            self.template(inner)?;
            self.within = within.clone();
        }
        Ok(())
    }

    fn parameters(&mut self, call: &mut HelperTemplate) -> Result<(), Mistake> {
        call.params
            .iter_mut()
            .chain(call.hash.values_mut())
            .try_for_each(|parameter| self.parameter(parameter))
    }

    /// What a `{{…}}` prints.
    fn printed(&mut self, call: &mut HelperTemplate) -> Result<Parameter, Mistake> {
        if call.params.is_empty() && call.hash.is_empty() {
            let mut value = call.name.clone();
            if let Some(clock) = self.clock(&name_of(&value)) {
                return Ok(clock);
            }
            self.parameter(&mut value)?;
            return Ok(value);
        }
        self.call(call)?;
        Ok(Parameter::Subexpression(Subexpression::new(
            call.name.clone(),
            std::mem::take(&mut call.params),
            std::mem::take(&mut call.hash),
        )))
    }

    /// `now` and `uuid`, which take nothing.
    fn clock(&mut self, name: &str) -> Option<Parameter> {
        let (helper, params) = match name {
            "now" => (NOW, Vec::new()),
            "uuid" => {
                self.uuids += 1;
                (UUID, vec![Parameter::Literal(self.uuids.into())])
            }
            _ => return None,
        };
        Some(helper_value(helper, params))
    }

    fn parameter(&mut self, parameter: &mut Parameter) -> Result<(), Mistake> {
        match parameter {
            Parameter::Literal(value) => self.literal(value),
            Parameter::Path(Path::Local((level, name, raw))) => {
                let replaced = self.local(*level, name, raw)?;
                if let Some(replaced) = replaced {
                    *parameter = replaced;
                }
            }
            Parameter::Path(Path::Relative((_, raw))) => {
                self.no_placeholder(raw)?;
                self.no_pick(raw)?;
            }
            Parameter::Subexpression(inner) => {
                let TemplateElement::Expression(call) = &mut *inner.element else {
                    return Ok(());
                };
                if call.params.is_empty() && call.hash.is_empty() {
                    let name = name_of(&call.name);
                    *parameter = self.clock(&name).ok_or_else(|| self.unknown_helper(&name))?;
                } else {
                    self.call(call)?;
                }
            }
            // A bare name; nothing else exists.
            _ => {}
        }
        Ok(())
    }

    fn no_placeholder(&self, raw: &str) -> Result<(), Mistake> {
        if self.protected.is_in(raw) {
            return Err(self
                .mistake("a value of ${…} is literal text and cannot name a field")
                .help("put it in quotes, or under `vars:` and write (lookup this @vars.name)"));
        }
        Ok(())
    }

    /// `{{$.id}}` would look for a field whose name is `$`; that one is written `{{[$]}}`.
    fn no_pick(&self, raw: &str) -> Result<(), Mistake> {
        match raw.strip_prefix('$') {
            Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => {
                let field = rest.trim_start_matches('.');
                let field = if field.is_empty() { "json this" } else { field };
                Err(self
                    .mistake("a template names its fields without $")
                    .help(format!("write {{{{{field}}}}}")))
            }
            _ => Ok(()),
        }
    }

    fn literal(&self, value: &mut Json) {
        match value {
            Json::String(text) => *text = self.protected.restore(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.literal(item)),
            Json::Object(fields) => fields.values_mut().for_each(|field| self.literal(field)),
            _ => {}
        }
    }

    /// `@meta.…`, `@vars.…`, or a local of `#each`.
    fn local(&self, level: usize, name: &str, raw: &str) -> Result<Option<Parameter>, Mistake> {
        self.no_placeholder(raw)?;
        let path = path_after(raw, name);
        match name {
            "meta" if level == 0 => {
                let path = path.into_iter().map(|key| Parameter::Literal(Json::String(key)));
                Ok(Some(helper_value(META, path.collect())))
            }
            "vars" if level == 0 => self.variable(&path).map(|value| Some(Parameter::Literal(value))),
            _ if LOCALS.contains(&name) && path.is_empty() => Ok(None),
            _ if LOCALS.contains(&name) => Err(self.mistake(format!("@{name} has no fields"))),
            _ => Err(self.mistake(format!("unknown name @{name}")).help(
                "there are @meta, @vars, @root.field, and inside #each @index, @key, @first and @last",
            )),
        }
    }

    fn variable(&self, path: &[String]) -> Result<Json, Mistake> {
        let mut names = path.iter();
        let found = match names.next() {
            None => return Ok(Json::Object(self.vars.clone())),
            Some(first) => self.vars.get(first),
        };
        let found = names.try_fold(found, |value, name| match value? {
            Json::Object(fields) => Some(fields.get(name)),
            Json::Array(items) => Some(name.parse::<usize>().ok().and_then(|index| items.get(index))),
            _ => Some(None),
        });
        found.flatten().cloned().ok_or_else(|| {
            let mistake = self.mistake(format!("there is no variable @vars.{}", path.join(".")));
            match suggest::nearest(
                path.first().map_or("", String::as_str),
                self.vars.keys().map(String::as_str),
            ) {
                Some(name) => mistake.help(format!("did you mean @vars.{name}?")),
                None => mistake.help("declare it under `vars:`"),
            }
        })
    }

    fn unknown_helper(&self, name: &str) -> Mistake {
        let mistake = self.mistake(format!("unknown helper {name}"));
        let names: Vec<&str> = HELPERS.iter().map(|helper| helper.name).chain(["now", "uuid"]).collect();
        match suggest::nearest(name, names.iter().copied()) {
            Some(name) => mistake.help(format!("did you mean {name}?")),
            None => mistake.help(format!("there are {}", names.join(", "))),
        }
    }

    /// `{{items[0]}}`, which the grammar takes for the helper `items` with an argument.
    fn element_of(&self, name: &str, call: &HelperTemplate) -> Option<Mistake> {
        let element = match call.params.first()? {
            Parameter::Literal(list @ Json::Array(_)) => list.to_string(),
            other => name_of(other),
        };
        element.starts_with('[').then(|| {
            self.mistake("an element of a list stands behind a dot")
                .help(format!("write {{{{{name}.{element}}}}}"))
        })
    }

    fn call(&mut self, call: &mut HelperTemplate) -> Result<(), Mistake> {
        let name = name_of(&call.name);
        let Some(helper) = HELPERS.iter().find(|helper| helper.name == name) else {
            return Err(match name.as_str() {
                "now" | "uuid" => self
                    .mistake(format!("{name} takes nothing"))
                    .help("a format: {{date (now) \"yyyy-MM-dd\"}}"),
                _ => self.element_of(&name, call).unwrap_or_else(|| self.unknown_helper(&name)),
            });
        };
        let (least, most) = helper.arguments;
        if !(least..=most).contains(&call.params.len()) {
            let takes = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(self.mistake(format!("{name} takes {takes} arguments, not {}", call.params.len())));
        }
        if let Some(unknown) = call.hash.keys().find(|option| !helper.options.contains(&option.as_str())) {
            let mistake = self.mistake(format!("{name} has no option {unknown}"));
            return Err(if helper.options.is_empty() {
                mistake
            } else {
                mistake.help(format!("it has {}", helper.options.join(", ")))
            });
        }
        self.parameters(call)?;
        self.constants(&name, call)
    }

    /// What can be known wrong before any record.
    fn constants(&self, name: &str, call: &HelperTemplate) -> Result<(), Mistake> {
        if name != "date" {
            return Ok(());
        }
        if let Some(Parameter::Literal(Json::String(pattern))) = call.params.get(1) {
            let epoch = jiff::ZonedDateTime::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC);
            dates::format(&epoch, pattern).map_err(|message| self.mistake(message))?;
        }
        match call.hash.get("tz") {
            Some(Parameter::Literal(Json::String(zone))) => {
                dates::zone(zone).map(drop).map_err(|message| self.mistake(message))
            }
            _ => Ok(()),
        }
    }
}

fn helper_value(name: &str, params: Vec<Parameter>) -> Parameter {
    Parameter::Subexpression(Subexpression::new(
        Parameter::Name(name.to_owned()),
        params,
        std::collections::HashMap::new(),
    ))
}

fn name_of(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Name(name) => name.clone(),
        Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => raw.clone(),
        _ => String::new(),
    }
}

/// How a message calls what a `{{…}}` prints.
fn written(call: &HelperTemplate) -> String {
    match &call.name {
        Parameter::Subexpression(inner) => format!("({} …)", inner.name()),
        name if call.params.is_empty() => name_of(name),
        name => format!("({} …)", name_of(name)),
    }
}

/// The keys after `@name`: `.a.b`, `/a/b`, `.[a b]`.
fn path_after(raw: &str, name: &str) -> Vec<String> {
    let tail = raw.split_once(name).map_or("", |(_, tail)| tail);
    let mut keys = Vec::new();
    let mut rest = tail;
    while let Some(after) = rest.strip_prefix(['.', '/']) {
        let (key, next) = match after.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').unwrap_or((bracketed, "")),
            None => after.split_at(after.find(['.', '/']).unwrap_or(after.len())),
        };
        keys.push(key.to_owned());
        rest = next;
    }
    keys
}
