//! Tokens that come without an expiry: the server is asked for it (RFC 7662), else it is as the file says.

use std::time::Duration;

use karez_api::{Json, Millis, Secret};

use super::client::{Client, json};
use super::endpoint::Endpoint;
use super::expiry::remaining;
use super::held::SHORTEST_LIFE;
use super::live::Live;
use super::params::Params;
use super::slot::Found;
use super::token::Tokens;
use crate::spec::ExpiryFormat;

/// What a token counts where nothing says it and it can be got again at any time.
const USUAL_LIFE: Duration = Duration::from_secs(55 * 60);

impl Live {
    pub(super) fn may_introspect(&self) -> bool {
        self.client.spec.introspection_url.is_some() || self.client.spec.issuer.is_some()
    }

    pub(super) fn usual_life(&self) -> Option<Duration> {
        let said = self.client.spec.lifetime.map(|lifetime| lifetime.0);
        said.or_else(|| self.client.spec.grant.is_repeatable().then_some(USUAL_LIFE))
    }

    /// They are in use already, and on disk: a server that is slow here keeps nobody waiting.
    pub(super) async fn learn_expiry(&self) {
        let Some(held) = self.current().filter(|held| held.expires.is_none() && self.may_introspect()) else {
            return;
        };
        let Some(token) = &held.tokens.access else { return };
        let now = self.client.clock.now();
        let rest = self.client.rest_of(token, &held.tokens).await.or_else(|| self.usual_life());
        let Some(rest) = rest else { return };
        let expires_at = Some(Millis(now.0 + rest.max(SHORTEST_LIFE).as_millis() as u64));
        let tokens = Tokens { expires_at, ..held.tokens.clone() };
        self.amend(&held, tokens.clone());
        if self.client.spec.grant.is_repeatable() {
            return;
        }
        // Lost where somebody else writes: then they know better.
        if let Ok(Found { mut entry, expect }) = self.slot.read().await
            && entry.tokens.as_ref().and_then(|tokens| tokens.access.as_ref()) == Some(token)
        {
            entry.tokens = Some(tokens);
            drop(self.slot.write(&entry, expect).await);
        }
    }
}

impl Client {
    async fn rest_of(&self, token: &Secret, tokens: &Tokens) -> Option<Duration> {
        let url = self.find(Endpoint::Introspection, &tokens.kept).await.ok()??;
        let mut params = Params::default();
        params.set("token", token.expose());
        params.set("token_type_hint", "access_token");
        let asked = self.form(url, params, None).await.ok()?;
        let body = json(&asked).ok()?;
        let is_active = body.get("active").and_then(Json::as_bool).unwrap_or(false);
        remaining(body.get("exp").filter(|_| is_active)?, ExpiryFormat::EpochSeconds, self.there())
    }
}
