//! A karez of the bench's own, as a child process in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) ingress: u16,
    pub(crate) admin: u16,
    /// From exec to ready.
    pub(crate) start: Duration,
}

pub(crate) fn binary() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("karez")
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Daemon {
    pub(crate) fn start(folder: &Path) -> Self {
        let (ingress, admin) = (free_port(), free_port());
        let before = Instant::now();
        let child = Command::new(binary())
            .args([
                "run",
                "--listen",
                &format!("127.0.0.1:{ingress}"),
                "--admin",
                &format!("127.0.0.1:{admin}"),
            ])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self { child, ingress, admin, start: Duration::ZERO };
        while daemon.get("/readyz").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(before.elapsed() < Duration::from_secs(60), "karez did not become ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.start = before.elapsed();
        daemon
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn get(&self, path: &str) -> Option<String> {
        use std::io::Write;
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        let mut reader = BufReader::new(stream);
        while reader.read_line(&mut answer).ok()? > 0 {}
        Some(answer)
    }

    /// The sum of a metric's samples whose labels contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").unwrap_or_default();
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a condition holds.
    pub(crate) fn until(&self, within: Duration, condition: impl Fn(&Self) -> bool) {
        let before = Instant::now();
        while !condition(self) {
            assert!(before.elapsed() < within, "karez did not come to where it should");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
