//! The `http` and `graphql` sources: an API that is read page by page, from where it was left. What a file says becomes streams
//! (`spec`, `check`, `stream`); a stream's run goes through its partitions (`reading`, `parents`), a partition through
//! windows and pages (`part`, `fetch`, `page`), and items become records (`decode`, `records`). What is saved is in
//! `state`. Retries, waits and everything else about time is the engine's and the client's.

mod ask;
mod changes;
mod check;
mod cursor;
mod decode;
mod elsewhere;
mod explain;
mod fetch;
mod graphql;
mod job;
mod link;
mod live;
mod lookup;
mod outlet;
mod page;
mod parents;
mod part;
mod plan;
mod reader;
mod reading;
mod records;
mod rules;
mod spec;
mod state;
mod stream;
mod told;
mod tracker;
mod window;

pub(crate) use decode::{Decoder, Format, trees};
pub(crate) use graphql::GraphqlSpec;
pub(crate) use lookup::Lookup;
pub use reader::{Reader, linked};
pub(crate) use spec::ApiSpec;
