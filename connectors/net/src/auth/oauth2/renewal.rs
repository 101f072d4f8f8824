//! Renews tokens so that none is lost. The order is the point: it is written down that a refresh token is about to be
//! spent, then it is spent, then what came is written down, and only then is it used. Whatever happens in between,
//! whoever comes next knows where this stood. Who else uses the same vault is seen by compare-and-set.

use std::sync::Arc;
use std::time::Duration;

use karez_api::{Expect, Fault, Millis, Secret};
use uuid::Uuid;

use super::client::Fresh;
use super::dpop::DpopKey;
use super::expiry::of_jwt;
use super::held::{Held, SHORTEST_LIFE};
use super::id_token;
use super::live::{Live, RUN};
use super::refusal::{Refusal, Said};
use super::slot::{Found, Unwritten};
use super::token::{Entry, Intent, Tokens, hash};
use super::trouble::Stop;
use crate::Effect;
use crate::spec::Grant;

/// Longer than a question to the server may take: until then others leave the refresh token alone.
const LEASE: Duration = Duration::from_secs(60);
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(500);
/// A token from the vault that ends sooner is not worth taking.
const WORTH_TAKING: u64 = 5_000;
/// A refresh token that ends within this time is warned of, in milliseconds: three days.
const SOON: u64 = 3 * 86_400_000;
/// Compare-and-set is lost this often only if something is wrong with the vault.
const MOST_TRIES: usize = 20;

/// Tokens that came and could not be written.
pub(super) struct Unsaved {
    entry: Entry,
    /// The hash of the refresh token that was spent for them.
    spent: String,
}

enum Next {
    LookAgain,
    Stop(Stop),
}

impl Live {
    /// `bad` is what is in use and no good: refused, expired or about to.
    pub(super) async fn renew(&self, bad: Option<Arc<Held>>) -> Result<(), Stop> {
        match self.client.spec.grant.is_repeatable() {
            true => self.grant_again().await,
            false => self.refresh(bad.as_deref()).await,
        }
    }

    async fn grant_again(&self) -> Result<(), Stop> {
        if self.client.spec.dpop && self.dpop().is_none() {
            self.set_dpop(Some(DpopKey::generate().map_err(Stop::Passing)?));
        }
        let fresh = self.client.grant(self.dpop().as_deref()).await.map_err(|refusal| match refusal {
            Refusal::Passing { fault, .. } => Stop::Passing(fault),
            refused => Stop::Refused(self.explained(&refused)),
        })?;
        let tokens = Tokens { refresh: None, ..self.tokens_of(&fresh, &Tokens::default()) };
        self.warn_of(&tokens);
        self.count_refresh();
        self.adopt(tokens);
        Ok(())
    }

    async fn refresh(&self, bad: Option<&Held>) -> Result<(), Stop> {
        for _ in 0..MOST_TRIES {
            if let Some(unsaved) = self.take_unsaved() {
                return self.persist(unsaved.entry, unsaved.spent, None).await;
            }
            let Found { entry, expect } = self.free_slot(bad).await.map_err(Stop::Passing)?;
            if let Some(tokens) = self.usable(&entry, bad) {
                self.take(&entry, tokens.clone())?;
                return Ok(());
            }
            if let Some(why) = entry.needs_login {
                return Err(Stop::NeedsLogin(why));
            }
            let Some(old) = entry.refresh_token().cloned() else {
                return Err(Stop::NeedsLogin(self.why_no_refresh(&entry)));
            };
            match self.spend(&old, entry, expect).await {
                Ok(()) => return Ok(()),
                Err(Next::LookAgain) => {}
                Err(Next::Stop(stop)) => return Err(stop),
            }
        }
        Err(Stop::Passing(Fault::service("the tokens in the vault keep changing")))
    }

    /// What the vault holds, once nobody else is about to spend the refresh token.
    async fn free_slot(&self, bad: Option<&Held>) -> Result<Found, Fault> {
        loop {
            let Found { entry, expect } = self.slot.read().await?;
            let entry = self.seeded(entry);
            let now = self.client.clock.now();
            let taken =
                entry.intent.as_ref().filter(|intent| intent.until > now && !self.is_left_behind(intent));
            let Some(intent) = taken.filter(|_| self.usable(&entry, bad).is_none()) else {
                return Ok(Found { entry, expect });
            };
            // A clock elsewhere may be ahead; no lease is longer than ours.
            let rest = Duration::from_millis(intent.until.0 - now.0).min(LEASE);
            self.client.clock.sleep(rest.min(LOOK)).await;
        }
    }

