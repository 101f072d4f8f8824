//! `set_meta`: writes metadata that survives `map`.

use karez_api::{Checker, Emit, Fault, JsonMap, Meta, Path, Problem, Record, Step, StepSpec, Value};
use schemars::JsonSchema;
use serde::Deserialize;

/// Values by name, read back as `{{@meta.name}}` and jq `$meta.name`. A value that matches nothing leaves its name as it was.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-karez-kind" = "value"))]
pub(super) struct SetMetaSpec(JsonMap);

impl StepSpec for SetMetaSpec {
    const NAME: &'static str = "set_meta";
    const SUMMARY: &'static str = "Writes metadata that survives `map`.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let fields: Vec<_> = self
            .0
            .iter()
            .map(|(name, setting)| {
                let at = Path::root().field(name);
                if Meta::FIXED.contains(&name.as_str()) {
                    let message = format!("{name} is set by the engine and cannot be written");
                    cx.report(
                        Problem::error("reserved-name", at, message).on_key().help("choose another name"),
                    );
                    return None;
                }
                Some((name.clone(), cx.value(&at, setting)?))
            })
            .collect();
        Some(Box::new(SetMeta(fields.into_iter().collect::<Option<_>>()?)))
    }
}

struct SetMeta(Vec<(String, Value)>);

impl Step for SetMeta {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let mut values = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            if let Some(value) = value.eval(&record)? {
                values.push((name.clone(), value));
            }
        }
        out.push(record.with_meta(|meta| meta.extra.extend(values)));
        Ok(())
    }
}
