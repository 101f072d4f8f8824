//! What a webhook asks of the network: small things, from addresses that were judged before. No
//! redirect is followed, and nobody waits long.

use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, StatusCode};
use karez_api::{Fault, Shared};
use karez_net::{Connections, Request, Reuse};
use reqwest::Url;
use serde_json::json;

/// Longest that a sender is kept waiting for somebody else.
const LONGEST: Duration = Duration::from_secs(5);

/// Largest answer in bytes.
const LARGEST: usize = 256 << 10;

pub(super) struct Fetcher(Arc<Connections>);

impl Fetcher {
    /// # Errors
    /// Class fatal: this process has no connections.
    pub(super) fn new(shared: &Shared) -> Result<Self, Fault> {
        let missing = || Fault::fatal("this process has no connections").with_code("no_connections");
        shared.get::<Connections>().map(Self).ok_or_else(missing)
    }

    /// The body of what stands there, where the answer is 200.
    ///
    /// # Errors
    /// Why there is none, as a fragment.
    pub(super) async fn get(&self, url: Url) -> Result<Vec<u8>, String> {
        let origin = url.origin().ascii_serialization();
        let settings = json!({"url": origin, "max_response": LARGEST});
        let checked = karez_net::check(&origin, &settings).map_err(|_| "its address cannot be called")?;
        let connection = self.0.open(&checked).map_err(|fault| fault.message().to_owned())?;
        let mut request = Request::new(Method::GET, url);
        request.timeout = Some(LONGEST);
        request.reuse = Reuse::Never;
        match connection.call(request).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(answer.body.into()),
            Ok(answer) => Err(format!("it was answered with {}", answer.status)),
            Err(failure) => Err(failure.fault.message().to_owned()),
        }
    }
}
