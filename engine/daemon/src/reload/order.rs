//! In which order changes are made where one pipeline takes what another one has to let go first.
//! Pure; who holds what is told by the manager.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use karez_api::Claim;

use super::change::Change;

/// Who holds each claim at this moment, by pipeline.
pub(super) type Holders = BTreeMap<Claim, Arc<str>>;

/// What can be done next with the changes that are still to be made.
pub(super) enum Round {
    /// These, at the same time; the others wait for them.
    Make { now: Vec<Change>, later: Vec<Change> },
    /// They wait for each other in a ring: the pipeline of the first one has to be stopped.
    Break(Vec<Change>),
}

/// Takes out the changes whose claims no other change has still to give up.
pub(super) fn next_round(changes: Vec<Change>, holders: &Holders) -> Round {
    let changing: BTreeSet<Arc<str>> = changes.iter().map(|change| Arc::clone(change.name())).collect();
    let waits = |change: &Change| {
        let holding = change.claims.iter().filter_map(|claim| holders.get(claim));
        holding.into_iter().any(|holder| holder != change.name() && changing.contains(holder))
    };
    let (later, now): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(waits);
    if now.is_empty() { Round::Break(later) } else { Round::Make { now, later } }
}

/// A claim of `change` that somebody else holds, and who.
pub(super) fn taken<'a>(change: &'a Change, holders: &'a Holders) -> Option<(&'a Claim, &'a Arc<str>)> {
    let held = change.claims.iter().filter_map(|claim| Some((claim, holders.get(claim)?)));
    held.into_iter().find(|(_, holder)| *holder != change.name())
}

/// Notes that `name` holds `claims` and nothing else.
pub(super) fn hold(holders: &mut Holders, name: &Arc<str>, claims: &[Claim]) {
    holders.retain(|_, holder| holder != name);
    holders.extend(claims.iter().map(|claim| (claim.clone(), Arc::clone(name))));
}
