//! The keys that an issuer signs with: fetched when they are wanted, and once more, not too often, for a key that is
//! not among them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use karez_api::Fault;
use tokio::sync::Mutex;

use super::client::Client;
use super::endpoint::Endpoint;
use super::metadata::lifetime;
use super::refusal::Refusal;
use crate::Effect;
use crate::jose::{Named, read_set};
use crate::spec::JwtAlgorithm;

/// How long a set is believed that it has no other key.
const BELIEVED: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Keys(Mutex<Option<Known>>);

struct Known {
    set: Bytes,
    fetched: Instant,
    until: Instant,
}

impl Keys {
    /// The keys that a token may be signed with. None where nobody says where the issuer's keys are.
    ///
    /// # Errors
    /// They cannot be had.
    pub(crate) async fn of(
        &self,
        client: &Client,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
    ) -> Result<Option<Vec<Named>>, Refusal> {
        let Some(url) = client.find(Endpoint::Keys, &BTreeMap::new()).await? else {
            return Ok(None);
        };
        let mut known = self.0.lock().await;
        let now = client.clock.instant();
        if let Some(known) = known.as_ref().filter(|known| now < known.until) {
            let named = fitting(&known.set, algorithm, id);
            if !named.is_empty() || now.saturating_duration_since(known.fetched) < BELIEVED {
                return Ok(Some(named));
            }
        }
        let asked = client.get(url.clone()).await?;
        if !asked.answer.status.is_success() {
            let fault = Fault::connection(format!("{url} answered {} in place of keys", asked.answer.status));
            return Err(Refusal::passing(fault, Effect::None));
        }
        let until = now + lifetime(&asked.answer);
        let set = asked.answer.body;
        let named = fitting(&set, algorithm, id);
        *known = Some(Known { set, fetched: now, until });
        Ok(Some(named))
    }
}

fn fitting(set: &[u8], algorithm: JwtAlgorithm, id: Option<&str>) -> Vec<Named> {
    let all = read_set(set, algorithm.name(), algorithm.scheme()).unwrap_or_default();
    all.into_iter().filter(|key| id.is_none_or(|id| key.id.as_deref() == Some(id))).collect()
}
