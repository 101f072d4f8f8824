//! One command that measures what the README claims. Every figure is a ratio to a baseline taken
//! in the same run, on the same machine, under the same load; absolute numbers stand beside it.
#![expect(clippy::print_stdout, reason = "this program reports to its user")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on says so by panicking")]
#![expect(clippy::disallowed_methods, reason = "tasks live as long as the program")]

mod banned;
mod client;
mod daemon;
mod dedup;
mod events;
mod idle;
mod intake;
mod load;
mod mapping;
mod pages;
mod peer;
mod stall;
mod stats;
mod verified;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut what, mut rounds, mut peer) = ("all".to_owned(), 5, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(rounds),
            "--peer" => peer = arguments.next(),
            "serve" => return intake::serve_bare(),
            "serve-pages" => {
                return pages::serve(arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1));
            }
            _ => what = argument,
        }
    }
    println!("load before the run: {}", stats::load_average());
    let all = what == "all";
    let peer = peer.as_deref();
    assert!(
        peer.is_none() || ["intake", "mapping"].contains(&what.as_str()),
        "--peer goes with intake or mapping"
    );
    if all || what == "intake" {
        intake::run(rounds, peer);
    }
    if all || what == "verified" {
        verified::run(rounds);
    }
    if all || what == "mapping" {
        mapping::run(rounds, peer);
    }
    if all || what == "pages" {
        pages::run(rounds);
    }
    if all || what == "pages-long" {
        pages::run_long();
    }
    if all || what == "partitions" {
        pages::run_partitions();
    }
    if all || what == "idle" {
        idle::run();
    }
    if all || what == "thousand" {
        idle::run_thousand();
    }
    if all || what == "stall" {
        stall::run();
    }
    if all || what == "client" {
        client::run(rounds);
    }
    if all || what == "banned" {
        banned::run();
    }
    if all || what == "dedup" {
        dedup::run();
    }
    println!("load after the run: {}", stats::load_average());
}
