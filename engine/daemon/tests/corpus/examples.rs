//! The example pipelines: right, tested, and described by the schema that editors use.

use std::fs;

use expect_test::expect_file;

use super::{karez, root, stdout};

#[test]
fn the_examples_have_no_problems() {
    let output = karez(&root(), &["check", "pipelines"]);
    assert!(output.status.success(), "{}", stdout(&output));
    assert!(stdout(&output).contains("no problems"), "{}", stdout(&output));
}

#[test]
fn the_examples_pass_their_tests_and_each_has_some() {
    let output = karez(&root(), &["test", "pipelines", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{found:#}");
    let tested: Vec<&str> =
        found["tests"].as_array().unwrap().iter().map(|test| test["file"].as_str().unwrap()).collect();
    for entry in fs::read_dir(root().join("pipelines")).unwrap() {
        let file = format!("pipelines/{}", entry.unwrap().file_name().to_string_lossy());
        if file.ends_with(".yaml") && file != "pipelines/shared.yaml" {
            assert!(tested.contains(&file.as_str()), "{file} has no tests");
        }
    }
}

#[test]
fn the_editor_schema_is_that_of_this_binary() {
    let output = karez(&root(), &["schema"]);
    assert!(output.status.success());
    expect_file![root().join("schemas/pipeline.schema.json")].assert_eq(stdout(&output));
}
