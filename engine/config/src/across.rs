//! What no pipeline can see alone: two of one name, two holders of one path or file.

use std::collections::{BTreeMap, BTreeSet};

use karez_api::{Claim, Path, Problem, Role};

use crate::build::claims;
use crate::files::Desk;
use crate::pipeline::Examined;
use crate::sheet::Spot;

/// Reports claims that two nodes make; returns the pipelines that cannot run for it.
pub(crate) fn check_claims(desk: &mut Desk, pipelines: &[Examined]) -> BTreeSet<String> {
    let mut holders: BTreeMap<Claim, (String, String, Spot)> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for examined in pipelines {
        for (role, node, claim) in examined.plan.iter().flat_map(claims) {
            let spot = examined.sheet.origins.find(&place(examined, role, &node));
            let holder = (examined.name.clone(), node.to_string(), spot);
            let Some(first) = holders.get(&claim) else {
                holders.insert(claim, holder);
                continue;
            };
            for (here, there) in [(first, &holder), (&holder, first)] {
                let other = desk.name_place(&there.2);
                let message = format!("{} is also that of {}.{} ({other})", words(&claim), there.0, there.1);
                let problem = Problem::error("duplicate-claim", here.2.path.clone(), message).on_key();
                desk.report(here.2.file, problem.help("only one node can have it: change one of them"));
                refused.insert(here.0.clone());
            }
        }
    }
    refused
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
