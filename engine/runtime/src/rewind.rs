//! Where the sources of a pipeline were left: shown, and set back so that records are read again.
//! Only while nobody reads: a running pipeline lets go of the source first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use karez_api::{Fault, Json, Lane, Position, Progress, SourceNode, StoreError, StreamName, Write};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::settler::{all_positions, position_key, positions};

/// Before the name of a stream: the lane in which a source finds from when on it is to read that stream again.
const REQUEST: &str = "rewind/";
/// What a position may hold that is not for every eye: continuations of far ends may be credentials.
const HIDDEN: [&str; 3] = ["token", "page", "url"];
const PAGE: usize = 500;

/// What is to be read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rewind {
    /// Needed where several sources could be meant.
    pub source: Option<String>,
    /// All streams of the source, where absent.
    pub stream: Option<String>,
    /// From this time on (RFC 3339); from the beginning, where absent.
    pub to: Option<String>,
}

/// What a rewind did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewound {
    pub source: Arc<str>,
    /// The streams that are read again; none where the source has no such parts.
    pub streams: BTreeSet<String>,
    /// Positions that are forgotten; none where streams are read again from a time on.
    pub positions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A source as far as a rewind must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewindable {
    pub name: Arc<str>,
    /// It has streams, and can be told from when on to read.
    pub polls: bool,
}

impl Rewindable {
    #[must_use]
    pub fn of(node: &SourceNode) -> Self {
        Self { name: Arc::clone(&node.name), polls: node.plan.polls() }
    }
}

impl Rewind {
    /// What it would do.
    ///
    /// # Errors
    /// It says something that cannot be done, or the store cannot be read.
    pub async fn look(
        &self,
        pipeline: &str,
        sources: &[Rewindable],
        progress: &dyn Progress,
    ) -> Result<Rewound, Fault> {
        let source = self.choose(sources)?;
        Ok(self.plan(pipeline, source, progress).await?.0)
    }

    /// Does it. Nobody may read the source meanwhile.
    ///
    /// # Errors
    /// As [`Rewind::look`], or the store cannot be written: then nothing was changed.
    pub async fn perform(
        &self,
        pipeline: &str,
        sources: &[Rewindable],
        progress: &dyn Progress,
    ) -> Result<Rewound, Fault> {
        let source = self.choose(sources)?;
        let (rewound, writes) = self.plan(pipeline, source, progress).await?;
        progress.write(writes).await.map_err(|error| store(&error))?;
        Ok(rewound)
    }

    /// The source that is meant: the only one, or the only one that polls.
    pub(crate) fn choose<'s>(&self, sources: &'s [Rewindable]) -> Result<&'s Rewindable, Fault> {
        let polling: Vec<&Rewindable> = sources.iter().filter(|source| source.polls).collect();
        let names = || sources.iter().map(|source| &*source.name).collect::<Vec<_>>().join(", ");
        let chosen = match (&self.source, sources, polling.as_slice()) {
            (Some(name), ..) => sources.iter().find(|source| *source.name == **name).ok_or_else(|| {
                Fault::validation(
                    "unknown_source",
                    format!("there is no source {name:?}; there are: {}", names()),
                )
            })?,
            (None, [only], _) => only,
            (None, _, [only]) => *only,
            (None, ..) => {
                let message = format!("several sources could be meant: {}; name one", names());
                return Err(Fault::validation("which_source", message));
            }
        };
        if self.to.is_some() && !chosen.polls {
            let message =
                format!("{} cannot be told from when on to read: only a source that polls can", chosen.name);
            return Err(Fault::validation("no_time", message));
        }
        Ok(chosen)
    }

    async fn plan(
        &self,
        pipeline: &str,
        source: &Rewindable,
        progress: &dyn Progress,
    ) -> Result<(Rewound, Vec<Write>), Fault> {
        let stream = StreamName { pipeline: pipeline.into(), source: Arc::clone(&source.name) };
        let lanes = positions(progress, &stream).await.map_err(|error| store(&error))?;
        let streams = if source.polls { streams_of(&lanes) } else { BTreeSet::new() };
        let meant = |name: &str| self.stream.as_ref().is_none_or(|stream| stream == name);
        let of_lane = |lane: &Lane| {
            let name = lane.0.strip_prefix(REQUEST).filter(|_| source.polls).unwrap_or(&lane.0);
            meant(name) || self.stream.as_ref().is_some_and(|stream| is_part(name, stream))
        };
        let found: Vec<&Lane> = lanes.keys().filter(|lane| of_lane(lane)).collect();
        if found.is_empty() {
            return Err(nothing(source, self.stream.as_deref(), &streams));
        }
        let streams: BTreeSet<String> = streams.into_iter().filter(|name| meant(name)).collect();
        let writes: Vec<Write> = match &self.to {
            None => found.iter().map(|lane| Write::remove(position_key(&stream, lane))).collect(),
            Some(time) => {
                let position = json!({"to": time}).to_string();
                let lane = |name: &String| Lane::new(format!("{REQUEST}{name}"));
                let put = |name| Write::put(position_key(&stream, &lane(name)), position.clone());
                streams.iter().map(put).collect()
            }
        };
        let positions = if self.to.is_none() { writes.len() } else { 0 };
        let source = Arc::clone(&source.name);
        Ok((Rewound { source, streams, positions, to: self.to.clone() }, writes))
    }
}

