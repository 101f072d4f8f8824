//! Source and sink against a real RabbitMQ, which is started once and ends with this process.

mod broker;
mod engine;
mod settings;
mod sink;
mod source;
