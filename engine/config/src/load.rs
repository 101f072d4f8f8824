//! All files to plans: the order of work, and what each file has to do with which pipeline.

use std::collections::{BTreeMap, BTreeSet};

use karez_api::{Path, Problem};

use crate::files::Desk;
use crate::node::Catalog;
use crate::pipeline::{Examined, Kit, examine};
use crate::shared::{Shared, report_twice};
use crate::sheet::{Sheet, Spot, is_error};
use crate::{FileKind, FileReport, Input, Loaded, across, overlay, show};

/// Turns files into plans, and reports every problem of every file.
#[must_use]
pub fn load(input: Input<'_>) -> Loaded {
    let catalog = Catalog::new(input.registry);
    let mut desk = Desk::read(input.files);
    let shared = Shared::gather(&mut desk, &catalog, input.environment);
    let merged = merge(&mut desk);
    let kit = Kit {
        catalog: &catalog,
        expressions: input.expressions,
        environment: input.environment,
        shared: &shared,
        files: &desk.files,
    };
    let mut pipelines: Vec<Examined> =
        merged.into_iter().map(|(name, sheet)| examine(&kit, name, sheet)).collect();
    for examined in &pipelines {
        desk.report_sheet(&examined.sheet);
        report_uses(&mut desk, examined);
    }
    let refused = across::check_claims(&mut desk, &pipelines);
    let bad = in_error(&desk, &pipelines, &refused);
    let files = desk.files.iter().map(|file| FileReport {
        path: file.path.clone(),
        kind: file.kind,
        pipeline: file.name.clone(),
        in_error: file.in_error || file.name.as_ref().is_some_and(|name| bad.contains(name)),
    });
    let files = files.collect();
    let mut problems = std::mem::take(&mut desk.problems);
    problems.sort();
    let plans = pipelines.iter_mut().filter(|examined| !bad.contains(&examined.name));
    let plans = plans.filter_map(|examined| examined.plan.take()).collect();
    let connections = shared.connections();
    let sheets = pipelines.into_iter().map(|examined| (examined.name, examined.sheet)).collect();
    Loaded { pipelines: plans, files, problems, connections, kept: show::Kept { desk, sheets } }
}

/// The tree of each pipeline, overlays included, by name.
fn merge(desk: &mut Desk) -> BTreeMap<String, Sheet> {
    let mut sheets: BTreeMap<String, Sheet> = BTreeMap::new();
    for index in 0..desk.files.len() {
        let file = &mut desk.files[index];
        let (Some(name), Some((tree, origins))) = (file.name.clone(), file.content.take()) else {
            continue;
        };
        let (is_overlay, layer) = (file.overlay, file.layer);
        let root = Path::root();
        match sheets.get_mut(&name) {
            None if is_overlay => {
                let at = root.field("overlay");
                let message = format!("no earlier path has a pipeline {name:?} to change");
                desk.report(
                    index,
                    Problem::error("overlay-without-base", at, message)
                        .help("take `overlay` out, or give the name of the pipeline with `name:`"),
                );
            }
            None => {
                sheets.insert(name, Sheet::new(tree, origins));
            }
            Some(base) => {
                let first = base.origins.find(&root);
                if is_overlay && desk.files[first.file].layer < layer {
                    overlay::merge(base, &root, &tree, &origins, &root);
                    continue;
                }
                let named =
                    |file: usize| match desk.files[file].text.lines().any(|line| line.starts_with("name:")) {
                        true => root.field("name"),
                        false => root.clone(),
                    };
                let (first, second) =
                    (Spot { path: named(first.file), ..first }, Spot { file: index, path: named(index) });
                report_twice(desk, &first, &second, &format!("pipeline {name:?}"));
            }
        }
    }
    sheets
}

/// What is wrong in shared steps is told where they are used, too.
fn report_uses(desk: &mut Desk, examined: &Examined) {
    for splice in &examined.splices {
        let steps = splice.steps.clone().map(|index| Path::root().field("steps").index(index));
        let places: Vec<Path> = steps.collect();
        let problems = examined.sheet.problems.borrow();
        let inside = problems.iter().filter(|problem| {
            is_error(problem) && places.iter().any(|at| crate::tree::below(&problem.at, at))
        });
        for problem in inside {
            let there = desk.name_place(&examined.sheet.origins.find(&problem.at));
            let message = format!("in shared steps {:?} ({there}): {}", splice.name, problem.message);
            let here = Problem {
                help: problem.help.clone(),
                ..Problem::error(problem.code, splice.used_at.path.clone(), message)
            };
            desk.report(splice.used_at.file, here);
        }
    }
}

/// Names of pipelines that must not be started as they are.
fn in_error(desk: &Desk, pipelines: &[Examined], refused: &BTreeSet<String>) -> BTreeSet<String> {
    let is_lost = |examined: &Examined| examined.plan.is_none() && !examined.sheet.is_unknown();
    let examined = pipelines.iter().filter(|examined| is_lost(examined) || examined.sheet.has_errors());
    let files = desk.files.iter().filter(|file| file.in_error && file.kind != FileKind::Shared);
    examined
        .map(|examined| examined.name.clone())
        .chain(files.filter_map(|file| file.name.clone()))
        .chain(refused.iter().cloned())
        .collect()
}
