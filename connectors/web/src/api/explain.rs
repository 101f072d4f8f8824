//! What a source would ask for if it ran now, told without asking anything: where each stream goes on and why, its
//! windows, its partitions, its first request.

use std::collections::BTreeMap;

use karez_api::{Fault, Json, JsonMap, Lane, Millis, Position};
use karez_net::{REDACTED, Scrub};
use serde_json::json;

use super::cursor::Point;
use super::live;
use super::reading;
use super::state::{Open, PartState, RunState, State, Token};
use super::stream::{Parent, Stream, Streams};
use super::told::span;

/// The plan of a source: of each stream that is emitted, and of the connection.
pub(super) fn explain(streams: &Streams, known: &BTreeMap<Lane, Position>, now: Millis) -> Json {
    let told = streams.emit.iter().map(|index| {
        let stream = &streams.all[*index];
        Told { streams, stream, known, now }
            .whole()
            .unwrap_or_else(|fault| json!({"stream": &*stream.name, "problem": fault.message()}))
    });
    json!({
        "streams": told.collect::<Vec<_>>(),
        "parallel": streams.parallel,
        "connection": super::told::connection(streams.far_end.checked()),
    })
}

struct Told<'a> {
    streams: &'a Streams,
    stream: &'a Stream,
    known: &'a BTreeMap<Lane, Position>,
    now: Millis,
}

/// Where a run begins.
struct Beginning {
    why: &'static str,
    text: String,
    open: Open,
}

