//! The built-in steps, and the three expression languages behind [`karez_api::Expressions`]:
//! JSONPath picks, Handlebars writes, jq computes. Everything is compiled when a file is loaded;
//! a step is pure and keeps nothing between records. No file, environment or network is touched here.

mod expr;
mod steps;

pub use expr::{JqRuns, Languages, jq_runs};
pub use steps::components;
