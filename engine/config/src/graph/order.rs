//! The order of steps, and rounds that have none.

use karez_api::{Problem, Role};

use super::{Graph, Id};

impl Graph<'_> {
    /// Steps in an order in which each comes after those it takes from, failure paths included.
    pub(super) fn order(&self) -> Option<Vec<usize>> {
        let mut order = Vec::new();
        let mut done = vec![false; self.parts.steps.len()];
        for start in 0..self.parts.steps.len() {
            let mut trail = Vec::new();
            if let Err(round) = self.visit(start, &mut trail, &mut done, &mut order) {
                let names: Vec<&str> = round.iter().map(|step| self.name(Id(Role::Step, *step))).collect();
                let vertex = &self.parts.steps[round[0]];
                let at = if vertex.ties.from.is_some() { vertex.at.field("from") } else { vertex.at.clone() };
                let message = format!("records would go round for ever: {}", names.join(" -> "));
                self.sheet.report(
                    Problem::error("cycle", at, message).help("take one of these `from` or `to` out"),
                );
                return None;
            }
        }
        Some(order)
    }

    /// Depth first, without recursion; a step that is met on its own trail closes a round.
    fn visit(
        &self,
        start: usize,
        trail: &mut Vec<(usize, Vec<usize>)>,
        done: &mut [bool],
        order: &mut Vec<usize>,
    ) -> Result<(), Vec<usize>> {
        if done[start] {
            return Ok(());
        }
        trail.push((start, self.steps_before(start)));
        while let Some((step, before)) = trail.last_mut() {
            let step = *step;
            let Some(next) = before.pop() else {
                done[step] = true;
                order.push(step);
                trail.pop();
                continue;
            };
            if done[next] {
                continue;
            }
            if let Some(from) = trail.iter().position(|(known, _)| *known == next) {
                let mut round: Vec<usize> = trail[from..].iter().map(|(step, _)| *step).collect();
                round.push(next);
                round.reverse();
                return Err(round);
            }
            trail.push((next, self.steps_before(next)));
        }
        Ok(())
    }

    fn steps_before(&self, step: usize) -> Vec<usize> {
        let id = Id(Role::Step, step);
        let inputs = self.inputs.get(&id).into_iter().flatten().map(|edge| edge.from);
        let failing = self.failures.iter().filter(|(_, to)| **to == id).map(|(from, _)| *from);
        let mut steps: Vec<usize> =
            inputs.chain(failing).filter(|id| id.0 == Role::Step).map(|id| id.1).collect();
        // Popped from the end, so that steps come out in file order where they may.
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps
    }
}
