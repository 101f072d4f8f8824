//! What karez takes while nothing happens, and with a thousand pipelines.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::stats;

const WATCH: Duration = Duration::from_secs(20);

/// The example pipelines, idle.
pub(crate) fn run() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new("pipelines"), &folder.path().join("pipelines"));
    copy(Path::new("schemas"), &folder.path().join("schemas"));
    let daemon = Daemon::start(folder.path());
    std::thread::sleep(Duration::from_secs(2));
    let before = stats::cpu(daemon.pid());
    std::thread::sleep(WATCH);
    let cpu = stats::cpu(daemon.pid()) - before;
    println!(
        "idle with the examples: {:.1} MiB resident, {:.2} % of a core",
        stats::resident_mib(daemon.pid()),
        cpu.as_secs_f64() / WATCH.as_secs_f64() * 100.0
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(drop).unwrap() }
    }
}

fn pipeline(n: usize, limit: usize) -> String {
    format!(
        "name: p{n}\nsource:\n  webhook:\n    path: /p{n}\n    verify: {{hmac: {{algorithm: sha256, header: X-Signature, secret: s{n}}}}}\nsteps:\n  - filter: \"@.total > {limit}\"\n  - map: {{id: $.id, label: \"{{{{name}}}} in {{{{city}}}}\"}}\nsink:\n  blackhole: {{}}\n"
    )
}

pub(crate) fn run_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let pipelines = folder.path().join("pipelines");
    std::fs::create_dir(&pipelines).unwrap();
    for n in 0..1_000 {
        std::fs::write(pipelines.join(format!("p{n}.yaml")), pipeline(n, 10)).unwrap();
    }
    let daemon = Daemon::start(folder.path());
    std::thread::sleep(Duration::from_secs(1));
    let resident = stats::resident_mib(daemon.pid());
    let reloads = daemon.metric("karez_reload_total", "result=\"ok\"");
    let before = Instant::now();
    std::fs::write(pipelines.join("p500.yaml"), pipeline(500, 20)).unwrap();
    daemon.until(Duration::from_secs(20), |daemon| {
        daemon.metric("karez_reload_total", "result=\"ok\"") > reloads
    });
    println!(
        "1,000 pipelines: {resident:.0} MiB resident, started in {:.2} s, one reloaded {:.0} ms after its file changed",
        daemon.start.as_secs_f64(),
        stats::millis(before.elapsed())
    );
}
