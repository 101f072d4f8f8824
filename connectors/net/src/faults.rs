//! Failures as people and metrics read them: one name for each class, one way to make them.

use karez_api::{Class, Fault};

use crate::{Effect, Failure, Response};

/// The names under which failures of a connection are counted and told.
pub const ERROR_NAMES: [&str; 6] =
    ["AuthError", "RateLimitError", "ValidationError", "ConnectionError", "ServiceError", "APIError"];

/// The name of a class. What is no fault of the far end or the way there is an `APIError`.
#[must_use]
pub fn error_name(class: Class) -> &'static str {
    match class {
        Class::Auth => "AuthError",
        Class::RateLimit => "RateLimitError",
        Class::Validation => "ValidationError",
        Class::Connection => "ConnectionError",
        Class::Service => "ServiceError",
        Class::Fatal => "APIError",
    }
}

impl Failure {
    /// One that did nothing at the far end.
    #[must_use]
    pub fn not_sent(fault: Fault) -> Self {
        Self { fault, effect: Effect::None, response: None }
    }

    pub(crate) fn answered(fault: Fault, effect: Effect, answer: Response) -> Self {
        Self { fault, effect, response: Some(Box::new(answer)) }
    }

    /// The same with the name of its class before its words.
    pub(crate) fn named(self) -> Self {
        let message = format!("{}: {}", error_name(self.fault.class()), self.fault.message());
        Self { fault: self.fault.with_message(message), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_a_name_of_the_list() {
        let names = Class::ALL.map(error_name);
        assert_eq!(names, ERROR_NAMES);
    }
}
