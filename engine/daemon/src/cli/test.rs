//! `karez test`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use super::Exit;
use crate::console::{self, Format};
use crate::diagnostics::counted;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn perform(test: &Test, settings: Settings) -> Result<Exit> {
    let loaded = super::load(&settings)?;
    let bad_files = loaded.has_errors();
    let mut results = Vec::new();
    let mut failed = 0;
    for plan in loaded.pipelines {
        let (pipeline, file) = (Arc::clone(&plan.name), Arc::clone(&plan.file));
        for (case, mismatches) in karez_runtime::run_tests(plan) {
            let mismatches: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
            failed += usize::from(!mismatches.is_empty());
            if test.format == Format::Text {
                let verdict = if mismatches.is_empty() { "ok    " } else { "FAILED" };
                console::line(&format!("{verdict} {pipeline}: {case}"))?;
                for mismatch in &mismatches {
                    console::line(&format!("         {mismatch}"))?;
                }
            }
            results.push(json!({
                "pipeline": *pipeline, "file": *file, "test": case, "mismatches": mismatches,
            }));
        }
    }
    match test.format {
        Format::Json => console::json(&json!({"tests": results, "failed": failed}))?,
        Format::Text => console::line(&format!("{}, {failed} failed", counted(results.len(), "test")))?,
    }
    Ok(if failed > 0 || bad_files { Exit::Problems } else { Exit::Fine })
}
