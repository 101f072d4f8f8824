//! What stands between connections and the network: nothing, something that notes what passes, or something that plays
//! what was noted before. Requests for credentials always go to the network, and are never noted.

mod exchange;
mod payload;
mod player;
mod recorder;
mod token;
mod trouble;

use std::sync::Arc;

pub use exchange::{Exchange, Fixture};
pub use payload::Payload;
pub use player::Player;
pub use recorder::Recorder;
pub use trouble::{Planned, Trouble};

/// What calls go through.
#[derive(Clone, Default)]
pub enum Wire {
    #[default]
    Network,
    /// The network, and what passes is noted.
    Recorded(Arc<Recorder>),
    /// What was noted before, in place of the network. Nobody is asked who we are.
    Played(Arc<Player>),
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network => "Network",
            Self::Recorded(_) => "Recorded",
            Self::Played(_) => "Played",
        })
    }
}

#[cfg(test)]
mod tests;
