//! K8: the store against a model in memory. It runs as `cargo test`; here it is counted among the others.

use std::process::Command;

use crate::run::Run;

pub(super) fn store(run: &mut Run) {
    let seeds = run.tier.of("500", "1000", "10000");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let tested = Command::new("cargo")
        .args(["test", "--quiet", "-p", "karez-store", "--lib", "--", "tests::model", "tests::checkpoints"])
        .env("KAREZ_TEST_SEEDS", seeds)
        .current_dir(root)
        .output();
    let output = match tested {
        Ok(output) => output,
        Err(error) => return run.skip(format!("cargo cannot be started: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let passed = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok());
    run.needs("property held", 1);
    run.fired("property held", passed.sum());
    run.note(format!("{seeds} histories each"));
    run.check(output.status.success(), || crate::rig::tail(&said, 800).to_owned());
}
