//! Nodes and outputs from which nobody takes.

use karez_api::{DEFAULT_PORT, Port, Problem, Role};

use super::{Edge, Graph, Id};

impl Graph<'_> {
    /// A node names one that is not there: it may have meant any of those that nobody takes.
    pub(super) fn has_loose_ends(&self) -> bool {
        let problems = self.sheet.problems.borrow();
        !self.lost.is_empty()
            || problems.iter().any(|problem| matches!(problem.code, "dangling-from" | "bad-from"))
    }

    /// Nodes whose output nobody takes.
    pub(super) fn check_untaken(&self) {
        if self.parts.sinks.is_empty() {
            return;
        }
        let taken = |id, port| self.inputs.values().flatten().any(|edge| *edge == Edge { from: id, port });
        for (index, vertex) in self.parts.sources.iter().enumerate() {
            if !taken(Id(Role::Source, index), DEFAULT_PORT) {
                let message = format!("no step or sink takes the records of source {:?}", vertex.name);
                let help = format!("name it in a `from:`, as in `from: {}`", vertex.name);
                self.sheet
                    .report(Problem::error("unused-output", vertex.at.clone(), message).on_key().help(help));
            }
        }
        for (index, vertex) in self.parts.steps.iter().enumerate() {
            let Some(built) = &vertex.built else { continue };
            let id = Id(Role::Step, index);
            if built.has_default_output() && !taken(id, DEFAULT_PORT) {
                let message = format!("no step or sink takes what {:?} puts out", vertex.name);
                let help = format!("name it in a `from:`, as in `from: {}`", vertex.name);
                self.sheet.report(Problem::error("unused-output", vertex.at.clone(), message).help(help));
            }
            for (n, output) in built.outputs().iter().enumerate() {
                if Port::try_from(n + 1).is_ok_and(|port| !taken(id, port)) {
                    let message = format!("nobody takes the output {:?} of {:?}", output, vertex.name);
                    let help = format!("name it in a `from:`, as in `from: {}.{output}`", vertex.name);
                    self.sheet.report(Problem::error("unused-output", vertex.at.clone(), message).help(help));
                }
            }
        }
    }
}
