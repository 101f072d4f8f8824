//! karez from outside: the real binary, real sockets, real servers, real signals.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, helpers included")]

mod admin;
mod amqp;
mod answers;
mod api;
mod commands;
mod connections;
mod crash;
mod dead_letters;
mod deliveries;
mod disk;
mod enrich;
mod files;
mod log_ins;
mod order;
mod rates;
mod reload;
mod retry;
mod rewind;
mod sdks;
mod secrets;
mod standing;
mod stopping;
mod tls;
mod trying;
mod webhooks;

/// A pipeline from the open webhook `/NAME` to what is said below it.
fn webhook_to(name: &str, rest: &str) -> String {
    format!(
        "source: {{webhook: {{path: /{name}, verify: {{none: {{reason: test}}}}, delivery_id: $.id}}}}\n{rest}\n"
    )
}
