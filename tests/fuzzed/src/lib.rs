//! What karez must keep up under any input, as functions of bytes: they panic where it does not.
//!
//! A fuzzer calls them through `fuzz/fuzz_targets`; the test below calls each with what is kept for it in
//! `fuzz/corpus` (inputs that reach far) and `fuzz/regressions` (inputs that once found a bug).

#![expect(clippy::unwrap_used, reason = "a panic is how a check fails")]

mod lent;

mod interpolation;
mod pipeline;

mod expressions;
mod jq;
mod json_schema;
mod jsonpath;
mod template;

mod answer;
mod file_records;
mod json_body;
mod link;
mod retry_after;
mod webhook;

mod store_recovery;

pub use answer::answer;
pub use file_records::file_records;
pub use interpolation::interpolation;
pub use jq::jq;
pub use json_body::json_body;
pub use json_schema::json_schema;
pub use jsonpath::jsonpath;
pub use link::link;
pub use pipeline::pipeline;
pub use retry_after::retry_after;
pub use store_recovery::store_recovery;
pub use template::template;
pub use webhook::webhook;

/// A check of one input.
pub type Target = fn(&[u8]);

/// All checks, by the name of their fuzz target.
pub const TARGETS: [(&str, Target); 13] = [
    ("pipeline", pipeline),
    ("interpolation", interpolation),
    ("webhook", webhook),
    ("json_body", json_body),
    ("jsonpath", jsonpath),
    ("template", template),
    ("jq", jq),
    ("json_schema", json_schema),
    ("store_recovery", store_recovery),
    ("file_records", file_records),
    ("retry_after", retry_after),
    ("answer", answer),
    ("link", link),
];

/// The parts of an input, divided by lines of three dashes.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BETWEEN: &[u8] = b"\n---\n";
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let whole = rest?;
        let found = whole.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = found.map(|at| &whole[at + BETWEEN.len()..]);
        Some(&whole[..found.unwrap_or(whole.len())])
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::{Path, PathBuf};

    use super::*;

    /// The files in a folder of the workspace.
    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let all = fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
        let mut found: Vec<_> = all.filter(|path| path.is_file()).collect();
        found.sort();
        found
    }

    /// What there is for a target beside its own corpus.
    fn more(name: &str) -> Vec<PathBuf> {
        match name {
            "pipeline" => [files("pipelines"), files("tests/fixtures/wrong")].concat(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_kept_input_is_taken_well() {
        let mut failed = Vec::new();
        for (name, target) in TARGETS {
            let corpus = files(&format!("fuzz/corpus/{name}"));
            assert!(!corpus.is_empty(), "{name} has no corpus");
            let regressions = files(&format!("fuzz/regressions/{name}"));
            for file in [corpus, regressions, more(name)].concat() {
                let data = fs::read(&file).unwrap();
                if catch_unwind(AssertUnwindSafe(|| target(&data))).is_err() {
                    failed.push(file);
                }
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn parts_are_divided_by_lines_of_dashes() {
        let divided: Vec<&[u8]> = parts(b"a\n---\n---\nb\n---\n").collect();
        assert_eq!(divided, [&b"a"[..], b"---\nb", b""]);
    }
}
