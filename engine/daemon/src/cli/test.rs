//! `karez test`.

mod stage;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use karez_runtime::Replayed;
use serde_json::json;

use super::Exit;
use crate::console::{self, Format};
use crate::diagnostics::counted;
use crate::settings::Settings;
use stage::Fixtures;

/// Lines about one case: where one thing is wrong with a replay, many faults find it.
const MOST_SHOWN: usize = 20;

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
        for tested in karez_runtime::run_tests(plan, &Fixtures::beside(&file)) {
            let mismatches: Vec<String> = tested.mismatches.iter().map(ToString::to_string).collect();
            failed += usize::from(!mismatches.is_empty());
            let case = &tested.name;
            if test.format == Format::Text {
                let verdict = if mismatches.is_empty() { "ok    " } else { "FAILED" };
                let replayed = tested.replayed.map(|Replayed { exchanges, tried, faults }| {
                    let of = if tried < faults {
                        format!(", of {faults}: it takes too long to try all")
                    } else {
                        String::new()
                    };
                    format!(" ({}, {} tried{of})", counted(exchanges, "exchange"), counted(tried, "fault"))
                });
                console::line(&format!("{verdict} {pipeline}: {case}{}", replayed.unwrap_or_default()))?;
                for mismatch in mismatches.iter().take(MOST_SHOWN) {
                    console::line(&format!("         {mismatch}"))?;
                }
                if mismatches.len() > MOST_SHOWN {
                    console::line(&format!("         and {} more", mismatches.len() - MOST_SHOWN))?;
                }
            }
            let mut result = json!({
                "pipeline": *pipeline, "file": *file, "test": case, "mismatches": mismatches,
            });
            if let Some(Replayed { exchanges, tried, faults }) = tested.replayed {
                result["exchanges"] = exchanges.into();
                result["faults"] = tried.into();
                result["faults_there_are"] = faults.into();
            }
            results.push(result);
        }
    }
    match test.format {
        Format::Json => console::json(&json!({"tests": results, "failed": failed}))?,
        Format::Text => console::line(&format!("{}, {failed} failed", counted(results.len(), "test")))?,
    }
    Ok(if failed > 0 || bad_files { Exit::Problems } else { Exit::Fine })
}
