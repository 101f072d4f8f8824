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

/// The beginning of an answer, printable and on one line: at most so many characters.
#[must_use]
pub fn excerpt(body: &[u8], characters: usize) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * characters)]);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(characters).collect()
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

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        let long = "x\u{1b}[31m\r\n".repeat(200);
        let text = excerpt(long.as_bytes(), 200);
        assert_eq!(text.chars().count(), 200);
        assert!(!text.contains(|c: char| c.is_control()));
    }
}
