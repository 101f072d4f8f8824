//! What went wrong with the world, classified by whoever saw it. What happens then is the engine's decision.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The class decides what the engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The far end does not accept who we are: refresh once, then pause and alert.
    Auth,
    /// The far end asks for patience: wait as told.
    RateLimit,
    /// This record will never be accepted: dead letter, no retry.
    Validation,
    /// The far end could not be reached: retry for as long as it takes.
    Connection,
    /// The far end failed: retry, counted.
    Service,
    /// A bug or a damaged store: stop and show it.
    Fatal,
}

impl Class {
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::RateLimit, Self::Validation, Self::Connection, Self::Service, Self::Fatal];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::RateLimit => "rate_limit",
            Self::Validation => "validation",
            Self::Connection => "connection",
            Self::Service => "service",
            Self::Fatal => "fatal",
        }
    }

    /// Whether another attempt at the same record can succeed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Validation | Self::Fatal)
    }
}

/// A classified failure. Its message holds no secret.
#[derive(Clone)]
pub struct Fault(Box<Inner>);

#[derive(Clone)]
struct Inner {
    class: Class,
    code: Cow<'static, str>,
    message: String,
    retry_after: Option<Duration>,
}

impl Fault {
    /// `code` is stable and short (`schema`, `http_503`), `message` a lowercase fragment for people.
    #[must_use]
    pub fn new(class: Class, code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self(Box::new(Inner { class, code: code.into(), message: message.to_string(), retry_after: None }))
    }
    #[must_use]
    pub fn auth(message: impl fmt::Display) -> Self {
        Self::new(Class::Auth, "auth", message)
    }
    /// `retry_after` as the far end told it, absent where it did not.
    #[must_use]
    pub fn rate_limit(message: impl fmt::Display, retry_after: Option<Duration>) -> Self {
        let mut fault = Self::new(Class::RateLimit, "rate_limit", message);
        fault.0.retry_after = retry_after;
        fault
    }
    #[must_use]
    pub fn validation(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self::new(Class::Validation, code, message)
    }
    #[must_use]
    pub fn connection(message: impl fmt::Display) -> Self {
        Self::new(Class::Connection, "connection", message)
    }
    #[must_use]
    pub fn service(message: impl fmt::Display) -> Self {
        Self::new(Class::Service, "service", message)
    }
    #[must_use]
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self::new(Class::Fatal, "fatal", message)
    }

    /// The same fault under a more exact code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }
    /// The same fault in other words.
    #[must_use]
    pub fn with_message(mut self, message: impl fmt::Display) -> Self {
        self.0.message = message.to_string();
        self
    }
    /// The same fault with the wait that the far end asked for (a 503 may carry `Retry-After` too).
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    #[must_use]
    pub fn class(&self) -> Class {
        self.0.class
    }
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.0.class.name(), self.0.code, self.0.message)
    }
}
impl std::error::Error for Fault {}
