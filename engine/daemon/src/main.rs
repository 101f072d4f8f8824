//! The binary. It alone prints, exits and reads the environment; it alone knows all parts.

mod cli;
mod console;
mod diagnostics;
mod logging;
mod settings;
mod signals;

mod daemon;
mod fleet;
mod load;
mod reload;
mod watch;

mod admin;
mod ingress;
mod server;

fn main() -> std::process::ExitCode {
    cli::main()
}
