//! Far ends in a Python process: servers and libraries that others wrote, from PyPI.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use karez_api::{Clock, Json, Millis};
use karez_net::{Checked, Connection, Connections, Failure, Options, Request, Response, Reuse, check};
use serde_json::json;

use crate::keys::Keys;

const REQUIREMENTS: &str = include_str!("judges/requirements.txt");
const PROGRAM: &str = include_str!("judges/judges.py");

/// A process that serves all of them.
pub(crate) struct Judges {
    process: Child,
    ports: Json,
    keys: Keys,
}

impl Judges {
    /// Installs them with pip where this target folder does not have them yet.
    ///
    /// # Panics
    /// There is no Python with `venv`, or no way to the packages.
    pub(crate) fn start() -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let python = INSTALLED.get_or_init(installed).join("bin/python");
        let keys = Keys::of_all_kinds();
        let settings = json!({
            "aws": {"access_key_id": "AKID", "secret_access_key": "s3cret/+", "session_token": "t0ken/+=",
                "region": "eu-west-1"},
            "oauth1": {"consumer_key": "consumer", "consumer_secret": "c&s", "token_secret": "t s",
                "public_key": keys.text("rsa.public.pem")},
            "jwt": {"HS256": "a secret that both sides share, and that is as long as the longest hash wants it", "HS384": "a secret that both sides share, and that is as long as the longest hash wants it", "HS512": "a secret that both sides share, and that is as long as the longest hash wants it",
                "RS256": keys.text("rsa.public.pem"), "RS384": keys.text("rsa.public.pem"),
                "RS512": keys.text("rsa.public.pem"), "PS256": keys.text("rsa.public.pem"),
                "PS384": keys.text("rsa.public.pem"), "PS512": keys.text("rsa.public.pem"),
                "ES256": keys.text("p256.public.pem"), "ES384": keys.text("p384.public.pem"),
                "EdDSA": keys.text("ed25519.public.pem")},
            "hmac": "k3y", "password": "p4ss", "certificate": keys.text("rsa.certificate.pem"),
            "tls": {"certificate": keys.path("server.pem"), "key": keys.path("server.key"), "ca": keys.path("ca.pem")},
        });
        let mut process = Command::new(python)
            .args(["-c", PROGRAM, &settings.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { process, ports, keys }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The address of one of them.
    pub(crate) fn address(&self, name: &str) -> String {
        let scheme = if name == "tls" { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports[name])
    }

    /// A connection to one of them.
    pub(crate) fn connect(&self, name: &str, mut settings: Json) -> Arc<Connection> {
        settings["url"] = self.address(name).into();
        settings["allow_private"] = json!(["127.0.0.0/8"]);
        let checked: Checked = check("judge", &settings).unwrap_or_else(|problems| panic!("{problems:?}"));
        let connections = Connections::new(Arc::new(SystemClock), None, Options::default());
        connections.open(&checked).unwrap()
    }
}

impl Drop for Judges {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A folder by what is in it: it is whole or it is not there.
fn installed() -> PathBuf {
    let mut hash = DefaultHasher::new();
    REQUIREMENTS.hash(&mut hash);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("judges-{:016x}", hash.finish()));
    let ready = folder.join("ready");
    if !ready.exists() {
        fs::remove_dir_all(&folder).ok();
        let run = |program: &Path, arguments: &[&str]| {
            let run = Command::new(program).args(arguments).output().unwrap();
            assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
        };
        run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()]);
        let list = folder.join("requirements.txt");
        fs::write(&list, REQUIREMENTS).unwrap();
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "-r", list.to_str().unwrap()];
        run(&folder.join("bin/python"), &pip);
        fs::write(ready, "").unwrap();
    }
    folder
}

/// One request through a connection.
pub(crate) async fn call(
    connection: &Connection,
    method: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> Result<Response, Failure> {
    let mut headers = http::HeaderMap::new();
    if let Some((kind, _)) = body {
        headers.insert(http::header::CONTENT_TYPE, kind.parse().unwrap());
    }
    let request = Request {
        headers,
        body: body.map_or("", |(_, body)| body).to_owned().into(),
        reuse: Reuse::Never,
        ..Request::new(method.parse().unwrap(), connection.url(path).unwrap())
    };
    connection.call(request).await
}

/// Why a judge refused, or nothing.
pub(crate) fn verdict(answer: Result<Response, Failure>) -> Option<String> {
    let failure = answer.err()?;
    let body = failure.response.map(|response| String::from_utf8_lossy(&response.body).into_owned());
    Some(format!("{} {}", failure.fault, body.unwrap_or_default()))
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap())
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
    fn sleep(&self, time: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}
