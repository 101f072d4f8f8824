//! What no pipeline can see alone: two of one name, two holders of one path or file.

use std::collections::{BTreeMap, BTreeSet};

use karez_api::{Claim, Path, Problem, Role};

use crate::build::claims;
use crate::files::Desk;
use crate::pipeline::Examined;
use crate::sheet::Spot;

/// Reports claims that two nodes make; returns the pipelines that cannot run for it: of two pipelines the one
/// whose file comes later, so that a new file never stops what ran before it.
pub(crate) fn check_claims(desk: &mut Desk, pipelines: &[Examined]) -> BTreeSet<String> {
    let mut in_file_order: Vec<&Examined> = pipelines.iter().collect();
    in_file_order.sort_by_key(|examined| examined.sheet.origins.find(&Path::root()).file);
    let mut holders: BTreeMap<Claim, Holder> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for examined in in_file_order {
        for (role, node, claim) in examined.plan.iter().flat_map(claims) {
            let spot = examined.sheet.origins.find(&place(examined, role, &node));
            let holder = Holder { pipeline: examined.name.clone(), node: node.to_string(), spot };
            match holders.get(&claim) {
                None => {
                    holders.insert(claim, holder);
                }
                Some(first) => {
                    report(desk, &claim, first, &holder);
                    refused.insert(holder.pipeline);
                }
            }
        }
    }
    refused
}

/// A node that claims something.
struct Holder {
    pipeline: String,
    node: String,
    spot: Spot,
}

fn report(desk: &mut Desk, claim: &Claim, first: &Holder, second: &Holder) {
    let message = |other: &Holder, place: String| {
        format!("{} is also that of {}.{} ({place})", words(claim), other.pipeline, other.node)
    };
    let place = desk.name_place(&first.spot);
    let problem = Problem::error("duplicate-claim", second.spot.path.clone(), message(first, place)).on_key();
    desk.report(second.spot.file, problem.help("only one node can have it: change one of them"));
    let place = desk.name_place(&second.spot);
    let (here, message) = (first.spot.path.clone(), message(second, place));
    let problem = match first.pipeline == second.pipeline {
        true => Problem::error("duplicate-claim", here, message)
            .help("only one node can have it: change one of them"),
        false => Problem::warning("duplicate-claim", here, message)
            .help("this file comes first, so this pipeline runs and the other does not"),
    };
    desk.report(first.spot.file, problem.on_key());
}

fn words(claim: &Claim) -> String {
    match claim {
        Claim::IngressPath(path) => format!("the path {path:?}"),
        Claim::File(path) => format!("the file {path:?}"),
        Claim::Stdio(name) => (*name).to_owned(),
    }
}

/// Where a source or sink stands.
fn place(examined: &Examined, role: Role, node: &str) -> Path {
    let (one, many) = if role == Role::Source { ("source", "sources") } else { ("sink", "sinks") };
    match examined.sheet.get(&Path::root().field(many)) {
        Some(_) => Path::root().field(many).field(node),
        None => Path::root().field(one),
    }
}
