//! O1: what is counted and what is said of health while one sink is dead.

use std::collections::BTreeSet;

use karez_tests::{Request, send};

use crate::lane::{From, To};
use crate::observe::Manner;
use crate::run::Run;

pub(super) fn told(run: &mut Run) {
    let mut rig = run.rig();
    rig.lane("dead", From::Webhook, To::Http(Manner::CLOSED));
    rig.lane("alive", From::Webhook, To::Files);
    rig.begin();
    rig.acks(20);
    for path in ["/livez", "/readyz", "/healthz"] {
        let found = rig.admin_status(path);
        run.check(found == Some(200), || format!("{path} is {found:?} while one sink is dead"));
    }
    let text = send(rig.daemon.admin(), &Request::get("/metrics")).unwrap().text();
    let mut families = BTreeSet::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ").and_then(|head| head.split_once(' ')) {
            Some((name, kind)) => {
                run.check(families.insert(name.to_owned()), || format!("{name} stands twice"));
                run.check((kind == "counter") == name.ends_with("_total"), || format!("{name} is a {kind}"));
            }
            None if line.starts_with('#') => {}
            None => {
                let value = line.rsplit(' ').next().unwrap_or_default();
                run.check(value.parse::<f64>().is_ok(), || format!("not a sample: {line}"));
            }
        }
    }
    run.needs("metric family", 20);
    run.fired("metric family", families.len() as u64);
    rig.conclude();
    run.take(rig, 20);
}
