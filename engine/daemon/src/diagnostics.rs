//! Problems for people: the line, what is wrong, the text it is about. Problems for tools: JSON.
//! What is a problem is decided by `karez-config`.

use std::collections::BTreeSet;
use std::fmt::Write;

use karez_api::suggest;
use karez_config::Placed;

/// Whether terminal colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Off,
    On,
}

impl Colour {
    fn paint(self, code: &'static str) -> (&'static str, &'static str) {
        match self {
            Self::Off => ("", ""),
            Self::On => (code, "\u{1b}[0m"),
        }
    }
}

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const DIM: &str = "\u{1b}[2m";

/// Every problem with its line and a caret line, then a line that counts them.
pub(crate) fn render(problems: &[Placed], colour: Colour) -> String {
    let mut out = String::new();
    for problem in problems {
        render_one(&mut out, problem, colour);
    }
    if !problems.is_empty() {
        out.push_str(&summary(problems));
        out.push('\n');
    }
    out
}

fn render_one(out: &mut String, problem: &Placed, colour: Colour) {
    let (start, end) = colour.paint(if problem.is_error() { RED } else { YELLOW });
    // Writing to a string does not fail.
    writeln!(out, "{start}{problem}{end}").ok();
    if problem.source_line.trim().is_empty() {
        return;
    }
    let (dim, end) = colour.paint(DIM);
    let number = problem.line.to_string();
    writeln!(out, "{dim}{number} |{end} {}", printable(&problem.source_line)).ok();
    let indent: String = problem
        .source_line
        .chars()
        .take(problem.column.saturating_sub(1))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let width = problem.end_column.map_or(1, |end| end.saturating_sub(problem.column).max(1));
    writeln!(out, "{dim}{} |{end} {indent}{start}{}{end}", " ".repeat(number.len()), "^".repeat(width)).ok();
}

/// A file cannot send codes to the terminal.
pub(crate) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// `2 problems in 1 file`.
pub(crate) fn summary(problems: &[Placed]) -> String {
    let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    format!("{} in {}", counted(problems.len(), "problem"), counted(files.len(), "file"))
}

/// What is wrong with a name, and which was probably meant or what there is.
pub(crate) fn unknown(message: &str, typed: &str, names: &[&str]) -> String {
    match suggest::help(typed, names.iter().copied(), "there are") {
        Some(help) => format!("{message}; {help}"),
        None => message.to_owned(),
    }
}

/// A journal that no pipeline takes, and what can be done with it.
pub(crate) fn orphan(pipeline: &str, stream: &str, unsettled: u64) -> String {
    let unsettled = counted(unsettled, "unsettled record");
    let help = format!("give a pipeline `renamed_from: {pipeline}`, or `karez store drop {pipeline}`");
    format!("{stream}: {unsettled}, but no pipeline of that name; {help}")
}

/// `1 file`, `3 files`.
pub(crate) fn counted(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use karez_api::Severity;

    fn problem() -> Placed {
        Placed {
            file: "pipelines/orders.yaml".into(),
            line: 14,
            column: 7,
            end_column: Some(13),
            severity: Severity::Error,
            code: "unknown-field",
            path: "sinks.crm.http.timout".into(),
            message: "unknown field".into(),
            help: Some("did you mean \"timeout\"?".into()),
            source_line: "      timout: 3s".into(),
        }
    }

    #[test]
    fn a_problem_shows_its_line_and_points_at_it() {
        expect![[r#"
            pipelines/orders.yaml:14:7: error[unknown-field] sinks.crm.http.timout: unknown field; did you mean "timeout"?
            14 |       timout: 3s
               |       ^^^^^^
            1 problem in 1 file
        "#]]
        .assert_eq(&render(&[problem()], Colour::Off));
    }

    #[test]
    fn problems_are_counted_with_their_files() {
        let other = Placed { file: "b.yaml".into(), source_line: String::new(), ..problem() };
        let text = render(&[problem(), problem(), other], Colour::Off);
        assert!(text.ends_with("3 problems in 2 files\n"), "{text}");
        assert_eq!(render(&[], Colour::Off), "");
    }

    #[test]
    fn a_line_cannot_write_to_the_terminal() {
        let hostile = Placed { source_line: "a: \u{1b}[2J".into(), column: 1, end_column: None, ..problem() };
        assert!(!render(&[hostile], Colour::Off).contains('\u{1b}'));
    }
}
