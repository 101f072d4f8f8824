//! `karez check` says about each wrong file what stands beside it: `NAME.yaml` and `NAME.txt`, or a folder `NAME`
//! of files that are wrong together.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use expect_test::expect_file;

use super::{karez, root, stdout};

/// Fewer than this would not cover what people get wrong.
const LEAST: usize = 60;

fn folder() -> PathBuf {
    root().join("tests/fixtures/wrong")
}

/// The files and folders that are checked, by name.
fn cases() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().is_dir() || entry.path().extension().is_some_and(|end| end == "yaml"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn each_wrong_file_is_explained() {
    let cases = cases();
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    for case in cases {
        let output = karez(&folder(), &["check", &case]);
        let said = stdout(&output);
        let golden = folder().join(case.trim_end_matches(".yaml")).with_extension("txt");
        expect_file![golden].assert_eq(said);
        let expected = if said.contains(": error[") { Some(1) } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{case}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{case}");
    }
}

#[test]
fn each_place_is_in_its_file() {
    for case in cases() {
        let output = karez(&folder(), &["check", "--format", "json", &case]);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = found["problems"].as_array().unwrap();
        assert!(!problems.is_empty(), "{case}");
        for problem in problems {
            let bytes = fs::read(folder().join(problem["file"].as_str().unwrap())).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let number = |name: &str| usize::try_from(problem[name].as_u64().unwrap()).unwrap();
            let line = text.lines().nth(number("line") - 1).unwrap_or_default();
            let column = number("column");
            assert!((1..=line.chars().count() + 1).contains(&column), "{case}: {problem}");
            assert_eq!(problem["source_line"], *line, "{case}: {problem}");
        }
    }
}
