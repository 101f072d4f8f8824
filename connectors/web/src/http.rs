//! HTTP requests about records: the `http` sink sends one per record, or per batch of records with one
//! target; the `enrich` step asks. Credentials, limits and everything else about a far end is its connection's.

mod body;
mod enrich;
mod far_end;
mod request;
mod results;
mod sink;
mod spec;
mod target;

#[cfg(test)]
pub(crate) mod test_server;

pub(crate) use enrich::Enrich;
pub(crate) use far_end::FarEnd;
pub(crate) use request::{Request, Settings};
pub(crate) use results::as_record;
pub(crate) use spec::{Http, present};
pub(crate) use target::{append, host_end};
