//! `karez schema`.

use anyhow::Result;

use super::Exit;
use crate::console;

pub(super) fn perform() -> Result<Exit> {
    console::json(&karez_config::pipeline_schema(&crate::load::registry()))?;
    Ok(Exit::Fine)
}
