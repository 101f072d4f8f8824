//! The example pipelines: right, tested, and described by the schema that editors use.

use std::fs;

use expect_test::expect_file;

use super::{karez, root, stdout};

/// Folders of examples, and the file of each that is shared by the others.
const FOLDERS: [(&str, &str); 2] = [("pipelines", "shared.yaml"), ("examples", "connections.yaml")];

#[test]
fn the_examples_have_no_problems() {
    for (folder, _) in FOLDERS {
        let output = karez(&root(), &["check", folder]);
        assert!(output.status.success(), "{}", stdout(&output));
        assert!(stdout(&output).contains("no problems"), "{}", stdout(&output));
    }
}

#[test]
fn the_examples_pass_their_tests_and_each_has_some() {
    for (folder, shared) in FOLDERS {
        let output = karez(&root(), &["test", folder, "--format", "json"]);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{found:#}");
        let tested: Vec<&str> =
            found["tests"].as_array().unwrap().iter().map(|test| test["file"].as_str().unwrap()).collect();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".yaml") && name != shared {
                let file = format!("{folder}/{name}");
                assert!(tested.contains(&file.as_str()), "{file} has no tests");
            }
        }
    }
}

#[test]
fn the_editor_schema_is_that_of_this_binary() {
    let output = karez(&root(), &["schema"]);
    assert!(output.status.success());
    expect_file![root().join("schemas/pipeline.schema.json")].assert_eq(stdout(&output));
}
