//! `oracle --tier run|full|long [--case K1]… [--seed N] [--keep FOLDER]`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use karez_oracle::matrix::{self, Order};
use karez_oracle::{Seed, Tier};

/// Breaks karez in every way this machine allows and accounts for each event. Ends with 1 on any violation.
#[derive(Debug, Parser)]
struct Arguments {
    /// How much is done
    #[arg(long, value_enum, default_value_t = Tier::Run)]
    tier: Tier,
    /// Only these cases, whatever the tier says
    #[arg(long = "case", value_name = "ID")]
    cases: Vec<String>,
    /// Only this bug, crash point or lane, of cases that go through many
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Everything random follows from it [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for what cases with violations leave
    #[arg(long, default_value = "/tmp/karez-oracle")]
    keep: PathBuf,
    /// Where to write the table, too: FOLDER/table.md and FOLDER/table.json
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Name all cases and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        matrix::all().for_each(|(id, title)| println!("{id:8} {title}"));
        return ExitCode::SUCCESS;
    }
    let seed = Seed(arguments.seed.unwrap_or_else(|| rand::random::<u32>().into()));
    eprintln!("oracle: seed {seed}");
    let Arguments { tier, cases, only, keep, report, .. } = arguments;
    let table = matrix::perform(&Order { tier, cases, seed, only, keep, report });
    println!("{}", table.markdown());
    eprintln!("oracle: seed {seed}, {}", if table.is_fine() { "all fine" } else { "VIOLATIONS" });
    if table.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
