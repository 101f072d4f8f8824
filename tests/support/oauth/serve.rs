//! Connections: requests in, answers out, or not.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::issue::{LONGEST, Told};
use super::{Shared, Slip, State};
use crate::Seen;
use crate::http::{read_body, read_head};

impl Shared {
    pub(super) fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let (stream, from) = listener.accept().unwrap();
            let mut state = self.state.lock().unwrap();
            if state.ends {
                return;
            }
            state.open.insert(from, stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            // It ends with its connection.
            std::thread::spawn(move || {
                shared.serve(stream).ok();
                let stream = shared.state.lock().unwrap().open.remove(&from);
                stream.map(|stream| stream.shutdown(Shutdown::Both).ok())
            });
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((first, headers)) = read_head(&mut reader)? {
            let body = read_body(&mut reader, &headers)?;
            let mut words = first.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let seen = Seen { number: 0, at: Instant::now(), method, path, headers, body };
            let Some(told) = self.answer(seen) else { return Ok(()) };
            let headers: String =
                told.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let answer = format!(
                "HTTP/1.1 {} As Told\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{headers}\r\n{}",
                told.status,
                told.kind,
                told.body.len(),
                told.body
            );
            reader.get_mut().write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    /// Nothing where the connection is to end.
    fn answer(&self, mut seen: Seen) -> Option<Told> {
        let mut state = self.state.lock().unwrap();
        seen.number = state.seen.len();
        state.seen.push(seen.clone());
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        match path {
            "/authorize" => Some(state.issuer.authorize(query)),
            "/revoke" => Some(state.issuer.revoked(&seen)),
            "/token" => {
                state.issuer.counts.token_calls += 1;
                let slip = if state.slips.is_empty() { None } else { Some(state.slips.remove(0)) };
                self.token(state, &seen, slip)
            }
            _ => Some(state.issuer.api(&seen)),
        }
    }

    fn token(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        seen: &Seen,
        slip: Option<Slip>,
    ) -> Option<Told> {
        match slip {
            None => Some(state.issuer.token(seen)),
            Some(Slip::ErrorUnder200(code)) => Some(Told::error(200, code)),
            Some(Slip::Error(code)) => Some(Told::error(400, code)),
            Some(Slip::Html) => {
                let body = "<html><body>Down for maintenance</body></html>".to_owned();
                Some(Told { status: 200, headers: Vec::new(), kind: "text/html", body })
            }
            Some(Slip::Status(status, wait)) => {
                let mut told = Told::error(status, "temporarily_unavailable");
                told.headers.extend(wait.map(|seconds| ("Retry-After", seconds.to_string())));
                Some(told)
            }
            Some(Slip::Lost) => {
                state.issuer.token(seen);
                None
            }
            Some(Slip::Held) => {
                let told = state.issuer.token(seen);
                state.held += 1;
                let turn = state.held;
                self.wait(state, LONGEST, |state| state.released >= turn);
                Some(told)
            }
            Some(Slip::Slow(time)) => {
                let told = state.issuer.token(seen);
                self.wait(state, time, |_| false);
                Some(told)
            }
        }
    }

    /// So long, or until it holds, or the server ends.
    fn wait(&self, state: std::sync::MutexGuard<'_, State>, time: Duration, holds: impl Fn(&State) -> bool) {
        drop(self.changed.wait_timeout_while(state, time, |state| !state.ends && !holds(state)));
    }
}
