//! Patterns of `match` and `search`: I-Regexp (RFC 9485) on a linear engine, bounded in size.

use regex::{Regex, RegexBuilder};

/// Longest pattern that is compiled, in bytes.
const MAX_PATTERN: usize = 1024;
/// Largest compiled pattern, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// # Errors
/// A sentence: the pattern is malformed, or too large.
pub(crate) fn compile(pattern: &str, whole: bool) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("the pattern is longer than {MAX_PATTERN} bytes"));
    }
    let translated = translate(pattern);
    let anchored = if whole { format!(r"\A(?:{translated})\z") } else { translated };
    // The pattern alone first: anchoring must not make `a)(b` legal, and errors should show what was written.
    Regex::new(pattern)
        .and_then(|_| RegexBuilder::new(&anchored).size_limit(MAX_COMPILED).nest_limit(64).build())
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large once compiled".to_owned(),
            other => last_line(&other.to_string()),
        })
}

/// The engine's message draws the pattern over several lines; its last line says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// In I-Regexp a dot matches neither line feed nor carriage return.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                translated.push('\\');
                translated.extend(characters.next());
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '.' if !in_class => {
                translated.push_str(r"[^\n\r]");
                continue;
            }
            _ => {}
        }
        translated.push(character);
    }
    translated
}
