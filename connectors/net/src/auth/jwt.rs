//! A token that we sign ourselves, used until it is about to expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, header};
use karez_api::{Clock, Fault, Millis, Path, Problem};

use super::jose::{self, Fallback, SigningKey};
use super::{Credentials, Stamp, sensitive};
use crate::spec::Jwt;
use crate::{Request, Response};

/// Longest before its end that a token is replaced; at most a fifth of its life.
const MARGIN: Duration = Duration::from_secs(60);

pub(crate) struct JwtCredentials {
    spec: Jwt,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    made: Mutex<Made>,
}

/// The token in use.
#[derive(Default)]
struct Made {
    value: Option<HeaderValue>,
    /// When it is replaced.
    until: Millis,
    /// Requests that carry it.
    uses: u64,
    /// Goes up with each token.
    turn: u64,
}

impl JwtCredentials {
    pub(super) fn new(spec: &Jwt, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let key = SigningKey::read(spec.algorithm, &spec.key)?;
        Ok(Self { spec: spec.clone(), key, clock, made: Mutex::default() })
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, now: Millis) -> Result<(HeaderValue, Millis), Fault> {
        let token = jose::make(&self.spec, &self.key, Fallback::default(), now)?;
        let prefix = self.spec.prefix.as_deref().unwrap_or("Bearer ");
        let value = sensitive(&format!("{prefix}{token}")).map_err(Fault::auth)?;
        let left = self.spec.lifetime().saturating_sub(self.spec.backdate());
        let used = left - MARGIN.min(left / 5);
        Ok((value, Millis(now.0 + u64::try_from(used.as_millis()).unwrap_or(u64::MAX / 2))))
    }
}

#[async_trait]
impl Credentials for JwtCredentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let now = self.clock.now();
        let mut made = self.made();
        let value = match &made.value {
            Some(value) if now < made.until => value.clone(),
            _ => {
                let (value, until) = self.make(now)?;
                *made = Made { value: Some(value.clone()), until, uses: 0, turn: made.turn + 1 };
                value
            }
        };
        made.uses += 1;
        request.headers.insert(header::AUTHORIZATION, value);
        Ok(Stamp(made.turn))
    }

    async fn refused(&self, stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        let mut made = self.made();
        if stamp.0 != made.turn {
            return Ok(true);
        }
        // One that was used before may have been used up; one that was made for this request is as good as the next.
        made.value = None;
        Ok(made.uses > 1)
    }
}

pub(super) fn check(spec: &Jwt, at: &Path, problems: &mut Vec<Problem>) {
    jose::check(spec, at, problems);
    if let Some(what) = spec.prefix.as_deref().and_then(|prefix| sensitive(prefix).err()) {
        problems.push(Problem::error("bad-prefix", at.field("prefix"), what));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::{Answers, SetClock, answer, credentials, request};

    async fn sent(jwt: &dyn Credentials) -> (Stamp, String) {
        let mut asked = request("GET", "https://a.example/", "");
        let stamp = jwt.apply(&mut asked).await.unwrap();
        (stamp, asked.headers["authorization"].to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_token_is_used_until_it_is_about_to_expire() {
        let clock = SetClock::at(1_000_000_000);
        let spec = json!({"jwt": {"algorithm": "HS256", "key": "k", "lifetime": "100s", "prefix": "JWT "}});
        let jwt = credentials(&spec, Arc::clone(&clock), Answers::with([]));
        let (_, first) = sent(&*jwt).await;
        assert!(first.starts_with("JWT ey"), "{first}");
        clock.pass(Duration::from_secs(79));
        assert_eq!(sent(&*jwt).await.1, first);
        clock.pass(Duration::from_secs(1));
        assert_ne!(sent(&*jwt).await.1, first);
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_if_it_was_used_before() {
        let spec = json!({"jwt": {"algorithm": "HS256", "key": "k"}});
        let jwt = credentials(&spec, SetClock::at(1_000_000_000), Answers::with([]));
        let (stamp, first) = sent(&*jwt).await;
        assert!(!jwt.refused(stamp, &answer(401, &[], "")).await.unwrap());
        let (stamp, second) = sent(&*jwt).await;
        assert_ne!(first, second);
        assert_eq!(sent(&*jwt).await.1, second);
        assert!(jwt.refused(stamp, &answer(401, &[], "")).await.unwrap());
        assert_ne!(sent(&*jwt).await.1, second);
        assert!(jwt.refused(stamp, &answer(401, &[], "")).await.unwrap());
    }
}
