//! The handbook does not lie: every YAML block in the README is a file that passes `check`, and its tests pass.

use std::path::Path;
use std::process::Command;

#[test]
fn every_yaml_block_of_the_readme_is_a_good_file() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    let mut blocks = 0;
    for block in text.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let name = block.lines().next().unwrap().trim_start_matches("# ");
        assert!(name.starts_with("pipelines/"), "a block begins with its file's name, not {name:?}");
        std::fs::write(folder.path().join(name), block).unwrap();
        blocks += 1;
    }
    assert!(blocks >= 4);
    for command in ["check", "test"] {
        let run = Command::new(env!("CARGO_BIN_EXE_karez"))
            .arg(command)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "karez {command}: {said}");
    }
}
