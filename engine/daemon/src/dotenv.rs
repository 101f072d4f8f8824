//! `.env`: variables beside the pipelines, one a line.

use karez_api::Severity;
use karez_config::Placed;

/// `NAME=value` lines; `#` begins a comment line, `export` and a pair of quotes are allowed. Any other line is left
/// out, and told: what it was meant to set falls back to a default without a word.
pub(crate) fn parse(text: &str, file: &str) -> (Vec<(String, String)>, Vec<Placed>) {
    let (mut vars, mut problems) = (Vec::new(), Vec::new());
    for (index, whole) in text.lines().enumerate() {
        let line = whole.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.strip_prefix("export ").unwrap_or(line).split_once('=');
        match pair.map(|(name, value)| (name.trim(), value.trim())).filter(|(name, _)| is_name(name)) {
            Some((name, value)) => vars.push((name.to_owned(), unquoted(value).to_owned())),
            None => problems.push(left_out(file, index + 1)),
        }
    }
    (vars, problems)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

/// The line itself is not shown: it may be half of a secret.
fn left_out(file: &str, line: usize) -> Placed {
    Placed {
        file: file.to_owned(),
        line,
        column: 1,
        end_column: None,
        severity: Severity::Warning,
        code: "bad-env-line",
        path: String::new(),
        message: "this line sets no variable and is left out".to_owned(),
        help: Some("write NAME=value, or # in front of a comment".to_owned()),
        source_line: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shells_do() {
        let (vars, problems) = parse("# c\nA=1\nexport B = \"two words\"\nC='x=y'\n\nD_2=\n", ".env");
        let expected = [("A", "1"), ("B", "two words"), ("C", "x=y"), ("D_2", "")];
        assert_eq!(vars, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(problems, []);
    }

    #[test]
    fn a_line_that_sets_nothing_is_told_but_not_shown() {
        let (vars, problems) = parse("A=1\nTOKEN: s3cret\nMY KEY=2\n=3\n", ".env");
        assert_eq!(vars, [("A".to_owned(), "1".to_owned())]);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let line = |n: usize| {
            format!(
                ".env:{n}:1: warning[bad-env-line] this line sets no variable and is left out; \
                 write NAME=value, or # in front of a comment"
            )
        };
        assert_eq!(told, [line(2), line(3), line(4)]);
    }
}
