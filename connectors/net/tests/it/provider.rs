//! The server as a child process: installed once for each set of files, in the target folder.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use karez_api::Json;

/// The exact versions that are installed.
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../provider/package.json")),
    ("package-lock.json", include_str!("../provider/package-lock.json")),
    ("provider.mjs", include_str!("../provider/provider.mjs")),
];

pub(crate) struct Provider {
    process: Child,
    /// Held open: it ends when it cannot write what it has to say.
    _said: BufReader<ChildStdout>,
    pub(crate) issuer: String,
    /// PEM of the key of the client `key`.
    pub(crate) key: String,
    /// Of all clients that have one.
    pub(crate) secret: String,
}

impl Provider {
    pub(crate) fn start() -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let folder = INSTALLED.get_or_init(installed);
        let mut process = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; tests/run installs it"));
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let told: Json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self { issuer: text("issuer"), key: text("key"), secret: text("secret"), process, _said: said }
    }

    /// How often a path was asked for.
    pub(crate) async fn calls(&self, path: &str) -> u64 {
        let body = reqwest::get(format!("{}/calls", self.issuer)).await.unwrap().bytes().await.unwrap();
        let calls: Json = serde_json::from_slice(&body).unwrap();
        calls[path].as_u64().unwrap_or(0)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// By what is in the files: it is whole or it is not there.
fn installed() -> PathBuf {
    let mut hash = DefaultHasher::new();
    FILES.hash(&mut hash);
    let folder = std::env::current_exe().unwrap().with_file_name(format!("provider-{:016x}", hash.finish()));
    if !folder.exists() {
        let begun = folder.with_extension(std::process::id().to_string());
        install(&begun);
        // Somebody else may have been faster.
        if fs::rename(&begun, &folder).is_err() {
            fs::remove_dir_all(&begun).ok();
        }
    }
    folder
}

fn install(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in FILES {
        fs::write(folder.join(name), text).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("npm: {error}; tests/run installs it"));
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}
