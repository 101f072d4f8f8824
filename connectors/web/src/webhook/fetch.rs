//! What a webhook asks of the network: small things, from addresses that were judged before. No
//! redirect is followed, and nobody waits long.

use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use karez_api::{Clock, Fault};
use reqwest::{Client, Url};

use crate::http::client;

/// Longest that a sender is kept waiting for somebody else.
const LONGEST: Duration = Duration::from_secs(5);

/// Largest answer in bytes.
const LARGEST: usize = 256 << 10;

pub(super) struct Fetcher {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Fetcher {
    /// # Errors
    /// Class fatal: the system's root certificates cannot be used.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        Ok(Self { client: client::build()?, clock })
    }

    /// The body of what stands there, where the answer is 200.
    ///
    /// # Errors
    /// Why there is none, as a fragment.
    pub(super) async fn get(&self, url: Url) -> Result<Vec<u8>, String> {
        tokio::select! {
            answer = self.asked(url) => answer,
            () = self.clock.sleep(LONGEST) => Err(format!("there was no answer within {} s", LONGEST.as_secs())),
        }
    }

    async fn asked(&self, url: Url) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| client::chain(&error.without_url());
        let mut response = self.client.get(url).send().await.map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(format!("it was answered with {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(told)? {
            if body.len() + piece.len() > LARGEST {
                return Err(format!("the answer is larger than {} KiB", LARGEST >> 10));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
