//! The matrix. A case has a letter and a number, a title, the smallest tier that it belongs to, and the tools
//! without which it proves nothing.

mod broker;
mod disk;
mod duplicates;
mod files;
mod flow;
mod health;
mod input;
mod kill;
mod model;
mod network;
mod planted;
mod points;
mod power;
mod recovery;
mod reload;
mod security;
mod soak;
mod stop;
mod time;

use crate::Tier;
use crate::faults::fiu::LIBFIU;
use crate::faults::{FAILPOINTS, FAKETIME, Injector, POWER, STRACE};
use crate::run::Run;

/// One way to break karez.
pub struct Case {
    pub id: &'static str,
    pub title: &'static str,
    pub from: Tier,
    pub needs: &'static [&'static Injector],
    pub run: fn(&mut Run),
}

/// All of them, in the order in which they run.
pub const CASES: &[Case] = &[
    case(
        "PLANTED",
        "bugs that the judge must catch",
        Tier::Run,
        &[&FAILPOINTS, &POWER, &STRACE],
        planted::all,
    ),
    case("K1", "kill -9 under load", Tier::Run, &[], kill::kill_loop),
    case("K2", "crash at each named point", Tier::Run, &[&FAILPOINTS], points::sweep),
    case("K3", "power cut under load", Tier::Run, &[&POWER], power::cuts),
    case("K4", "crash while it recovers", Tier::Full, &[&POWER], recovery::crash_in_recovery),
    case("K5", "sync and write fail", Tier::Run, &[&STRACE], disk::failed_syncs),
    case("K5F", "sync fails by chance", Tier::Full, &[&LIBFIU], disk::by_chance),
    case("K6", "full disk", Tier::Run, &[&POWER], disk::full),
    case("K7", "damaged state", Tier::Run, &[], recovery::damaged),
    case("K8", "the store against its model", Tier::Full, &[], model::store),
    case("K9", "clean stop under load", Tier::Run, &[], stop::clean),
    case("K10", "stop with a dead sink", Tier::Run, &[], stop::dead_sink),
    case("N1", "connections cut at every kind of byte", Tier::Run, &[], network::cuts),
    case("N2", "answers lost", Tier::Run, &[], network::lost_answers),
    case("N3", "silent partition", Tier::Run, &[], network::silence),
    case("N5", "flapping host", Tier::Run, &[], network::flapping),
    case("N9", "429 and 503 with Retry-After", Tier::Run, &[], network::retry_after),
    case("B1", "broker killed and frozen", Tier::Run, &[], broker::bounces),
    case("B2", "unroutable message, memory alarm", Tier::Run, &[], broker::refuses),
    case("B10", "one delivery many times at once", Tier::Run, &[], duplicates::concurrent),
    case("B8", "files rotated, emptied, torn", Tier::Run, &[], files::rotated),
    case("F1", "stalled sink", Tier::Run, &[], flow::stalled_sink),
    case("F2", "poison, dead letters, replay", Tier::Run, &[], flow::poison),
    case("F3", "noisy neighbour", Tier::Run, &[], flow::noisy_neighbour),
    case("F4", "few descriptors, little memory", Tier::Run, &[], flow::limits),
    case("F5", "frozen and starved", Tier::Run, &[], flow::starved),
    case("F6", "many dedup keys", Tier::Run, &[], flow::many_keys),
    case("T3", "clock jumps", Tier::Run, &[&FAKETIME], time::jumps),
    case("R1", "reload under load", Tier::Run, &[], reload::under_load),
    case("R2", "wrong files under load", Tier::Run, &[], reload::wrong),
    case("R3", "reload while the sink fails", Tier::Run, &[], reload::failing_sink),
    case("I1", "hostile JSON", Tier::Run, &[], input::hostile_json),
    case("I2", "compression bombs", Tier::Run, &[], input::bombs),
    case("I3", "hostile pipeline files", Tier::Run, &[], input::hostile_yaml),
    case("I5", "hostile patterns and programs", Tier::Run, &[], input::hostile_patterns),
    case("I6", "injection", Tier::Run, &[], input::injection),
    case("S1", "signatures", Tier::Run, &[], security::signatures),
    case("S3", "secret canaries", Tier::Run, &[], security::canaries),
    case("S4", "admin side", Tier::Run, &[], security::admin),
    case("S5", "slow clients", Tier::Run, &[], security::slow_clients),
    case("SOAK", "a fault and a reload each minute", Tier::Long, &[], soak::soak),
    case("O1", "health and counters", Tier::Run, &[], health::told),
];

const fn case(
    id: &'static str,
    title: &'static str,
    from: Tier,
    needs: &'static [&'static Injector],
    run: fn(&mut Run),
) -> Case {
    Case { id, title, from, needs, run }
}
