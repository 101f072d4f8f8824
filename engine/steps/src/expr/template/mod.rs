//! Handlebars templates: strict, never HTML-escaping, compiled once. A template is parsed by the library,
//! rewritten to our rules, and, where it only puts fields into text, rendered without the engine.

mod dates;
mod helpers;
mod place;
mod print;
mod render;
mod rewrite;

pub(crate) use dates::moment;
pub(crate) use render::Template;

#[cfg(test)]
mod tests;
