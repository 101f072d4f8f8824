//! How a connection is doing, for `status`, metrics and the admin API. Holds no secret.

use serde::Serialize;

use crate::auth::{AuthStatus, TokensCounted};
use crate::layers::{CircuitState, QuotaLeft};
use crate::metrics::Counted;

#[derive(Debug, Clone, Serialize)]
pub struct ConnectionStatus {
    pub name: String,
    pub provider: Option<String>,
    /// Where it is, once that is known.
    pub url: Option<String>,
    pub calls: Counted,
    pub circuit: CircuitState,
    /// Calls that may run at once now, where that is limited.
    pub concurrency: Option<usize>,
    pub quotas: Vec<QuotaLeft>,
    /// How its credentials are doing, where it has any.
    pub auth: Option<AuthStatus>,
    pub tokens: TokensCounted,
}
