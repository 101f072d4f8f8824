//! The registry of everything that this binary can be configured with. A connector is one line here,
//! and this is the only crate with cargo features.

use karez_api::{Component, Connections, Json, Problem, Registry};

/// Named connections.
pub use karez_net as net;
/// The providers that a connection can name.
pub use karez_net::provider as providers;
#[cfg(feature = "web")]
pub use karez_web::webhooks;

/// All connectors that were built in, and the given steps.
#[must_use]
pub fn registry(steps: Vec<Component>) -> Registry {
    let mut components = steps;
    #[cfg(feature = "web")]
    components.extend(karez_web::components());
    #[cfg(feature = "files")]
    components.extend(karez_files::components());
    #[cfg(feature = "amqp")]
    components.extend(karez_amqp::components());
    let connections = Connections { schema: karez_net::spec::schema, check };
    Registry::new(components).with_connections(connections)
}

fn check(name: &str, settings: &Json) -> Vec<Problem> {
    karez_net::check(name, settings).err().unwrap_or_default()
}
