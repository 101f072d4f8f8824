//! The `stdout` sink: one line per record. The one place outside the daemon that prints.

use std::io::{self, Write};

use async_trait::async_trait;
use karez_api::{Checker, Delivery, Fault, Outcome, Record, Shape, Sink, SinkContext, SinkPlan, SinkSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::sink::encode::{LineFormat, line};

/// Writes one line per record to standard output.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stdout {
    /// `ndjson` (default) or `text`.
    #[serde(default)]
    format: LineFormat,
}

impl SinkSpec for Stdout {
    const NAME: &'static str = "stdout";
    const SUMMARY: &'static str = "Writes one line per record to standard output.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        Some(Box::new(self))
    }
}

#[async_trait]
impl SinkPlan for Stdout {
    fn shape(&self, _: bool) -> Shape {
        Shape::Batch { atomic: true, max: 1_000 }
    }
    async fn open(&self, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Output(self.format)))
    }
}

struct Output(LineFormat);

#[async_trait]
impl Sink for Output {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        let mut buffer = Vec::new();
        let mut each = Vec::with_capacity(records.len());
        for record in records {
            each.push(match line(record, self.0, &mut buffer) {
                Ok(()) => Outcome::Done,
                Err(fault) => Outcome::Refused(fault),
            });
        }
        // A slow reader of our output must not hold up a thread of the runtime.
        let written =
            spawn_blocking(move || write(&buffer)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = written {
            // Some lines may be out already.
            let fault = fault(&error);
            for outcome in each.iter_mut().filter(|outcome| matches!(outcome, Outcome::Done)) {
                *outcome = Outcome::Unknown(fault.clone());
            }
        }
        Delivery { each, mark: None }
    }
}

/// A reader that has gone never comes back, so nothing is tried again: the pipeline stops and says so.
fn fault(error: &io::Error) -> Fault {
    let message = format!("standard output: {error}");
    let gone = error.kind() == io::ErrorKind::BrokenPipe;
    if gone { Fault::fatal(message) } else { Fault::service(message) }.with_code("stdout")
}

fn write(buffer: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(buffer)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use karez_api::Class;

    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_stops_the_pipeline() {
        assert_eq!(fault(&io::ErrorKind::BrokenPipe.into()).class(), Class::Fatal);
        assert_eq!(fault(&io::ErrorKind::StorageFull.into()).class(), Class::Service);
    }
}
