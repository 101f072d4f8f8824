//! What the operating system asks of the daemon.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGTERM or SIGINT; the number is what the exit code is made of if it comes twice.
    Stop(i32),
    /// SIGHUP.
    Reload,
}

/// The signals that are listened to from the moment this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// The process may not handle signals.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop(15),
            _ = self.interrupt.recv() => Asked::Stop(2),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The exit code of a second request to stop.
    pub(crate) async fn again(&mut self) -> u8 {
        loop {
            if let Asked::Stop(number) = self.next().await {
                return u8::try_from(128 + number).unwrap_or(1);
            }
        }
    }
}
