//! Connections: requests in, answers out, or not.

use std::sync::MutexGuard;
use std::time::Duration;

use super::issue::{self, LONGEST};
use super::{Shared, Slip, State};
use crate::Seen;
use crate::server::{Answers, Told};

impl Answers for Shared {
    fn answer(&self, seen: Seen) -> Told {
        let Some(told) = self.decide(seen) else { return Told::Nothing };
        let mut headers =
            vec![("Content-Type", told.kind.to_owned()), ("Cache-Control", "no-store".to_owned())];
        headers.extend(told.headers);
        Told::whole(told.status, &headers, told.body.as_bytes())
    }
}

impl Shared {
    /// Nothing where the connection is to end.
    fn decide(&self, mut seen: Seen) -> Option<issue::Told> {
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
        mut state: MutexGuard<'_, State>,
        seen: &Seen,
        slip: Option<Slip>,
    ) -> Option<issue::Told> {
        match slip {
            None => Some(state.issuer.token(seen)),
            Some(Slip::ErrorUnder200(code)) => Some(issue::Told::error(200, code)),
            Some(Slip::Error(code)) => Some(issue::Told::error(400, code)),
            Some(Slip::Html) => {
                let body = "<html><body>Down for maintenance</body></html>".to_owned();
                Some(issue::Told { status: 200, headers: Vec::new(), kind: "text/html", body })
            }
            Some(Slip::Status(status, wait)) => {
                let mut told = issue::Told::error(status, "temporarily_unavailable");
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
    fn wait(&self, state: MutexGuard<'_, State>, time: Duration, holds: impl Fn(&State) -> bool) {
        drop(self.changed.wait_timeout_while(state, time, |state| !state.ends && !holds(state)));
    }
}
