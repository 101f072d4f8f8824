//! The log-in for machines without a browser (RFC 8628): a code is shown, and somebody types it elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use karez_api::{Fault, Json, Secret};

use super::browser::{is_tls, judged};
use crate::auth::oauth2::{
    Account, Brought, DpopKey, Endpoint, Expected, LoggedIn, OAuthAccount, Params, Refusal, json,
};

const USUAL_INTERVAL: u64 = 5;
const USUAL_LIFE: u64 = 600;
const LONGEST_LIFE: u64 = 3_600;
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// What `slow_down` adds, for good (§3.5).
const SLOWER: Duration = Duration::from_secs(5);
const LONGEST_SHOWN: usize = 500;

/// A code that is shown, until somebody typed it.
pub struct DeviceLogin {
    pub user_code: String,
    /// Where it is typed.
    pub verification_url: String,
    /// The same with the code in it, where the server has one.
    pub complete_url: Option<String>,
    pub expires_in: Duration,
    of: OAuthAccount,
    account: Account,
    device_code: Secret,
    interval: Duration,
    until: Instant,
    key: Option<DpopKey>,
}

pub(super) async fn begin(of: &OAuthAccount, account: Account) -> Result<DeviceLogin, Fault> {
    let client = &of.0.client;
    let fault = |refusal: Refusal| refusal.fault();
    let url = client.address(Endpoint::Device, &BTreeMap::new()).await.map_err(fault)?;
    let key = client.spec.dpop.then(DpopKey::generate).transpose()?;
    let mut params = Params::default();
    client.put_scope(&mut params);
    client.put_targets(&mut params);
    if let Some(audience) = &client.spec.audience {
        params.set("audience", audience);
    }
    params.set_all(&client.spec.authorization_params);
    // A public client and one that proves itself by header are both named in the form (§3.1).
    params.set("client_id", client.spec.client_id.as_deref().unwrap_or_default());
    let asked = client.form(url, params, None).await.map_err(fault)?;
    let body = json(&asked).map_err(fault)?;
    let text = |name: &str| body.get(name).and_then(Json::as_str).map(shown).filter(|text| !text.is_empty());
    let number = |name: &str| match body.get(name) {
        Some(Json::String(text)) => text.parse().ok(),
        value => value?.as_u64(),
    };
    let missing = |name: &str| Fault::service(format!("the server's answer has no `{name}`"));
    let expires_in = number("expires_in").unwrap_or(USUAL_LIFE).min(LONGEST_LIFE);
    let expires_in = Duration::from_secs(expires_in);
    let device_code = body.get("device_code").and_then(Json::as_str).ok_or_else(|| missing("device_code"))?;
    Ok(DeviceLogin {
        user_code: text("user_code").ok_or_else(|| missing("user_code"))?,
        verification_url: text("verification_uri")
            .or_else(|| text("verification_url"))
            .ok_or_else(|| missing("verification_uri"))?,
        complete_url: text("verification_uri_complete"),
        expires_in,
        device_code: Secret::new(device_code),
        interval: Duration::from_secs(number("interval").unwrap_or(USUAL_INTERVAL).max(1))
            .min(LONGEST_INTERVAL),
        until: asked.began + expires_in,
        of: of.clone(),
        account,
        key,
    })
}

impl DeviceLogin {
    /// Waits until somebody typed the code.
    ///
    /// # Errors
    /// It was refused, or nobody typed it in time.
    pub async fn wait(mut self) -> Result<LoggedIn, Fault> {
        let client = &self.of.0.client;
        let fresh = loop {
            client.clock.sleep(self.interval).await;
            if client.clock.instant() >= self.until {
                let message = "nobody typed the code in time: begin again";
                return Err(Fault::auth(message).with_code("expired_token"));
            }
            match client.exchange_device_code(&self.device_code, self.key.as_ref()).await {
                Ok(fresh) => break fresh,
                Err(Refusal::Passing { code, .. }) if code == "authorization_pending" => {}
                Err(Refusal::Passing { code, .. }) if code == "slow_down" => self.interval += SLOWER,
                // A server that is not there now is asked less often (§3.5).
                Err(Refusal::Passing { fault, .. }) => {
                    let asked_for = fault.retry_after().unwrap_or_default();
                    self.interval = (self.interval * 2).min(LONGEST_INTERVAL).max(asked_for);
                }
                Err(refusal) => return Err(refusal.fault()),
            }
        };
        let subject = match &fresh.granted.id_token {
            None => None,
            Some(token) => {
                let by_tls = is_tls(client, &BTreeMap::new()).await;
                let expected =
                    Expected { nonce: None, access_token: &fresh.granted.access_token, code: None, by_tls };
                Some(judged(client, token, &expected).await?)
            }
        };
        let brought = Brought { fresh, kept: BTreeMap::new(), subject, key: self.key };
        self.of.0.log_in(brought, self.account).await
    }
}

/// Printed on a terminal: one line, bounded.
fn shown(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(LONGEST_SHOWN).collect()
}