/// The streams whose lanes these are, those too that are to be rewound.
fn streams_of(lanes: &BTreeMap<Lane, Position>) -> BTreeSet<String> {
    let names = lanes.keys().map(|lane| lane.0.strip_prefix(REQUEST).unwrap_or(&lane.0));
    names.map(|name| name.split('/').next().unwrap_or_default().to_owned()).collect()
}

/// Whether a lane is a partition of a stream.
fn is_part(lane: &str, stream: &str) -> bool {
    lane.strip_prefix(stream).is_some_and(|rest| rest.starts_with('/'))
}

fn nothing(source: &Rewindable, stream: Option<&str>, streams: &BTreeSet<String>) -> Fault {
    let name = &source.name;
    let message = match stream {
        Some(stream) if !streams.is_empty() => {
            let known: Vec<&str> = streams.iter().map(String::as_str).collect();
            format!("nothing was read of a stream {stream:?} of {name}, but of: {}", known.join(", "))
        }
        Some(stream) => format!("nothing was read of a stream {stream:?} of {name}"),
        None => format!("nothing was read of {name}: it begins at its beginning anyway"),
    };
    Fault::validation("nothing_read", message)
}

fn store(error: &StoreError) -> Fault {
    Fault::service(error).with_code("store")
}

/// Where one lane of a source was left, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanePosition {
    pub source: String,
    pub lane: String,
    /// What the source itself writes, where that is JSON; else its bytes in hex.
    pub position: Json,
}

/// All positions of a pipeline.
///
/// # Errors
/// The store cannot be read.
pub async fn list_positions(
    pipeline: &str,
    progress: &dyn Progress,
) -> Result<Vec<LanePosition>, StoreError> {
    let prefix = all_positions(pipeline);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = progress.list(&prefix, after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        found.extend(page.into_iter().filter_map(|(key, stored)| {
            let (source, lane) = key[prefix.len()..].split_once('/')?;
            let position = shown(&stored.value);
            Some(LanePosition { source: source.to_owned(), lane: lane.to_owned(), position })
        }));
    }
}

fn shown(position: &[u8]) -> Json {
    match serde_json::from_slice(position) {
        Ok(mut json) => {
            hide(&mut json);
            json
        }
        Err(_) => position.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}

fn hide(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                match HIDDEN.contains(&name.as_str()) {
                    true if !value.is_null() => *value = "[redacted]".into(),
                    _ => hide(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, polls: bool) -> Rewindable {
        Rewindable { name: name.into(), polls }
    }

    fn chosen(rewind: &Rewind, sources: &[Rewindable]) -> Result<String, String> {
        rewind.choose(sources).map(|source| source.name.to_string()).map_err(|fault| fault.code().to_owned())
    }

    #[test]
    fn the_source_that_is_meant_is_the_only_one_or_the_only_one_that_polls() {
        let (hook, api, other) = (source("hook", false), source("api", true), source("other", true));
        let any = Rewind::default();
        assert_eq!(chosen(&any, std::slice::from_ref(&hook)), Ok("hook".into()));
        assert_eq!(chosen(&any, &[hook.clone(), api.clone()]), Ok("api".into()));
        assert_eq!(chosen(&any, &[hook.clone(), api.clone(), other]), Err("which_source".into()));
        let named = |name: &str| Rewind { source: Some(name.into()), ..Rewind::default() };
        assert_eq!(chosen(&named("hook"), &[hook.clone(), api.clone()]), Ok("hook".into()));
        assert_eq!(chosen(&named("no"), &[hook.clone(), api]), Err("unknown_source".into()));
        let timed = Rewind { to: Some("2024-01-01T00:00:00Z".into()), ..Rewind::default() };
        assert_eq!(chosen(&timed, &[hook]), Err("no_time".into()));
    }

    #[test]
    fn what_may_be_a_credential_is_not_shown() {
        let position =
            br#"{"at": "2024", "page": {"token": "x"}, "next": [{"url": "http://x", "page": null}]}"#;
        let expected =
            json!({"at": "2024", "page": "[redacted]", "next": [{"url": "[redacted]", "page": null}]});
        assert_eq!(shown(position), expected);
        assert_eq!(shown(&[0, 255]), json!("00ff"));
    }

    #[test]
    fn partitions_belong_to_their_stream_and_not_to_one_whose_name_begins_alike() {
        assert!(
            is_part("issues/7", "issues") && !is_part("issues_old", "issues") && !is_part("issues", "issues")
        );
        let lanes = ["issues", "issues/7", "issues_old", "rewind/users"];
        let lanes = lanes.map(|lane| (Lane::new(lane), Position(bytes::Bytes::new()))).into();
        assert_eq!(streams_of(&lanes).into_iter().collect::<Vec<_>>(), ["issues", "issues_old", "users"]);
    }
}
