//! `karez run` as a child process: started on free ports, signalled, killed, started again on the
//! same folder; never left behind.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::{Answer, Folder, Metrics, Request, found, send, within};

const LOG: &str = "stderr.log";

/// A daemon and its folder.
pub struct Daemon {
    folder: Folder,
    arguments: Vec<String>,
    process: Option<Child>,
    ingress: SocketAddr,
    admin: SocketAddr,
}

impl Daemon {
    /// Returns once it is ready.
    ///
    /// # Panics
    /// It does not become ready.
    #[must_use]
    pub fn start(folder: Folder) -> Self {
        Self::start_with(folder, &[])
    }

    /// With more arguments, like `--drain-timeout`, at each start.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn start_with(folder: Folder, arguments: &[&str]) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut daemon = Self { folder, arguments, process: None, ingress: nowhere, admin: nowhere };
        daemon.restart();
        daemon
    }

    /// Starts it again on its folder, on other ports. Returns once it is ready.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let said = self.stderr().len();
        let log = OpenOptions::new().create(true).append(true).open(self.folder.at(LOG)).unwrap();
        let fixed = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(str::to_owned);
        let mut command = self.folder.command(fixed.iter().chain(&self.arguments));
        self.process = Some(command.stderr(log).spawn().unwrap());
        (self.ingress, self.admin) = found("the daemon says where it listens", || {
            self.assert_alive();
            let said = &self.stderr()[said..];
            Some((announced(said, "webhooks")?, announced(said, "admin")?))
        });
        found("the daemon is ready", || {
            self.assert_alive();
            send(self.admin, &Request::get("/readyz")).ok().filter(|answer| answer.status == 200)
        });
    }

    fn assert_alive(&mut self) {
        let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
        assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", self.stderr());
    }

    /// Everything it has said, in all its lives.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.folder.read(LOG)
    }

    /// Where webhooks are received.
    #[must_use]
    pub fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// # Panics
    /// No answer comes.
    #[must_use]
    #[track_caller]
    pub fn send(&self, request: &Request) -> Answer {
        send(self.ingress, request).unwrap()
    }

    /// Posts a JSON event and expects it to be accepted.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn post(&self, path: &str, event: &Json) {
        let answer = self.send(&Request::post(path, event));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// A request to `/api/v1/…` with the token.
    #[must_use]
    #[track_caller]
    pub fn api(&self, method: &str, path: &str) -> Answer {
        self.ask(method, path).unwrap()
    }

    fn ask(&self, method: &str, path: &str) -> std::io::Result<Answer> {
        let token = self.folder.read(".karez/admin.token");
        let request = Request::new(method, &format!("/api/v1/{path}"))
            .header("Authorization", format!("Bearer {}", token.trim()))
            .header("Content-Type", "application/json");
        send(self.admin, &request)
    }

    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::read(&send(self.admin, &Request::get("/metrics")).unwrap().text())
    }

    /// `metrics`, once nothing of this pipeline is in flight; then they have to add up.
    #[track_caller]
    pub fn drained(&self, pipeline: &str) -> Metrics {
        let metrics = found("nothing is in flight", || {
            Some(self.metrics()).filter(|metrics| metrics.in_flight(pipeline) == 0)
        });
        metrics.conserves(pipeline);
        metrics
    }

    /// What `status` says of one pipeline; null where it does not run.
    #[must_use]
    pub fn status(&self, pipeline: &str) -> Json {
        let answer = self.api("GET", &format!("pipelines/{pipeline}"));
        if answer.status == 200 { answer.json() } else { Json::Null }
    }

    /// `kill -9`; it is gone when this returns.
    ///
    /// # Panics
    /// It was gone before.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// # Panics
    /// It does not run.
    pub fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// How it ended, once it has.
    ///
    /// # Panics
    /// It has not within `time`.
    #[track_caller]
    pub fn ended(&mut self, time: Duration) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let until = Instant::now() + time;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("it did not end within {time:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and a good end.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(crate::PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        kib.unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until it has said this since it has first started.
    ///
    /// # Panics
    /// It does not say it.
    #[track_caller]
    pub fn says(&self, text: &str) {
        within(crate::PATIENCE, &format!("the log says {text:?}"), || self.stderr().contains(text));
    }
}

impl Deref for Daemon {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let status = self.process.as_ref().map(|_| self.ask("GET", "status"));
            let status = status.and_then(Result::ok).map(|answer| answer.text());
            eprintln!("--- the daemon said:\n{}--- status: {status:?}", self.stderr());
        }
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// The address in a line like `  webhooks  http://127.0.0.1:7070`.
fn announced(said: &str, what: &str) -> Option<SocketAddr> {
    let line = said.lines().find(|line| line.trim_start().starts_with(what))?;
    line.split("http://").nth(1)?.split_whitespace().next()?.parse().ok()
}
