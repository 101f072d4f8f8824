//! Which failed calls are tried again by the client itself, and when. Only for callers without an engine
//! around them; and never so often that a far end in trouble gets more calls than one in health.

use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderName, Method};
use karez_api::Class;

use super::lock;
use crate::{Effect, Failure, Request};

/// Attempts of one call.
const ATTEMPTS: u32 = 4;
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// Longest wait that whoever keeps a tally leaves to the client: longer ones are told to people.
const UNSEEN: Duration = Duration::from_secs(1);
/// A call earns so much of a retry.
const EARNED: f64 = 0.15;
const SAVED: f64 = 10.0;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How many retries are left of what the calls have earned.
pub(crate) struct Retries(Mutex<f64>);

impl Retries {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(SAVED))
    }

    pub(crate) fn earn(&self) {
        let mut saved = lock(&self.0);
        *saved = (*saved + EARNED).min(SAVED);
    }

    /// How long to wait before the next attempt, if there is to be one. `attempts` were made, `chance` is
    /// a random part of 1 (full jitter).
    pub(crate) fn after(
        &self,
        request: &Request,
        failure: &Failure,
        attempts: u32,
        chance: f64,
    ) -> Option<Duration> {
        if !request.retries || attempts >= ATTEMPTS || !is_worth_it(request, failure) {
            return None;
        }
        let told = failure.fault.retry_after();
        if request.tally.is_some() && told.is_some_and(|told| told > UNSEEN) {
            return None;
        }
        let mut saved = lock(&self.0);
        if *saved < 1.0 {
            return None;
        }
        *saved -= 1.0;
        let most = FIRST.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST);
        Some(told.unwrap_or(most.mul_f64(chance)))
    }
}

fn is_worth_it(request: &Request, failure: &Failure) -> bool {
    let passing = match failure.fault.class() {
        // What this side decided does not change by asking again at once.
        Class::Connection => !matches!(failure.fault.code(), "private_address" | "circuit_open"),
        Class::RateLimit => failure.response.is_some(),
        Class::Service => {
            failure.response.as_deref().is_some_and(|answer| is_passing(answer.status.as_u16()))
        }
        Class::Auth | Class::Validation | Class::Fatal => false,
    };
    passing && (failure.effect == Effect::None || is_repeatable(request))
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Whether doing it twice is like doing it once (RFC 9110 §9.2.2, draft-ietf-httpapi-idempotency-key-header).
fn is_repeatable(request: &Request) -> bool {
    let idempotent = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE];
    idempotent.contains(&request.method) || request.headers.contains_key(IDEMPOTENCY_KEY)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};
    use karez_api::Fault;

    use super::*;
    use crate::Response;

    fn request(method: Method, key: bool) -> Request {
        let mut request = Request::new(method, "https://crm.example.com/".parse().unwrap());
        request.retries = true;
        if key {
            request.headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("\"a\""));
        }
        request
    }

    fn answered(status: u16, class: Class) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Response { status, headers: HeaderMap::new(), body: Default::default(), cached: false };
        let effect = if class == Class::Service { Effect::Unknown } else { Effect::None };
        Failure::answered(Fault::new(class, "x", "x"), effect, answer)
    }

    fn broken(effect: Effect) -> Failure {
        Failure { fault: Fault::connection("x"), effect, response: None }
    }

    #[test]
    fn only_what_may_be_done_twice_is_tried_again() {
        let posts = || request(Method::POST, false);
        for (request, failure, again) in [
            (request(Method::GET, false), answered(503, Class::Service), true),
            (request(Method::GET, false), answered(501, Class::Service), false),
            (request(Method::GET, false), answered(404, Class::Validation), false),
            (request(Method::GET, false), answered(401, Class::Auth), false),
            (request(Method::PUT, false), broken(Effect::Unknown), true),
            (posts(), answered(503, Class::Service), false),
            (posts(), broken(Effect::Unknown), false),
            (posts(), broken(Effect::None), true),
            (posts(), answered(429, Class::RateLimit), true),
            (request(Method::POST, true), answered(503, Class::Service), true),
            (request(Method::POST, true), broken(Effect::Unknown), true),
            (Request { retries: false, ..request(Method::GET, false) }, broken(Effect::None), false),
        ] {
            let pause = Retries::new().after(&request, &failure, 1, 0.5);
            assert_eq!(pause.is_some(), again, "{} {:?}", request.method, failure.fault);
        }
    }

    #[test]
    fn waits_grow_are_random_and_end() {
        let get = request(Method::GET, false);
        let wait = |attempts, chance| Retries::new().after(&get, &broken(Effect::None), attempts, chance);
        assert_eq!(wait(1, 1.0), Some(FIRST));
        assert_eq!(wait(1, 0.0), Some(Duration::ZERO));
        assert_eq!(wait(3, 1.0), Some(FIRST * 4));
        assert_eq!(wait(ATTEMPTS, 1.0), None);
        let mut told = answered(503, Class::Service);
        told.fault = told.fault.with_retry_after(Some(Duration::from_secs(7)));
        assert_eq!(Retries::new().after(&get, &told, 1, 0.1), Some(Duration::from_secs(7)));
    }

    #[test]
    fn retries_are_a_small_part_of_all_calls() {
        let retries = Retries::new();
        let get = request(Method::GET, false);
        let mut again = 0;
        for _ in 0..1000 {
            retries.earn();
            again += usize::from(retries.after(&get, &broken(Effect::None), 1, 0.5).is_some());
        }
        assert!((140..=165).contains(&again), "{again}");
    }
}
