//! A stream of an API source as a lookup: one page of it, asked for about one record.

use std::cell::RefCell;
use std::sync::Arc;

use http::StatusCode;
use karez_api::{Checker, Clock, Fault, Json, Neighbour, Path, Problem, Scope, suggest};
use karez_net::{Connection, Reuse, Tally};

use super::ask::Context;
use super::decode::trees;
use super::fetch::{Fetch, Fetched, NoPage};
use super::graphql::GraphqlSpec;
use super::spec::ApiSpec;
use super::stream::{Reading, Stream, Streams};

/// Longest answer, in bytes.
const MOST: usize = 32 << 20;

/// A stream, and all that is needed to ask for a page of it.
pub(crate) struct Lookup {
    reading: Reading,
    own_parameters: Vec<String>,
}

impl Lookup {
    /// The stream that `named` names: `STREAM`, or `SOURCE/STREAM` where several sources have one of that name. With it
    /// what is the same for all that ask in the same way.
    pub(crate) fn check(cx: &Checker<'_>, at: &Path, named: &str) -> Option<(Self, Json)> {
        let wrong = |code: &'static str, message: String, help: String| {
            cx.report(Problem::error(code, at.clone(), message).help(help));
        };
        let neighbours = cx.reuse.sources();
        let all: Vec<(&Neighbour, &str)> = neighbours
            .iter()
            .filter(|source| matches!(source.kind, "http" | "graphql"))
            .flat_map(|source| {
                let streams = source.settings["streams"].as_object().into_iter().flatten();
                streams.map(move |(name, _)| (source, name.as_str()))
            })
            .collect();
        let (of, name) = named.split_once('/').map_or((None, named), |(of, name)| (Some(of), name));
        let fits =
            |(source, stream): &&(&Neighbour, &str)| *stream == name && of.is_none_or(|of| of == source.name);
        let found: Vec<_> = all.iter().filter(fits).collect();
        let (source, _) = match found.as_slice() {
            [one] => **one,
            [] => {
                let names = all.iter().map(|(_, stream)| *stream);
                let help = suggest::help(name, names, "there are");
                let none =
                    || "it is one of `streams` in an `http` or `graphql` source of this pipeline".into();
                wrong("unknown-stream", format!("no stream is named {named:?}"), help.unwrap_or_else(none));
                return None;
            }
            several => {
                let names: Vec<_> =
                    several.iter().map(|(source, _)| format!("{}/{name}", source.name)).collect();
                let message = format!("several sources have a stream {name:?}");
                wrong("unknown-stream", message, format!("write one of {}", names.join(", ")));
                return None;
            }
        };
        let Some(Streams { all, own_parameters, .. }) = streams(cx, source) else {
            // Told at the source itself.
            wrong("unknown-stream", format!("the stream {named:?} is in error"), "mend it first".into());
            return None;
        };
        let reading =
            all.into_iter().find(|stream| &*stream.name == name).map(|Stream { reading, .. }| reading)?;
        if reading.job.is_some() {
            let message = format!("{named:?} has a report made first, which takes too long for a lookup");
            wrong("bad-stream", message, "only a stream without `job` can be looked up".into());
            return None;
        }
        let asked = &source.settings["streams"][name];
        let whose = [&source.settings["connection"], &source.settings["url"]];
        Some((Self { reading, own_parameters }, serde_json::json!([whose, asked])))
    }

    /// # Errors
    /// As the connection's opening.
    pub(crate) fn open(&self, shared: &karez_api::Shared) -> Result<Arc<Connection>, Fault> {
        self.reading.ask.open(shared)
    }

    /// The records of the first page for this parent; nothing where the far end knows nothing of it.
    ///
    /// # Errors
    /// As the call, or the answer is not what it should be.
    pub(crate) async fn ask(
        &self,
        connection: &Connection,
        clock: &dyn Clock,
        parent: Json,
        reuse: Reuse,
    ) -> Result<Option<Vec<Json>>, Fault> {
        let tally = Arc::new(Tally::default());
        let fetch = Fetch {
            reading: &self.reading,
            connection,
            elsewhere: None,
            clock,
            tally: &tally,
            own_parameters: &self.own_parameters,
            reuse,
            at_once: true,
        };
        let context = Context { parent: Some(parent), ..Context::default() };
        let mut size = None;
        match fetch.page(&context, &self.reading.paging.first(), &mut size).await {
            Ok(Fetched::Page(page)) => trees(page.records).map(Some),
            Ok(Fetched::Long(mut long)) => trees(long.all(MOST).await?).map(Some),
            Ok(Fetched::Nothing | Fetched::Skip(_)) => Ok(None),
            Err(NoPage { status: Some(StatusCode::NOT_FOUND | StatusCode::GONE), .. }) => Ok(None),
            Err(none) => Err(none.fault),
        }
    }
}

/// The streams of a source as it checks them itself; what is wrong with them is told there.
fn streams(cx: &Checker<'_>, source: &Neighbour) -> Option<Streams> {
    let (problems, warnings) = (RefCell::default(), RefCell::default());
    let there = Checker {
        node: source.name.as_str().into(),
        pipeline: Arc::clone(&cx.pipeline),
        at: source.at.clone(),
        encode: cx.encode,
        expressions: cx.expressions,
        scope: Scope { vars: cx.scope.vars, literal: cx.scope.literal, warnings: &warnings },
        reuse: cx.reuse,
        problems: &problems,
    };
    let settings = source.settings.clone();
    let streams = match source.kind {
        "graphql" => serde_json::from_value::<GraphqlSpec>(settings).ok()?.streams(&there),
        _ => serde_json::from_value::<ApiSpec>(settings).ok()?.streams(&there),
    };
    streams.filter(|_| problems.borrow().is_empty())
}
