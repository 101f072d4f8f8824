//! What people write that YAML reads differently: `{{name}}` without quotes, and picks with
//! `[`, `,` or `?` inside `{ }` or `[ ]`. The parser's own words about them help nobody.

use crate::yaml::SyntaxError;

/// A message of its own for a mistake near `offset`, where the parser gave up.
pub(crate) fn recognise(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    unquoted_template(text, offset, message).or_else(|| pick_in_flow(text, offset))
}

fn unquoted_template(text: &str, offset: usize, message: &str) -> Option<SyntaxError> {
    let mistake = |at| {
        SyntaxError::new(at, "unquoted-template", "YAML reads `{{` without quotes as a map")
            .help("write the template in quotes: \"{{name}}\"")
    };
    let map_as_key = message.contains("invalid type: map") || message.contains("invalid type: sequence");
    if map_as_key && text[..offset].ends_with('{') {
        return Some(mistake(offset - 1));
    }
    let (start, line) = line_of(text, offset);
    let upto = &line[..(offset - start).min(line.len())];
    let (at, _) = plain(upto).find(|(at, c)| *c == '{' && upto[*at..].starts_with("{{"))?;
    Some(mistake(start + at))
}

fn pick_in_flow(text: &str, offset: usize) -> Option<SyntaxError> {
    let (start, line) = line_of(text, offset);
    let mut open = 0_usize;
    let mut pick = None;
    for (at, c) in plain(line) {
        match (c, pick) {
            ('$' | '@', None) if open > 0 && line[at + 1..].starts_with(['.', '[']) => pick = Some(at),
            ('[' | '?', Some(began)) if start + at <= offset + 1 => {
                let message = format!("YAML reads `{c}` inside {{ }} or [ ] as its own");
                return Some(
                    SyntaxError::new(start + began, "unquoted-pick", message)
                        .help("write the pick in quotes: \"$.items[0]\""),
                );
            }
            (',' | ' ' | '}' | ']', Some(_)) => {
                pick = None;
                open -= usize::from(matches!(c, '}' | ']') && open > 0);
            }
            ('{' | '[', None) => open += 1,
            ('}' | ']', None) => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The line that holds `offset`, and where it begins. The parser often gives up at the start of the next one.
fn line_of(text: &str, offset: usize) -> (usize, &str) {
    let mut start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    if text[start..offset].trim().is_empty() && start > 0 {
        start = text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
    }
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    (start, &text[start..end])
}

/// The characters of a line that stand in no quotes and no comment.
fn plain(line: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    let mut before = ' ';
    line.char_indices().filter(move |(_, c)| {
        let outside = match quote {
            Some(open) => {
                if *c == open && (open == '\'' || before != '\\') {
                    quote = None;
                }
                false
            }
            // A quote opens a string only where a value may begin: `O'Brien` has none.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | ',' | '[' | '{' | ':') => {
                quote = Some(*c);
                false
            }
            None if *c == '#' && before == ' ' => {
                quote = Some('\n');
                false
            }
            None => true,
        };
        before = *c;
        outside
    })
}