    /// Tokens of the vault that are good: somebody else renewed them, or this process has just begun.
    fn usable<'e>(&self, entry: &'e Entry, bad: Option<&Held>) -> Option<&'e Tokens> {
        let now = self.client.clock.now().0;
        let tokens = entry.tokens.as_ref()?;
        let access = tokens.access.as_ref()?;
        let is_bad = bad.is_some_and(|bad| bad.tokens.access.as_ref() == Some(access));
        let ends_soon = tokens.expires_at.is_some_and(|end| end.0 <= now + WORTH_TAKING);
        (!is_bad && !ends_soon && entry.needs_login.is_none()).then_some(tokens)
    }

    fn take(&self, entry: &Entry, tokens: Tokens) -> Result<(), Stop> {
        let key = entry.dpop_key.clone().map(DpopKey::read).transpose().map_err(Stop::Refused)?;
        self.set_dpop(key);
        self.adopt(tokens);
        Ok(())
    }

    async fn spend(&self, old: &Secret, mut entry: Entry, expect: Expect) -> Result<(), Next> {
        let stop = |fault| Next::Stop(Stop::Passing(fault));
        let spent = hash(old);
        if entry.intent.as_ref().is_some_and(|intent| intent.of == spent) {
            let connection = &*self.client.name;
            tracing::warn!(
                connection,
                "an earlier refresh has no answer; its refresh token is tried once more"
            );
        }
        if self.client.spec.dpop && entry.dpop_key.is_none() {
            entry.dpop_key = Some(DpopKey::generate().map_err(stop)?.pem().clone());
        }
        let key = entry.dpop_key.clone().map(DpopKey::read).transpose().map_err(stop)?;
        let attempt = Uuid::new_v4().to_string();
        let until = Millis(self.client.clock.now().0 + LEASE.as_millis() as u64);
        entry.intent = Some(Intent { attempt: attempt.clone(), run: RUN.clone(), of: spent.clone(), until });
        self.set_attempt(Some(attempt.clone()));
        let expect = match self.slot.write(&entry, expect).await {
            Ok(expect) => expect,
            Err(Unwritten::Conflict) => return Err(Next::LookAgain),
            Err(Unwritten::Failed(fault)) => return Err(stop(fault)),
        };
        tracing::debug!(connection = %self.client.name, attempt, "refreshing");
        let kept = entry.tokens.as_ref().map(|tokens| tokens.kept.clone()).unwrap_or_default();
        match self.client.refresh(old, &kept, key.as_ref()).await {
            Ok(fresh) => {
                self.set_dpop(key);
                self.count_refresh();
                let entry = self.renewed(entry, &fresh);
                self.persist(entry, spent, Some(expect)).await.map_err(Next::Stop)
            }
            Err(refusal) => Err(self.not_renewed(refusal, entry, &spent, expect).await),
        }
    }

    fn renewed(&self, entry: Entry, fresh: &Fresh) -> Entry {
        let before = entry.tokens.unwrap_or_default();
        let tokens = self.tokens_of(fresh, &before);
        let drifted = fresh
            .granted
            .id_token
            .as_ref()
            .and_then(|token| id_token::judge_refreshed(token, before.subject.as_ref()).err());
        self.warn_of(&tokens);
        // Whatever is wrong with whom they are for: they are kept, or nobody could ever look.
        Entry { tokens: Some(tokens), intent: None, needs_login: drifted, ..entry }
    }

    /// What came is on disk before anybody uses it.
    async fn persist(&self, entry: Entry, spent: String, expect: Option<Expect>) -> Result<(), Stop> {
        let mut expected = expect;
        for _ in 0..MOST_TRIES {
            let expect = match expected.take() {
                Some(expect) => expect,
                None => match self.slot.read().await {
                    // Still what was spent for this: nobody got anything newer.
                    Ok(found)
                        if self.seeded(found.entry.clone()).refresh_token().map(hash).as_ref()
                            == Some(&spent) =>
                    {
                        found.expect
                    }
                    // A log-in, or somebody whose lease began after ours had ended: theirs count.
                    Ok(found) => {
                        let entry = self.seeded(found.entry);
                        return match self.usable(&entry, None) {
                            Some(tokens) => self.take(&entry, tokens.clone()),
                            None => {
                                Err(Stop::Passing(Fault::service("the tokens were changed by somebody else")))
                            }
                        };
                    }
                    Err(fault) => return Err(self.unsaved(entry, spent, fault)),
                },
            };
            match self.slot.write(&entry, expect).await {
                Ok(_) => {
                    if let Some(why) = &entry.needs_login {
                        return Err(Stop::NeedsLogin(why.clone()));
                    }
                    self.adopt(entry.tokens.clone().unwrap_or_default());
                    return Ok(());
                }
                Err(Unwritten::Conflict) => {}
                Err(Unwritten::Failed(fault)) => return Err(self.unsaved(entry, spent, fault)),
            }
        }
        Err(self.unsaved(entry, spent, Fault::service("the tokens in the vault keep changing")))
    }

    fn unsaved(&self, entry: Entry, spent: String, fault: Fault) -> Stop {
        self.put_unsaved(Unsaved { entry, spent });
        let message = format!("new tokens are not used before they are in the vault: {fault}");
        Stop::Passing(fault.with_message(message))
    }

    async fn not_renewed(&self, refusal: Refusal, mut entry: Entry, spent: &str, expect: Expect) -> Next {
        match refusal {
            Refusal::Grant(said) => self.refused_for_good(&said, entry, spent, expect).await,
            Refusal::Client(_) => {
                // It was turned away, so nothing was spent.
                entry.intent = None;
                self.release(&entry, expect).await;
                Next::Stop(Stop::Refused(self.explained(&refusal)))
            }
            Refusal::Passing { fault, effect, .. } => {
                match effect {
                    Effect::None => entry.intent = None,
                    // It may be spent, with its answer lost: that stays on record, but others may try.
                    Effect::Unknown => {
                        entry.intent = entry.intent.map(|intent| Intent { until: Millis(0), ..intent });
                    }
                }
                self.release(&entry, expect).await;
                Next::Stop(Stop::Passing(fault))
            }
        }
    }

    /// Unless somebody else got new tokens meanwhile, only a human helps. Nothing is deleted.
    async fn refused_for_good(&self, said: &Said, mut entry: Entry, spent: &str, expect: Expect) -> Next {
        if let Ok(found) = self.slot.read().await
            && self.seeded(found.entry).refresh_token().map(hash).as_deref() != Some(spent)
        {
            return Next::LookAgain;
        }
        let why = said.to_string();
        entry.intent = None;
        entry.needs_login = Some(why.clone());
        match self.slot.write(&entry, expect).await {
            Err(Unwritten::Conflict) => Next::LookAgain,
            Ok(_) | Err(Unwritten::Failed(_)) => Next::Stop(Stop::NeedsLogin(why)),
        }
    }

    /// Lets others try. Where it cannot be written they wait for the lease to end, so nothing is lost by that.
    async fn release(&self, entry: &Entry, expect: Expect) {
        if let Err(Unwritten::Failed(fault)) = self.slot.write(entry, expect).await {
            tracing::debug!(connection = %self.client.name, %fault, "a failed refresh is not on record as failed");
        }
    }

    /// What the file begins with, until the vault holds something that came of it.
    fn seeded(&self, entry: Entry) -> Entry {
        let seed =
            self.client.spec.refresh_token.as_ref().filter(|_| self.client.spec.grant == Grant::RefreshToken);
        let Some(seed) = seed else {
            return entry;
        };
        let of = hash(seed);
        match entry.seed.as_ref() == Some(&of) {
            true => entry,
            false => Entry {
                tokens: Some(Tokens { refresh: Some(seed.clone()), ..Tokens::default() }),
                seed: Some(of),
                ..Entry::default()
            },
        }
    }

    /// New tokens, with what goes on from those before.
    pub(super) fn tokens_of(&self, fresh: &Fresh, before: &Tokens) -> Tokens {
        let granted = &fresh.granted;
        // By the monotonic clock: the other one may have been set since it was asked.
        let passed = self.client.clock.instant().saturating_duration_since(fresh.began);
        let began = Millis(self.client.clock.now().0.saturating_sub(passed.as_millis() as u64));
        let after = |time: Duration| Millis(began.0 + time.as_millis() as u64);
        let said = granted.expires_in.or_else(|| of_jwt(granted.access_token.expose(), self.client.there()));
        let lifetime = match said {
            None if !self.may_introspect() => self.usual_life(),
            said => said,
        };
        let refresh = granted.refresh_token.clone();
        let mut kept = before.kept.clone();
        kept.extend(granted.kept.clone());
        Tokens {
            access: Some(granted.access_token.clone()),
            refresh_expires_at: match (granted.refresh_expires_in, &refresh) {
                (Some(time), _) => Some(after(time)),
                (None, None) => before.refresh_expires_at,
                (None, Some(_)) => None,
            },
            refresh: refresh.or_else(|| before.refresh.clone()),
            obtained_at: began,
            expires_at: lifetime.map(|lifetime| after(lifetime.max(SHORTEST_LIFE))),
            scope: granted.scope.clone().or_else(|| before.scope.clone()),
            subject: before.subject.clone(),
            kept,
        }
    }

    /// What ends soon, and what was not granted.
    pub(super) fn warn_of(&self, tokens: &Tokens) {
        self.warn_of_missing_scopes(tokens);
        let rest = tokens.refresh_expires_at.map(|end| end.0.saturating_sub(self.client.clock.now().0));
        if let Some(rest) = rest.filter(|rest| *rest < SOON) {
            let (connection, hours) = (&*self.client.name, rest / 3_600_000);
            tracing::warn!(
                connection,
                hours,
                "the refresh token ends soon, and then somebody has to log in again"
            );
        }
    }

    fn why_no_refresh(&self, entry: &Entry) -> String {
        match &entry.tokens {
            None => "nobody has logged in yet".into(),
            Some(_) => "the token counts no more, and the server gave none to refresh it with".into(),
        }
    }
}
