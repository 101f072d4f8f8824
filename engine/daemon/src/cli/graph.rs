//! `karez graph`.

use std::path::PathBuf;

use anyhow::Result;
use karez_api::{Input, PipelinePlan, Upstream};

use super::Exit;
use crate::console;
use crate::settings::Settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Mermaid,
    Dot,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Language::Mermaid)]
    format: Language,
}

pub(super) fn perform(graph: &Graph, settings: Settings) -> Result<Exit> {
    let loaded = super::load(&settings)?;
    for plan in &loaded.pipelines {
        console::line(&draw(plan, graph.format))?;
    }
    Ok(if loaded.has_errors() { Exit::Problems } else { Exit::Fine })
}

fn draw(plan: &PipelinePlan, language: Language) -> String {
    let mut lines = Vec::new();
    let mut node = |id: String, name: &str, kind: &str| {
        lines.push(match language {
            Language::Mermaid => format!("  {id}[\"{name} ({kind})\"]"),
            Language::Dot => format!("  {id} [label=\"{name} ({kind})\"];"),
        })
    };
    for (n, source) in plan.sources.iter().enumerate() {
        node(format!("source{n}"), &source.name, source.kind);
    }
    for (n, step) in plan.steps.iter().enumerate() {
        node(format!("step{n}"), &step.id, step.kind);
    }
    for (n, sink) in plan.sinks.iter().enumerate() {
        node(format!("sink{n}"), &sink.name, sink.kind);
    }
    let mut edges = |from: &[Input], to: String| {
        for Input(upstream) in from {
            let (from, label) = match upstream {
                Upstream::Source(n) => (format!("source{n}"), None),
                Upstream::Step(n, port) => (format!("step{n}"), output(plan, *n, *port)),
            };
            lines.push(match (language, label) {
                (Language::Mermaid, None) => format!("  {from} --> {to}"),
                (Language::Mermaid, Some(label)) => format!("  {from} -->|\"{label}\"| {to}"),
                (Language::Dot, None) => format!("  {from} -> {to};"),
                (Language::Dot, Some(label)) => format!("  {from} -> {to} [label=\"{label}\"];"),
            });
        }
    };
    for (n, step) in plan.steps.iter().enumerate() {
        edges(&step.from, format!("step{n}"));
    }
    for (n, sink) in plan.sinks.iter().enumerate() {
        edges(&sink.from, format!("sink{n}"));
    }
    let name = &plan.name;
    match language {
        Language::Mermaid => format!("%% {name}\nflowchart LR\n{}", lines.join("\n")),
        Language::Dot => format!("digraph \"{name}\" {{\n  rankdir=LR;\n{}\n}}", lines.join("\n")),
    }
}

/// The name of a step's output, where it is not the default one.
fn output(plan: &PipelinePlan, step: usize, port: u16) -> Option<String> {
    let index = usize::from(port).checked_sub(1)?;
    plan.steps.get(step)?.step.outputs().into_iter().nth(index)
}
