//! The binary. It alone prints, exits and reads the environment; it alone knows all parts.

mod cli;
mod console;
mod diagnostics;
mod logging;
mod settings;
mod signals;

mod course;
mod daemon;
mod dotenv;
mod fleet;
mod introduction;
mod load;
mod memory;
mod reload;
mod runs;
mod secrets;
mod trying;
mod watch;

mod admin;
mod ingress;
mod server;

#[cfg(test)]
mod testing;

/// Records are allocated by one thread and freed by another, by the million: the system's allocator
/// spends a third of the time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Does nothing but in a test build, where FAILPOINTS says what goes wrong, and a panic is a crash.
    let _scenario = fail::FailScenario::setup();
    if fail::has_failpoints() {
        std::panic::set_hook(Box::new(|panic| {
            console::say(&panic.to_string());
            std::process::abort();
        }));
    }
    cli::main()
}
