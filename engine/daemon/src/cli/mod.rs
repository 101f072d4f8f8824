//! The command line: what can be typed, and what the exit code says.

mod check;
mod connect;
mod connections;
mod dead_letters;
mod explain;
mod graph;
mod new;
mod record;
mod rewind;
pub(crate) mod run;
mod schema;
mod secrets;
mod status;
mod store;
mod tap;
mod test;
mod unblock;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::console::{self, say};
use crate::logging::{self, LogFormat};
use crate::settings::{Layer, Settings, address};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine,
    /// Files have problems, or tests failed.
    Problems,
    /// A pipeline failed while it ran.
    Failed,
    /// Ended by a second signal.
    Signal(u8),
}

/// What was typed cannot be done: the exit code says so, wherever it is found.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Exit code of a command that was typed wrongly.
const WRONG_USAGE: u8 = 2;
/// Exit code of a command that failed while it ran.
const FAILED: u8 = 3;

/// Connects a company's systems to other people's APIs: sources -> steps -> sinks, from YAML files.
///
/// Exit codes: 0 fine, 1 problems found or tests failed, 2 wrong usage, 3 failed while running.
/// Settings come from karez.yaml, then KAREZ_* variables, then flags; the later wins.
#[derive(Debug, Parser)]
#[command(name = "karez", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes, shown behind its own.
const COMMON: &str = "Common options";

#[derive(Debug, Args)]
struct Global {
    /// Settings file [default: karez.yaml, if there is one] [env: KAREZ_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    config: Option<PathBuf>,
    /// Folder of the store and the admin token [default: .karez] [env: KAREZ_DATA_DIR]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = COMMON)]
    data_dir: Option<PathBuf>,
    /// Address of the admin side [default: 127.0.0.1:7071] [env: KAREZ_ADMIN]
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = address, help_heading = COMMON)]
    admin: Option<SocketAddr>,
    /// File with the master key of stored secrets: mode 0600, 32 bytes in base64 or hex [env: KAREZ_MASTER_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    master_key_file: Option<PathBuf>,
    /// How log lines look; KAREZ_LOG filters them (info, debug, karez_runtime=debug)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = COMMON)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon with the pipelines of the given files and folders
    ///
    /// It runs until SIGTERM or SIGINT: then it takes no more requests, finishes what is on its way, and ends with
    /// 0; a second signal ends it at once. SIGHUP reloads, as does every change of a file: what did not change is
    /// not touched, and a wrong file leaves the last good version running.
    Run(run::Run),
    /// Report every problem of every file, without running anything
    Check(check::Check),
    /// Run the tests that stand in pipeline files
    ///
    /// Nothing is sent, read or stored; time and ids are fixed. A case with `replay: fixtures/NAME.json` has the real
    /// source read what `karez record` wrote down, and again with each fault in each answer: 429, 500, a time-out, HTML
    /// under 200, a truncated body, a repeated page token, a crash. Ends with 1 if a test fails.
    Test(test::Test),
    /// Tell what a source would ask an API for, without asking
    ///
    /// For each stream: where its next run begins and why, its windows, what it is read for, the first request, how pages
    /// follow, what errors mean; and the limits of the connection and the next times of the schedule. With --try one page
    /// is fetched and shown with its request and answer; credentials are not. Nothing is saved. Ends with 3 if that fails.
    Explain(explain::Explain),
    /// Write down what the sources of a pipeline ask an API for and what it answers, for `karez test`
    ///
    /// Reads everything once, as if nothing had been read yet; nothing is delivered, and no position is saved. Secrets of
    /// the connections are left out of the file: headers and parameters that carry credentials, and their values wherever
    /// they occur. Records are not: look through the file before others see it. Ends with 3 if the run fails.
    Record(record::Record),
    /// Draw the graph of each pipeline
    Graph(graph::Graph),
    /// Print the JSON Schema of pipeline files, for editors
    ///
    /// An editor finds it by a first line in the file:
    /// `# yaml-language-server: $schema=../schemas/pipeline.schema.json`
    Schema,
    /// Write a commented starter pipeline with tests
    New(new::New),
    /// List, show, replay or drop what could not be delivered
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Show records as they pass, one JSON line each
    ///
    /// Of a source or step what comes out of it, of a sink what goes into it. Records are left out while the
    /// reader is slow; pipelines never wait for it.
    Tap(tap::Tap),
    /// Try again now what waits for an operator or for time
    ///
    /// Records that `on_failure: block` holds, sinks that pause after a failed log-in or because they were told to,
    /// and retries that are not due yet. What fails again waits again.
    Unblock(unblock::Unblock),
    /// Have a source read again what it has read
    ///
    /// The positions of a source are forgotten, so that it begins at its beginning; with --to, a source that asks
    /// for its records reads from that time on. While a daemon runs, it stops the source for it and lets it read again
    /// at once; what is on its way comes to its end before, or comes again. Records whose `dedup` key still counts are
    /// duplicates, as ever.
    Rewind(rewind::Rewind),
    /// List where the sources of a pipeline were left
    ///
    /// A lane (stream, partition, file) with its position, one a line. What may be a credential is not shown.
    Positions(rewind::Positions),
    /// Show what a running daemon does
    ///
    /// Pipelines with their counters, runs of sources that ask for their records, sources and sinks that do not work,
    /// journals that wait, problems in files, journals without a pipeline, dead letters. Times are UTC.
    Status(status::Status),
    /// Store, list and remove secrets; make and change the master key that they are encrypted with
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Look after the store of a data folder
    #[command(subcommand)]
    Store(store::Store),
    /// Log in for a connection (OAuth 2.0): prints an address or a code, and waits
    ///
    /// The daemon runs and keeps the tokens, encrypted; the browser comes back to its listener of webhooks
    /// (`public_url`/oauth/callback, or the listener itself), which the other system must know as redirect address.
    /// With --loopback it comes back to http://127.0.0.1:PORT/oauth/callback on the machine of this command.
    Connect(connect::Connect),
    /// Know and try connections and their providers: list, test, log-out, providers, show
    #[command(subcommand)]
    Connections(connections::Connections),
    /// Know and try the webhooks of providers: list, show, sign, verify
    #[command(subcommand)]
    Webhooks(Box<webhooks::Webhooks>),
}

