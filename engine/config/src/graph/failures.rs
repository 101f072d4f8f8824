//! What each `on_failure` means, and where it would lead round.

use karez_api::{Problem, Role};

use super::{Graph, Id};
use crate::engine_keys::FailureKey;

impl Graph<'_> {
    pub(super) fn resolve_failures(&mut self) {
        for id in self.takers() {
            let (ties, at) = self.ties(id);
            let at = at.field("on_failure");
            match (&ties.on_failure, id.0) {
                (Some(FailureKey::Block), Role::Step) => {
                    let problem = Problem::error(
                        "bad-value",
                        at,
                        "a step cannot block: only a sink has keys that wait",
                    );
                    self.sheet.report(problem.help("use dead_letter, drop, continue or {to: NAME}"));
                }
                (Some(FailureKey::Continue), Role::Sink) => {
                    let problem =
                        Problem::error("bad-value", at, "nothing comes after a sink, so it cannot continue");
                    self.sheet.report(problem.help("use dead_letter, drop, block or {to: NAME}"));
                }
                (Some(FailureKey::To(name)), _) => match self.names.get(name.as_str()) {
                    Some(target @ Id(Role::Step | Role::Sink, _)) if *target != id => {
                        self.failures.insert(id, *target);
                    }
                    Some(target) => {
                        let what = if *target == id { "itself" } else { "a source" };
                        let problem =
                            Problem::error("bad-from", at.field("to"), format_args!("{name:?} is {what}"));
                        self.sheet.report(problem.help("name a sink, or the first step of a branch"));
                    }
                    None => self.dangling(&at.field("to"), name, &[Role::Step, Role::Sink]),
                },
                _ => {}
            }
        }
    }

    /// A default for all nodes never leads back to a node whose records come from there:
    /// what fails on a failure path goes to the dead letters.
    pub(super) fn drop_inherited_rounds(&mut self) {
        let rounds: Vec<Id> = self
            .failures
            .iter()
            .filter(|(from, to)| self.inherits_failure(**from) && self.reaches(**to, **from))
            .map(|(from, _)| *from)
            .collect();
        for from in rounds {
            self.failures.remove(&from);
        }
    }
}
