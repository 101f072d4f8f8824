//! `karez run` as a child process: started on free ports, signalled, killed, started again on the
//! same folder; never left behind.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::{Answer, Folder, Launch, Metrics, PATIENCE, Request, binary, send, within};

const LOG: &str = "stderr.log";

/// A daemon and its folder.
pub struct Daemon {
    folder: Folder,
    launch: Launch,
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
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_as(folder, Launch { arguments, ..Launch::default() })
    }

    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn start_as(folder: Folder, launch: Launch) -> Self {
        let mut daemon = Self::prepare(folder, launch);
        daemon.restart();
        daemon
    }

    /// One that does not run yet.
    #[must_use]
    pub fn prepare(folder: Folder, launch: Launch) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { folder, launch, process: None, ingress: nowhere, admin: nowhere }
    }

    /// What counts from its next start.
    pub fn launch(&mut self) -> &mut Launch {
        &mut self.launch
    }

    /// Starts it again on its folder, on other ports. Returns once it is ready.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn restart(&mut self) {
        if let Err(why) = self.try_restart(PATIENCE) {
            panic!("{why}");
        }
    }

    /// Starts it again on its folder, on other ports. Returns once it is ready.
    ///
    /// # Errors
    /// It ended, with what it said, or was not ready in time and was killed.
    ///
    /// # Panics
    /// It runs already.
    pub fn try_restart(&mut self, time: Duration) -> Result<(), String> {
        let said = self.stderr().len();
        self.spawn();
        let until = Instant::now() + time;
        while !self.is_ready(said) {
            if let Some(status) = self.has_ended() {
                self.process = None;
                return Err(format!("the daemon ended, {status}:\n{}", &self.stderr()[said..]));
            }
            if Instant::now() > until {
                self.kill();
                return Err(format!("the daemon was not ready within {time:?}:\n{}", &self.stderr()[said..]));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts it again and does not wait.
    ///
    /// # Panics
    /// It runs already.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.folder.at(LOG)).unwrap();
        let program = self.launch.binary.clone().unwrap_or_else(binary);
        let mut command = match self.launch.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = self.folder.run(first);
                command.args(rest).arg(program);
                command
            }
            None => self.folder.run(program),
        };
        command.args(self.launch.line(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]));
        // Receivers of tests are on this machine.
        command.env("KAREZ_ALLOW_PRIVATE", "127.0.0.0/8,::1");
        command.envs(self.launch.environment.iter().cloned());
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Looks for the addresses behind what was `said` before this start.
    fn is_ready(&mut self, said: usize) -> bool {
        let text = self.stderr();
        let Some(text) = text.get(said..) else { return false };
        let (Some(ingress), Some(admin)) = (announced(text, "webhooks"), announced(text, "admin")) else {
            return false;
        };
        (self.ingress, self.admin) = (ingress, admin);
        send(admin, &Request::get("/readyz")).is_ok_and(|answer| answer.status == 200)
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// The system does not say.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.try_wait().unwrap()
    }

    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.process.is_some() && self.has_ended().is_none()
    }

    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Its process, while there is one.
    #[must_use]
    pub fn running(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where its state is.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.launch.data.clone().unwrap_or_else(|| self.folder.at(".karez"))
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

    /// As [`Daemon::api`], with a body.
    #[must_use]
    #[track_caller]
    pub fn api_with(&self, method: &str, path: &str, body: &Json) -> Answer {
        let request = self.request(method, path).unwrap().body(body.to_string());
        send(self.admin, &request).unwrap()
    }

    /// As [`Daemon::api`].
    ///
    /// # Errors
    /// No answer comes.
    pub fn ask(&self, method: &str, path: &str) -> std::io::Result<Answer> {
        send(self.admin, &self.request(method, path)?)
    }

    fn request(&self, method: &str, path: &str) -> std::io::Result<Request> {
        let token = std::fs::read_to_string(self.data().join("admin.token"))?;
        Ok(Request::new(method, &format!("/api/v1/{path}"))
            .header("Authorization", format!("Bearer {}", token.trim()))
            .header("Content-Type", "application/json"))
    }

    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::read(&send(self.admin, &Request::get("/metrics")).unwrap().text())
    }

    /// As [`Daemon::metrics`].
    ///
    /// # Errors
    /// No answer comes.
    pub fn scrape(&self) -> std::io::Result<Metrics> {
        Ok(Metrics::read(&send(self.admin, &Request::get("/metrics"))?.text()))
    }

    /// `metrics`, once nothing of this pipeline is in flight; then they have to add up.
    #[track_caller]
    pub fn drained(&self, pipeline: &str) -> Metrics {
        let metrics = crate::found("nothing is in flight", || {
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

    /// As [`Daemon::kill`], of one that may have ended by itself.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// # Panics
    /// It does not run.
    pub fn signal(&self, signal: Signal) {
        let id = self.pid();
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
        let status = self.ended(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let id = self.pid();
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
        within(PATIENCE, &format!("the log says {text:?}"), || self.stderr().contains(text));
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
        self.end();
    }
}

/// The address in a line like `  webhooks  http://127.0.0.1:7070`.
fn announced(said: &str, what: &str) -> Option<SocketAddr> {
    let line = said.lines().find(|line| line.trim_start().starts_with(what))?;
    line.split("http://").nth(1)?.split_whitespace().next()?.parse().ok()
}
