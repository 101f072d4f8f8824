//! OAuth 2.0 and OpenID Connect: tokens that stay fresh, and are never lost. The log-in of a human is in
//! [`crate::login`].

mod client;
mod client_auth;
mod dpop;
mod endpoint;
mod grant;
mod params;

mod answer;
mod expiry;
mod refusal;

mod held;
mod live;
mod renewal;
mod schedule;
mod slot;
mod token;
mod trouble;

mod account;
mod id_token;
mod introspection;
mod keys;
mod metadata;

mod check;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use karez_api::Fault;

pub(crate) use account::Brought;
pub use account::{Account, LoggedIn, OAuthAccount};
pub(crate) use check::check;
pub(crate) use client::{Client, json};
pub(crate) use dpop::DpopKey;
use dpop::{To, wants_nonce};
pub(crate) use endpoint::Endpoint;
pub(crate) use grant::Code;
pub(crate) use id_token::Expected;
pub(crate) use live::Live;
pub(crate) use params::Params;
pub(crate) use refusal::{Refusal, Said};
use slot::Slot;
pub(crate) use token::Subject;

use super::{AuthStatus, Build, Credentials, Spot, Stamp, sensitive};
use crate::spec::{OAuth2, Place};
use crate::{Request, Response};

/// Tokens of an authorization server on each request.
pub(crate) struct OAuth2Credentials {
    live: Arc<Live>,
    spot: Spot,
    prefix: String,
    /// What the far end wants to see in the next proof (RFC 9449 §9).
    nonce: Mutex<Option<String>>,
}

impl OAuth2Credentials {
    /// # Errors
    /// What [`check`] would have told.
    pub(crate) fn build(spec: &OAuth2, cx: Build) -> Result<Self, Fault> {
        let place = spec.place.clone().unwrap_or_else(|| Place::Header("authorization".into()));
        let spot = Spot::read(&place).map_err(Fault::fatal)?;
        let usual = match (&spec.place, spec.dpop) {
            (_, true) => "DPoP ",
            (None | Some(Place::Header(_)), false) => "Bearer ",
            (Some(_), false) => "",
        };
        let prefix = spec.prefix.clone().unwrap_or_else(|| usual.to_owned());
        let slot = Slot::new(&cx.name, cx.vault.clone());
        let client = Client::new(spec.clone(), &cx)?;
        let live = Arc::new(Live::new(client, slot, cx.lasting, cx.metrics));
        let fresh = schedule::keep_fresh(Arc::downgrade(&live), Arc::clone(&live.changed), cx.clock);
        cx.tasks.spawn("token schedule", Box::pin(fresh));
        Ok(Self { live, spot, prefix, nonce: Mutex::default() })
    }

    fn nonce(&self) -> Option<String> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True where it is another than before.
    fn learn_nonce(&self, answer: &Response) -> bool {
        let Some(nonce) = answer.headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) else {
            return false;
        };
        let mut known = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.as_deref() != Some(nonce);
        *known = Some(nonce.to_owned());
        is_new
    }
}

#[async_trait]
impl Credentials for OAuth2Credentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let held = self.live.token().await?;
        let access = held.tokens.access.as_ref();
        let access = access.ok_or_else(|| Fault::auth("there is a refresh token and no other"))?;
        let written = || format!("{}{}", self.prefix, access.expose());
        match &self.spot {
            Spot::Header(name) => {
                let value = held.header(|| sensitive(&written())).map_err(Fault::auth)?;
                request.headers.insert(name, value);
            }
            elsewhere => elsewhere.put(request, &written())?,
        }
        if let Some(key) = self.live.dpop() {
            let nonce = self.nonce();
            let to = To { method: &request.method, url: &request.url, nonce: nonce.as_deref() };
            let proof = key.proof(to, Some(access), self.live.client.there())?;
            request.headers.insert("dpop", proof);
        }
        Ok(Stamp(held.stamp))
    }

    async fn refused(&self, stamp: Stamp, answer: &Response) -> Result<bool, Fault> {
        if self.live.dpop().is_some() && wants_nonce(answer) && self.learn_nonce(answer) {
            return Ok(true);
        }
        self.live.refused(stamp.0).await
    }

    fn accepted(&self, _: Stamp, answer: &Response) {
        if self.live.dpop().is_some() {
            self.learn_nonce(answer);
        }
    }

    async fn prepare(&self) -> Result<(), Fault> {
        self.live.token().await.map(drop)
    }

    fn kept(&self) -> BTreeMap<String, String> {
        self.live.current().map(|held| held.tokens.kept.clone()).unwrap_or_default()
    }

    fn status(&self) -> AuthStatus {
        self.live.status()
    }

    fn account(&self) -> Option<OAuthAccount> {
        Some(OAuthAccount(Arc::clone(&self.live)))
    }
}

impl Drop for OAuth2Credentials {
    fn drop(&mut self) {
        // The schedule holds nothing that it would have to give up; it only has to look.
        self.live.changed.notify_one();
    }
}

#[cfg(test)]
pub(crate) mod tests;