impl Told<'_> {
    fn whole(&self) -> Result<Json, Fault> {
        let own = Lane::new(&*self.stream.name);
        let state = self.state(&own)?;
        let (mut run, mut resumed) = reading::next_run(state.run.clone(), self.now);
        let asked = self.known.get(&live::rewind(&self.stream.name));
        // What cannot be followed is told when it is tried.
        if let Some(to) = asked.and_then(|asked| reading::rewound(asked, self.stream).ok().flatten()) {
            (run, resumed) = (run.rewound(to, resumed, self.now), false);
        }
        // A partition that was never read stands for those of a stream that has some.
        let part = match self.stream.parent {
            Parent::None => state.part.unwrap_or_default(),
            _ => PartState::default(),
        };
        let beginning = self.beginning(&part, &run);
        let mut told = json!({
            "stream": &*self.stream.name,
            "run": {"number": run.number, "resumed": resumed},
            "begins": {"why": beginning.why, "text": beginning.text},
            "windows": self.windows(&beginning.open, &run),
            "partitions": self.partitions(&run)?,
            "request": self.request(&beginning.open),
            "paging": self.stream.reading.told.paging,
            "max_pages": self.stream.reading.max_pages,
            "errors": self.stream.reading.told.errors,
        });
        told["mark"] = part.mark.map_or(Json::Null, |mark| mark.at.to_string().into());
        if let Some(expect) = &self.stream.reading.expect {
            told["expect"] = json!({"min_records": expect.min_records, "max_drop_pct": expect.max_drop_pct});
        }
        Ok(told)
    }

    fn state(&self, lane: &Lane) -> Result<State, Fault> {
        let Some(position) = self.known.get(lane) else { return Ok(State::default()) };
        State::read(lane, &readable(position))
    }

    fn beginning(&self, part: &PartState, run: &RunState) -> Beginning {
        let reading = &self.stream.reading;
        if let Some(open) = part.open.as_ref().filter(|_| part.run == run.number) {
            let window = match (&open.from, &open.to) {
                (_, Some(to)) => format!(" of the window up to {to}"),
                (Some(from), None) => format!(" of the window from {from}"),
                (None, None) => String::new(),
            };
            let page = match open.job.as_ref() {
                Some(job) if !job.ready => "the report that is being made".to_owned(),
                _ => page(&open.token),
            };
            let through = match open.pages {
                0 => "none of its pages is through".to_owned(),
                1 => "1 of its pages is through".to_owned(),
                n => format!("{n} of its pages are through"),
            };
            let text = format!("run {} goes on at {page}{window}; {through}", run.number);
            return Beginning { why: "open_window", text, open: open.clone() };
        }
        let Some(incremental) = &reading.incremental else {
            let text = "everything, in each run (no `incremental`)".to_owned();
            return Beginning { why: "everything", text, open: reading.begin(None, run) };
        };
        let mark = part.mark(run);
        if let Some(mark) = mark.as_ref().filter(|mark| incremental.forgets(mark, run)) {
            let kept = incremental.retention.map(span).unwrap_or_default();
            let open = reading.begin(None, run);
            let text = format!(
                "{}: all that is kept, since the saved mark {} is older than the {kept} that the API keeps",
                place(open.from.as_ref()),
                mark.at
            );
            return Beginning { why: "full_resync", text, open };
        }
        let open = reading.begin(mark.as_ref(), run);
        let from = place(open.from.as_ref());
        let (why, text) = match &mark {
            None if incremental.start.is_some() => {
                ("start", format!("{from}, where the file says to begin (`start`)"))
            }
            None => ("everything", format!("{from}: nothing was read yet, and the file names no `start`")),
            Some(mark) if run.rewound.as_ref().is_some_and(|asked| asked.to == mark.at) => {
                ("rewound", format!("{from}, where somebody asked to go back to"))
            }
            Some(mark) if part.mark.as_ref().is_some_and(|reached| reached.at != mark.at) => {
                ("suspicious", format!("{from}, where the last run began, which was suspicious"))
            }
            Some(_) if incremental.lookback.is_zero() => ("saved_mark", format!("{from}, the saved mark")),
            Some(mark) => {
                let lookback = span(incremental.lookback);
                ("saved_mark", format!("{from}, the saved mark {} less {lookback} of lookback", mark.at))
            }
        };
        Beginning { why, text, open }
    }

    /// How many, with the first and the last as they would be sent; null where requests have none.
    fn windows(&self, open: &Open, run: &RunState) -> Json {
        let reading = &self.stream.reading;
        let Some(incremental) = &reading.incremental else { return Json::Null };
        let count = reading.windows(open, run);
        let sent =
            |from: Option<&Point>, to: Option<&Point>| json!([reading.written(from), reading.written(to)]);
        let last_from = match (incremental.step, &open.from) {
            (Some(step), Some(from)) if count > 1 => {
                Some(from.plus(step.saturating_mul(u32::try_from(count - 1).unwrap_or(u32::MAX))))
            }
            (_, from) => from.clone(),
        };
        let end = run.to.clone().filter(|_| incremental.format.is_time());
        json!({
            "count": count,
            "step": incremental.step.map(span),
            "first": sent(open.from.as_ref(), open.to.as_ref()),
            "last": sent(last_from.as_ref(), end.as_ref()),
        })
    }

    fn partitions(&self, run: &RunState) -> Result<Json, Fault> {
        let mut told = match &self.stream.parent {
            Parent::None => return Ok(Json::Null),
            Parent::Values(values) => json!({"values": values}),
            Parent::Stream { index, key, changed_only, when: _ } => json!({
                "stream": &*self.streams.all[*index].name, "key": key, "changed_only": changed_only,
                "when": self.stream.reading.told.when,
            }),
        };
        let prefix = format!("{}/", self.stream.name);
        let (mut saved, mut marks): (u64, Vec<Point>) = (0, Vec::new());
        for (lane, _) in self.known.iter().filter(|(lane, _)| lane.0.starts_with(&prefix)) {
            saved += 1;
            let part = self.state(lane)?.part.unwrap_or_default();
            marks.extend(part.mark(run).map(|mark| mark.at));
        }
        told["saved"] = saved.into();
        told["marks"] =
            json!([marks.iter().min().map(Point::to_string), marks.iter().max().map(Point::to_string)]);
        Ok(told)
    }

    /// The first request as it would be sent; as it is written where it needs what is not known before.
    fn request(&self, open: &Open) -> Json {
        let reading = &self.stream.reading;
        let (ask, told) = match (&reading.job, &reading.told.job) {
            (Some(job), Some(told)) if open.job.as_ref().is_none_or(|job| !job.ready) => (&job.create, told),
            _ => (&reading.ask, &reading.told.request),
        };
        let mut shown = JsonMap::new();
        shown.insert("method".into(), ask.method().as_str().into());
        let parent = match &self.stream.parent {
            Parent::None => Some(None),
            Parent::Values(values) => values.first().map(|value| Some(json!({"value": value}))),
            Parent::Stream { .. } => None,
        };
        let scrub = Scrub::of(self.streams.far_end.checked());
        let evaluated = parent.and_then(|parent| {
            let size = reading.paging.size();
            let context = reading.context(open, parent).record(&open.token, size, self.now);
            ask.parts(&context, &reading.puts(&open.token, size)).ok()
        });
        match (&open.token, evaluated) {
            (Token::Url(url), _) => {
                shown.insert("target".into(), scrub.text(url).into());
            }
            (_, Some(parts)) => {
                shown.insert("target".into(), scrub.target(&parts.target).into());
                shown.extend(parts.body.map(|body| ("body".to_owned(), scrub.json(&body))));
                if !parts.form.is_empty() {
                    shown.insert("form".into(), scrub.query(&parts.form).into());
                }
            }
            (_, None) => {
                shown.insert("template".into(), scrub.target(told).into());
            }
        }
        shown.into()
    }
}

fn place(from: Option<&Point>) -> String {
    from.map_or_else(|| "the beginning".to_owned(), Point::to_string)
}

fn page(token: &Token) -> String {
    match token {
        Token::First => "the first page".to_owned(),
        Token::Number(number) => format!("page {number}"),
        Token::Offset(offset) => format!("offset {offset}"),
        Token::Cursor(_) | Token::Url(_) => "a saved page".to_owned(),
    }
}

/// A daemon tells positions without their tokens, which may be credentials: where one was, something stands in.
fn readable(position: &Position) -> Position {
    let Ok(mut told) = serde_json::from_slice::<Json>(&position.0) else { return position.clone() };
    let levels = told.pointer("/run/place").and_then(Json::as_array).map_or(0, Vec::len);
    let tokens = (0..levels).map(|level| format!("/run/place/{level}/token"));
    let mut hidden = false;
    for at in tokens.chain(["/part/open/token".to_owned()]) {
        if let Some(token) = told.pointer_mut(&at).filter(|token| **token == REDACTED) {
            *token = json!({"cursor": REDACTED});
            hidden = true;
        }
    }
    if hidden { Position(told.to_string().into()) } else { position.clone() }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
