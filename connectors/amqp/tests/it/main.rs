//! Source and sink against a real RabbitMQ, which is started once and ends with this process.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod sink;
#[cfg(test)]
mod source;
