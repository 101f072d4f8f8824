//! The server as a child process: installed once for each set of files, in the target folder.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use karez_api::Json;
use karez_tests::npm::installed;

use crate::keys::Keys;

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
    /// The same server behind TLS, where it asks for a certificate.
    pub(crate) secured: String,
    pub(crate) keys: Keys,
}

impl Provider {
    pub(crate) fn start() -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let folder = INSTALLED.get_or_init(|| installed("provider", &FILES));
        let keys = Keys::certificates();
        let mut process = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .arg(keys.path(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; tests/run installs it"));
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let told: Json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self {
            issuer: text("issuer"),
            key: text("key"),
            secret: text("secret"),
            secured: text("secured"),
            keys,
            process,
            _said: said,
        }
    }

    /// How often a path was asked for; behind TLS it is `tls PATH`.
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