/// The whole process.
pub(crate) fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(Exit::Fine) => ExitCode::SUCCESS,
        Ok(Exit::Problems) => ExitCode::from(1),
        Ok(Exit::Failed) => ExitCode::from(FAILED),
        Ok(Exit::Signal(code)) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { WRONG_USAGE } else { FAILED })
        }
    }
}

/// Whoever read the output has enough of it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: Cli) -> Result<Exit> {
    let (global, command) = (cli.global, cli.command);
    let flags = match &command {
        Command::Run(run) => run.layer(),
        Command::Check(check) => paths(&check.paths),
        Command::Test(test) => paths(&test.paths),
        Command::Graph(graph) => paths(&graph.paths),
        Command::Explain(explain) => paths(&explain.paths),
        Command::Record(record) => paths(&record.paths),
        _ => Layer::default(),
    };
    let usage = |error: anyhow::Error| Usage(format!("{error:#}"));
    let settings = settings(&global, flags).map_err(usage)?;
    logging::start(global.log_format, variable("KAREZ_LOG")).map_err(usage)?;
    perform(command, settings)
}

fn perform(command: Command, settings: Settings) -> Result<Exit> {
    match command {
        Command::Check(check) => on_runtime(check::perform(check, settings)),
        Command::Test(test) => test::perform(&test, settings),
        Command::Graph(graph) => graph::perform(&graph, settings),
        Command::Explain(explain) => on_runtime(explain::perform(explain, settings)),
        Command::Record(record) => on_runtime(record::perform(record, settings)),
        Command::Schema => schema::perform(),
        Command::New(new) => new::perform(&new, &settings),
        Command::Run(run) => on_runtime(run::perform(run, settings)),
        Command::DeadLetters(command) => on_runtime(dead_letters::perform(command, settings)),
        Command::Tap(tap) => on_runtime(tap::perform(tap, settings)),
        Command::Unblock(unblock) => on_runtime(unblock::perform(unblock, settings)),
        Command::Rewind(rewind) => on_runtime(rewind::perform(rewind, settings)),
        Command::Positions(positions) => on_runtime(rewind::positions(positions, settings)),
        Command::Status(status) => on_runtime(status::perform(status, settings)),
        Command::Secrets(command) => on_runtime(secrets::perform(command, settings)),
        Command::Store(store) => on_runtime(store::perform(store, settings)),
        Command::Connect(connect) => on_runtime(connect::perform(connect, settings)),
        Command::Connections(connections) => on_runtime(connections::perform(connections, settings)),
        Command::Webhooks(webhooks) => webhooks::perform(&webhooks, &settings),
    }
}

fn on_runtime(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let exit = runtime.block_on(work);
    // Blocking calls that hang must not keep the process.
    runtime.shutdown_background();
    exit
}

fn settings(global: &Global, flags: Layer) -> Result<Settings> {
    let config = global.config.clone().or_else(|| variable("KAREZ_CONFIG").map(PathBuf::from));
    let file = Layer::from_file(config.as_deref())?;
    let environment = Layer::from_environment(variable)?;
    let global = Layer {
        data_dir: global.data_dir.clone(),
        admin: global.admin,
        master_key_file: global.master_key_file.clone(),
        ..Layer::default()
    };
    Ok(file.under(environment).under(global).under(flags).into())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn paths(paths: &[PathBuf]) -> Layer {
    Layer { pipelines: (!paths.is_empty()).then(|| paths.to_vec()), ..Layer::default() }
}

/// The plans of these settings' files; their problems go to stderr.
fn load(settings: &Settings) -> Result<karez_config::Loaded> {
    let mut loader = crate::load::Loader::new(settings.pipelines.clone());
    let loaded = loader.load(&crate::secrets::NamesOnly::of(settings))?;
    if !loaded.problems.is_empty() {
        say(crate::diagnostics::render(&loaded.problems, console::colour()).trim_end());
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
