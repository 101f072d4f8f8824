//! One attempt over the network: an address that may be called, an answer of bounded size. Knows nothing
//! of credentials, turns and second attempts.

mod body;
mod client;
mod failure;
mod guard;
mod packed;
mod resolver;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use karez_api::{Clock, Fault, Network};
use reqwest::{Client, Url};

use crate::spec::TlsSpec;
use crate::{Effect, Failure, Request, Response};
use body::{Body, End, tells_its_end, too_large, torn};
pub(crate) use client::check;
pub use failure::place;
use failure::{chain, failure};
pub(crate) use guard::Guard;
use packed::Unpacker;
pub(crate) use rest::Rest;

/// How much of an answer is read where its status decides, in bytes.
const ENOUGH: usize = 64 << 10;
/// And for how long.
const DRAIN: Duration = Duration::from_secs(2);

/// What carries a request to its far end: the network, or a stand-in of a test.
#[async_trait]
pub(crate) trait Carrier: Send + Sync {
    /// One attempt. The answer has at most `limit` bytes, decompressed.
    ///
    /// # Errors
    /// No answer came, or one that is too large. Any status is an answer.
    async fn send(&self, request: Request, limit: usize) -> Result<Response, Failure>;

    /// The same, but the body of a good answer may only have begun to come: the rest is read from what comes with it.
    ///
    /// # Errors
    /// As [`Carrier::send`].
    async fn begin(&self, request: Request, limit: usize) -> Result<(Response, Option<Rest>), Failure> {
        Ok((self.send(request, limit).await?, None))
    }
}

/// How a client reaches its far end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners<'a> {
    pub(crate) tls: Option<&'a TlsSpec>,
    pub(crate) proxy: Option<&'a str>,
    /// Default 10 s.
    pub(crate) connect_timeout: Option<Duration>,
    /// Networks that are not public and may be called all the same.
    pub(crate) allowed: Vec<Network>,
}

/// A pool of connections to one far end.
pub(crate) struct Transport {
    client: Client,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
}

impl Transport {
    /// # Errors
    /// Class fatal: certificates, key or proxy cannot be used.
    pub(crate) fn new(manners: &Manners<'_>, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let guard = Arc::new(Guard::new(manners.allowed.clone()));
        let client = client::build(manners, &guard)
            .map_err(|message| Fault::fatal(format!("cannot set up an HTTP client: {message}")))?;
        Ok(Self { client, guard, clock })
    }

    fn refuse(&self, url: &Url) -> Result<(), Failure> {
        self.guard.judge(url).map_err(|message| {
            let fault = Fault::connection(message).with_code("private_address");
            Failure { fault, effect: Effect::None, response: None }
        })
    }

    async fn execute(&self, request: Request) -> Result<Begun, Failure> {
        self.refuse(&request.url)?;
        let Request { method, url, mut headers, body, status_decides, .. } = request;
        packed::ask(&mut headers);
        let has_body = !body.is_empty() || method == Method::POST;
        let mut sent = reqwest::Request::new(method.clone(), url);
        *sent.headers_mut() = headers;
        if has_body {
            *sent.body_mut() = Some(body.into());
        }
        let answer = self.client.execute(sent).await.map_err(|error| {
            let to = error.url().map_or_else(|| method.to_string(), |url| place(&method, url));
            failure(&to, error)
        })?;
        Ok(Begun { decided: status_decides || !answer.status().is_success(), method, answer })
    }

    /// Reads the body of an answer as far as it is wanted.
    async fn whole(&self, begun: Begun, limit: usize) -> Result<Response, Failure> {
        let Begun { method, mut answer, decided } = begun;
        let status = answer.status();
        let tells_its_end = tells_its_end(&answer);
        let mut headers = std::mem::take(answer.headers_mut());
        let mut body = Body::new(&mut headers, if decided { limit.min(ENOUGH) } else { limit });
        let end = match decided {
            false => body.read(&mut answer).await,
            true => tokio::select! {
                end = body.read(&mut answer) => end,
                () = self.clock.sleep(DRAIN) => End::Enough,
            },
        };
        let to = || place(&method, answer.url());
        match end {
            End::Whole => {}
            End::Enough | End::Large if decided => {}
            End::Broken(_) | End::Torn if !status.is_success() => {}
            End::Broken(_) if !tells_its_end => {}
            End::Broken(error) => return Err(failure(&to(), error)),
            End::Torn => return Err(torn(&to())),
            End::Enough | End::Large => return Err(too_large(&to(), limit)),
        }
        Ok(Response { status, headers, body: body.finish(), cached: false })
    }
}

/// An answer that has begun to come.
struct Begun {
    method: Method,
    answer: reqwest::Response,
    /// The status decides: the rest of it is read only so that its connection can be used again.
    decided: bool,
}

#[async_trait]
impl Carrier for Transport {
    async fn send(&self, request: Request, limit: usize) -> Result<Response, Failure> {
        let begun = self.execute(request).await?;
        self.whole(begun, limit).await
    }

    async fn begin(&self, request: Request, limit: usize) -> Result<(Response, Option<Rest>), Failure> {
        let begun = self.execute(request).await?;
        if begun.decided {
            return Ok((self.whole(begun, limit).await?, None));
        }
        let Begun { method, mut answer, .. } = begun;
        let tells_its_end = tells_its_end(&answer);
        let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let packed = Unpacker::of(&mut headers);
        let mut rest = Rest::new(place(&method, answer.url()), answer, packed, limit, tells_its_end);
        // By its beginning it is judged whether it is what was asked for.
        let body = rest.next().await?.unwrap_or_default();
        Ok((Response { status, headers, body, cached: false }, Some(rest)))
    }
}

#[cfg(test)]
mod tests;
