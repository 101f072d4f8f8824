//! `karez graph`: one drawing of all pipelines, each in a frame of its own.

use std::path::PathBuf;

use anyhow::Result;
use karez_api::{Input, OnFailure, PipelinePlan, Upstream};

use super::Exit;
use crate::console;
use crate::settings::Settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    /// For Markdown pages and mermaid.live.
    Mermaid,
    /// For Graphviz.
    Dot,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    /// Pipeline files and folders [default: pipelines] [env: KAREZ_PIPELINES]
    pub(super) paths: Vec<PathBuf>,
    /// The language of the drawing; dashed arrows are failures that go to a node of their own
    #[arg(long, value_enum, default_value_t = Language::Mermaid)]
    format: Language,
}

pub(super) fn perform(graph: &Graph, settings: Settings) -> Result<Exit> {
    let loaded = super::load(&settings)?;
    console::line(draw(&loaded.pipelines, graph.format).trim_end())?;
    Ok(if loaded.has_errors() { Exit::Problems } else { Exit::Fine })
}

fn draw(plans: &[PipelinePlan], language: Language) -> String {
    let frames: String = plans.iter().enumerate().map(|(n, plan)| frame(n, plan, language)).collect();
    match language {
        Language::Mermaid => format!("flowchart LR\n{frames}"),
        Language::Dot => format!("digraph karez {{\n  rankdir=LR;\n{frames}}}\n"),
    }
}

/// One pipeline; the names of its nodes begin with its number.
fn frame(number: usize, plan: &PipelinePlan, language: Language) -> String {
    let name = quoted(&plan.name, language);
    let body: String = nodes(number, plan, language).chain(edges(number, plan, language)).collect();
    match language {
        Language::Mermaid => format!("  subgraph p{number}[{name}]\n{body}  end\n"),
        Language::Dot => format!("  subgraph cluster_{number} {{\n    label={name};\n{body}  }}\n"),
    }
}

fn nodes(number: usize, plan: &PipelinePlan, language: Language) -> impl Iterator<Item = String> {
    let sources = plan.sources.iter().enumerate().map(|(n, node)| (source(n), &node.name, node.kind));
    let steps = plan.steps.iter().enumerate().map(|(n, node)| (step(n), &node.id, node.kind));
    let sinks = plan.sinks.iter().enumerate().map(|(n, node)| (sink(n), &node.name, node.kind));
    sources.chain(steps).chain(sinks).map(move |(id, name, kind)| {
        let label = quoted(&format!("{name} ({kind})"), language);
        match language {
            Language::Mermaid => format!("    p{number}_{id}[{label}]\n"),
            Language::Dot => format!("    p{number}_{id} [label={label}];\n"),
        }
    })
}

/// An arrow: from, to, what is written on it, and whether failures go along it.
type Edge = (String, String, Option<String>, bool);

fn edges(number: usize, plan: &PipelinePlan, language: Language) -> impl Iterator<Item = String> {
    let mut edges: Vec<Edge> = Vec::new();
    for (n, node) in plan.steps.iter().enumerate() {
        edges.extend(into(plan, &node.from, &step(n)));
        edges.extend(failures(node.on_failure, &step(n)));
    }
    for (n, node) in plan.sinks.iter().enumerate() {
        edges.extend(into(plan, &node.from, &sink(n)));
        edges.extend(failures(node.on_failure, &sink(n)));
    }
    edges.into_iter().map(move |(from, to, label, dashed)| {
        let label = label.map(|label| quoted(&label, language));
        let (from, to) = (format!("p{number}_{from}"), format!("p{number}_{to}"));
        match language {
            Language::Mermaid => {
                let (arrow, label) =
                    (if dashed { "-.->" } else { "-->" }, label.map(|label| format!("|{label}|")));
                format!("    {from} {arrow}{} {to}\n", label.unwrap_or_default())
            }
            Language::Dot => {
                let style = dashed.then(|| "style=dashed".to_owned());
                let attributes: Vec<String> =
                    label.map(|label| format!("label={label}")).into_iter().chain(style).collect();
                format!("    {from} -> {to} [{}];\n", attributes.join(", "))
            }
        }
    })
}

fn into(plan: &PipelinePlan, from: &[Input], to: &str) -> Vec<Edge> {
    let edge = |Input(upstream): &Input| match upstream {
        Upstream::Source(n) => (source(*n), to.to_owned(), None, false),
        Upstream::Step(n, port) => (step(*n), to.to_owned(), output(plan, *n, *port), false),
    };
    from.iter().map(edge).collect()
}

fn failures(on_failure: OnFailure, from: &str) -> Option<Edge> {
    let to = match on_failure {
        OnFailure::ToSink(n) => sink(n),
        OnFailure::ToStep(n) => step(n),
        OnFailure::DeadLetter | OnFailure::Drop | OnFailure::Continue | OnFailure::Block => return None,
    };
    Some((from.to_owned(), to, Some("failed".to_owned()), true))
}

/// The name of a step's output, where it is not the default one.
fn output(plan: &PipelinePlan, step: usize, port: u16) -> Option<String> {
    let index = usize::from(port).checked_sub(1)?;
    plan.steps.get(step)?.outputs().into_iter().nth(index)
}

fn source(n: usize) -> String {
    format!("source{n}")
}
fn step(n: usize) -> String {
    format!("step{n}")
}
fn sink(n: usize) -> String {
    format!("sink{n}")
}

fn quoted(text: &str, language: Language) -> String {
    match language {
        Language::Mermaid => format!("\"{}\"", text.replace('"', "#quot;")),
        Language::Dot => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Loader;
    use expect_test::expect;

    const FILE: &str = "
name: orders
source: {generate: {count: 1}}
steps:
  - {id: kept, filter: '@.n > 0', on_failure: {to: odd}}
sinks:
  all: {from: kept, blackhole: {}}
  odd: {blackhole: {}}
";

    fn drawn(language: Language) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), FILE).unwrap();
        let loaded = Loader::new(vec![folder.path().to_owned()]).load(&crate::secrets::Nothing).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        draw(&loaded.pipelines, language)
    }

    #[test]
    fn every_pipeline_is_drawn_in_a_frame() {
        expect![[r#"
            flowchart LR
              subgraph p0["orders"]
                p0_source0["source (generate)"]
                p0_step0["kept (filter)"]
                p0_sink0["all (blackhole)"]
                p0_sink1["odd (blackhole)"]
                p0_source0 --> p0_step0
                p0_step0 -.->|"failed"| p0_sink1
                p0_step0 --> p0_sink0
              end
        "#]]
        .assert_eq(&drawn(Language::Mermaid));
        expect![[r#"
            digraph karez {
              rankdir=LR;
              subgraph cluster_0 {
                label="orders";
                p0_source0 [label="source (generate)"];
                p0_step0 [label="kept (filter)"];
                p0_sink0 [label="all (blackhole)"];
                p0_sink1 [label="odd (blackhole)"];
                p0_source0 -> p0_step0 [];
                p0_step0 -> p0_sink1 [label="failed", style=dashed];
                p0_step0 -> p0_sink0 [];
              }
            }
        "#]]
        .assert_eq(&drawn(Language::Dot));
    }
}
