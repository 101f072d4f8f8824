//! jq programs, by jaq: checked and compiled at load, run inline where they are provably cheap, else on threads of
//! our own with a budget of one second. Environment, files, network, clock and logging do not exist in them.

mod check;
mod compile;
mod library;
mod natives;
mod pool;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jaq_core::{Ctx, Vars, data::JustLut, unwrap_valr};
use jaq_json::Val;
use karez_api::{Fault, Json, Path, Problem, Record, Scope};

use crate::expr::{metadata, value::tree};
use check::Cost;
pub use pool::{JqRuns, jq_runs};

/// Values that one run may yield.
const MAX_OUTPUTS: usize = 10_000;
/// Records up to this size, in bytes, are run inline through programs of linear cost.
const MAX_INLINE: usize = 64 * 1024;
/// The same for programs of quadratic cost.
const MAX_INLINE_QUADRATIC: usize = 2 * 1024;

/// A compiled program.
pub(crate) struct Program {
    filter: jaq_core::Filter<JustLut<Val>>,
    cost: Cost,
    uses_meta: bool,
    uses_vars: bool,
    vars: Arc<karez_api::JsonMap>,
    /// How often a run was given up.
    written_off: AtomicU32,
}

impl Program {
    /// Compiles what stands at `jq:`: a program, or `{program: …, unbounded: true}`.
    pub(crate) fn compile(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Arc<Self>, Problem> {
        compile::compile(scope, at, setting).map(Arc::new)
    }

    /// All values that the program yields for a record.
    ///
    /// # Errors
    /// Class validation: the program failed, yielded too much or took too long; fatal when it took too long twice.
    pub(crate) fn run(self: &Arc<Self>, record: &Record) -> Result<Vec<Json>, Fault> {
        let size = tree(record).map(|_| record.body().weight() / 8)?;
        let inline = match self.cost {
            Cost::Linear => size <= MAX_INLINE,
            Cost::Quadratic => size <= MAX_INLINE_QUADRATIC,
            Cost::Unknown => false,
        };
        if inline {
            return self.execute(record);
        }
        match pool::run(self, record) {
            Some(outcome) => outcome,
            None => Err(self.over_budget()),
        }
    }

    fn over_budget(&self) -> Fault {
        let message = format!("the jq program took longer than {} s", pool::BUDGET.as_secs());
        if self.written_off.fetch_add(1, Ordering::Relaxed) == 0 {
            return Fault::validation("budget", message);
        }
        Fault::fatal(format!("{message}, for the second time")).with_code("budget")
    }

    fn execute(&self, record: &Record) -> Result<Vec<Json>, Fault> {
        // The library may panic on what it does not expect; a record must not take the engine down.
        catch_unwind(AssertUnwindSafe(|| self.evaluate(record)))
            .unwrap_or_else(|_| Err(Fault::validation("jq", "the jq program failed inside its library")))
    }

    fn evaluate(&self, record: &Record) -> Result<Vec<Json>, Fault> {
        let input = values::to_val(tree(record)?);
        let meta = if self.uses_meta { values::to_val(&metadata::tree(record.meta())) } else { Val::Null };
        let vars = if self.uses_vars { values::object(&self.vars) } else { Val::Null };
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([meta, vars]));
        let mut budget = values::MAX_BYTES;
        let mut outputs = Vec::new();
        for output in self.filter.id.run((context, input)).map(unwrap_valr) {
            let value = output.map_err(|error| Fault::validation("jq", error.to_string()))?;
            if outputs.len() == MAX_OUTPUTS {
                return Err(Fault::validation(
                    "jq",
                    format!("the jq program yields more than {MAX_OUTPUTS} values"),
                ));
            }
            let json = values::to_json(&value, &mut budget, 0)
                .map_err(|message| Fault::validation("jq", message))?;
            outputs.push(json);
        }
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests;
