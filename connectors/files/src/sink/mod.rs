//! The `files` sink: what the file says of it, its plan, and how a batch becomes parts of files.

pub(crate) mod encode;
mod mark;
mod rotate;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use karez_api::{
    ByteSize, Checker, Claim, Clock, Delivery, Duration, Escape, Fault, Millis, Outcome, Path, Problem,
    Record, Shape, Sink, SinkContext, SinkPlan, SinkSpec, Text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use encode::LineFormat;
use mark::Ledger;
use rotate::Rotation;
use writer::{Failure, Part, Writer, fault};

/// Longest header row of a table that is read back from a file.
const MAX_HEADER: usize = 64 << 10;

/// Appends records to files; each record is there once, also after a crash.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// Where to write, relative to where karez was started; may hold `{{…}}`. Folders are made. At most 64 files are open at once.
    #[schemars(extend("x-karez-kind" = "text"))]
    path: String,
    /// `ndjson` (default), `csv` or `text`.
    #[serde(default)]
    format: Format,
    /// Columns of `csv`, in order; other fields are left out. Default: the fields of a file's first
    /// record, and a record with others is refused.
    columns: Option<Vec<String>>,
    /// When a file is set aside, under a name with the time, for a new one. Default: never.
    rotate: Option<Rotate>,
}

/// How records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// One JSON text per line.
    #[default]
    Ndjson,
    /// A table with a header row.
    Csv,
    /// Text as it is, anything else as JSON, each on a line.
    Text,
}

/// When a file is set aside as `name-20261124T101500Z.ext`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rotate {
    /// Once it is this large; the batch that makes it larger still goes into it.
    size: Option<ByteSize>,
    /// When a period of this length begins, counted from 1970 in UTC: `1h`, `1d`. At least `1s`.
    every: Option<Duration>,
    /// How many files set aside are kept; older ones are removed. Default: all.
    keep: Option<usize>,
}

impl SinkSpec for Files {
    const NAME: &'static str = "files";
    const SUMMARY: &'static str = "Appends records to files, each record once, with rotation.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let field = |name: &str| Path::root().field(name);
        let wrong = |at: Path, message: &str| cx.report(Problem::error("bad-value", at, message));
        let path = cx.text(&field("path"), &self.path, Escape::FilePath);
        if self.columns.is_some() && self.format != Format::Csv {
            wrong(field("columns"), "only `format: csv` takes this");
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            wrong(field("columns"), "must name at least one column");
        }
        let mut rotation = Rotation::default();
        if let Some(rotate) = &self.rotate {
            let at = field("rotate");
            if rotate.size.is_none() && rotate.every.is_none() {
                wrong(at.clone(), "needs `size` or `every`");
            }
            if rotate.size.is_some_and(|size| size.0 == 0) {
                wrong(at.field("size"), "must be above 0");
            }
            if rotate.every.is_some_and(|every| every.0 < StdDuration::from_secs(1)) {
                wrong(at.field("every"), "must be at least 1s");
            }
            rotation = Rotation {
                size: rotate.size.map(|size| size.0),
                every: rotate.every.map(|every| every.0),
                keep: rotate.keep,
            };
        }
        let layout = match (self.format, self.columns) {
            (Format::Ndjson, _) => Layout::Lines(LineFormat::Ndjson),
            (Format::Text, _) => Layout::Lines(LineFormat::Text),
            (Format::Csv, columns) => Layout::Table(columns),
        };
        Some(Box::new(Plan { path: path?, layout, rotation }))
    }
}

#[derive(Clone)]
enum Layout {
    Lines(LineFormat),
    /// With its columns where the file names them.
    Table(Option<Vec<String>>),
}

struct Plan {
    path: Text,
    layout: Layout,
    rotation: Rotation,
}

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, _: bool) -> Shape {
        Shape::Batch { atomic: true, max: 1_000 }
    }
    fn keeps_ledger(&self) -> bool {
        true
    }
    fn claims(&self) -> Vec<Claim> {
        self.path.constant().map(Claim::File).into_iter().collect()
    }
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        let ledger = Ledger::read(cx.mark.as_ref())?;
        let writer = Arc::new(Mutex::new(Writer::new(self.rotation, ledger)));
        let (path, layout) = (Arc::clone(&self.path), self.layout.clone());
        Ok(Box::new(FilesSink { path, layout, writer, turn: tokio::sync::Mutex::new(()), clock: cx.clock }))
    }
}

struct FilesSink {
    path: Text,
    layout: Layout,
    writer: Arc<Mutex<Writer>>,
    /// Held through a delivery, so that the writer can tell a delivery that was dropped from one under way.
    turn: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
}

fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Sink for FilesSink {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        let _turn = self.turn.lock().await;
        let mut each = vec![Outcome::Done; records.len()];
        let mut paths = BTreeMap::<PathBuf, Vec<(usize, Record)>>::new();
        for (index, record) in records.iter().enumerate() {
            match self.path.eval(record) {
                Ok(path) => paths.entry(path.into()).or_default().push((index, record.clone())),
                Err(fault) => each[index] = Outcome::Refused(fault),
            }
        }
        let (writer, layout, now) = (Arc::clone(&self.writer), self.layout.clone(), self.clock.now());
        let work = spawn_blocking(move || write(&mut lock(&writer), &layout, paths, now)).await;
        let (refused, written) =
            work.unwrap_or_else(|error| (Vec::new(), Err(Failure::Unknown(Fault::fatal(error)))));
        for (index, fault) in refused {
            each[index] = Outcome::Refused(fault);
        }
        let failed = match written {
            Ok(mark) => {
                // Nothing is awaited from here on: whoever asked will hear of it.
                lock(&self.writer).heard();
                return Delivery { each, mark };
            }
            Err(Failure::NotSent(fault)) => Outcome::NotSent(fault),
            Err(Failure::Unknown(fault)) => Outcome::Unknown(fault),
        };
        for outcome in each.iter_mut().filter(|outcome| matches!(outcome, Outcome::Done)) {
            *outcome = failed.clone();
        }
        Delivery { each, mark: None }
    }
}

type Written = (Vec<(usize, Fault)>, Result<Option<karez_api::Mark>, Failure>);

fn write(
    writer: &mut Writer,
    layout: &Layout,
    paths: BTreeMap<PathBuf, Vec<(usize, Record)>>,
    now: Millis,
) -> Written {
    let (mut refused, mut parts) = (Vec::new(), Vec::new());
    for (path, records) in paths {
        let mut part = Part { path, header: Vec::new(), bytes: Vec::new() };
        let mut table = None;
        if let Layout::Table(columns) = layout {
            match header(writer, &part.path, columns.as_deref(), &records, now) {
                Ok(columns) => table = Some(columns),
                Err(error) => return (refused, Err(Failure::NotSent(fault(&part.path, &error)))),
            }
        }
        if let Some(columns) = &table {
            encode::header(columns, &mut part.header);
        }
        for (index, record) in &records {
            let added = match layout {
                Layout::Lines(format) => encode::line(record, *format, &mut part.bytes),
                Layout::Table(fixed) => {
                    let columns = table.as_deref().unwrap_or_default();
                    encode::row(record, columns, fixed.is_none(), &mut part.bytes)
                }
            };
            if let Err(fault) = added {
                refused.push((*index, fault));
            }
        }
        if !part.bytes.is_empty() {
            parts.push(part);
        }
    }
    let written = writer.write(&parts, now);
    (refused, written)
}

/// The columns of a table: those of the file, else those of its first record.
fn header(
    writer: &mut Writer,
    path: &std::path::Path,
    fixed: Option<&[String]>,
    records: &[(usize, Record)],
    now: Millis,
) -> std::io::Result<Vec<String>> {
    if let Some(columns) = fixed {
        return Ok(columns.to_vec());
    }
    let start = writer.prepare(path, MAX_HEADER, now)?;
    if start.is_empty() {
        let first = records.iter().find_map(|(_, record)| encode::columns(record).ok());
        return Ok(first.unwrap_or_default());
    }
    encode::read_header(&start).ok_or_else(|| std::io::Error::other("file does not begin with a header row"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use karez_api::{Body, Json, Meta, RecordId};
    use serde_json::json;

    use super::*;
    use crate::testing::{World, plan_sink};

    fn records(bodies: &[Json]) -> Vec<Record> {
        let meta = || Meta::new(RecordId::text("id"), "source".into(), Millis(0));
        bodies.iter().map(|body| Record::new(Body::from_tree(body.clone()), meta())).collect()
    }

    async fn deliver(world: &World, sink: &dyn Sink, bodies: &[Json]) -> Vec<bool> {
        let delivery = sink.deliver(&records(bodies)).await;
        if delivery.mark.is_some() {
            *world.mark.lock().unwrap() = delivery.mark;
        }
        delivery.each.iter().map(|outcome| matches!(outcome, Outcome::Done)).collect()
    }

    fn names(root: &std::path::Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(root).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn an_unconfirmed_end_is_cut_off_when_it_opens_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/out.ndjson");
        let world = World::new();
        let plan = plan_sink::<Files>(json!({"path": path.to_str().unwrap()}));
        let sink = world.open_sink(&*plan).await;
        assert_eq!(deliver(&world, &*sink, &[json!({"a": 1})]).await, [true]);
        // Delivered, but the mark never reached the store.
        sink.deliver(&records(&[json!({"a": 2})])).await;
        drop(sink);
        let sink = world.open_sink(&*plan).await;
        deliver(&world, &*sink, &[json!({"a": 2}), json!({"a": 3})]).await;
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_it_was_left_is_set_aside() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out.ndjson");
        let world = World::new();
        let plan = plan_sink::<Files>(json!({"path": path.to_str().unwrap()}));
        deliver(&world, &*world.open_sink(&*plan).await, &[json!(1)]).await;
        fs::write(root.path().join("other"), "theirs\n").unwrap();
        fs::rename(root.path().join("other"), &path).unwrap();
        deliver(&world, &*world.open_sink(&*plan).await, &[json!(2)]).await;
        assert_eq!(names(root.path()), ["out-20261124T101500Z-aside.ndjson", "out.ndjson"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
    }

    #[tokio::test]
    async fn a_full_file_is_rotated_and_only_the_newest_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out.ndjson");
        let world = World::new();
        let rotate = json!({"size": 1, "keep": 2});
        let plan = plan_sink::<Files>(json!({"path": path.to_str().unwrap(), "rotate": rotate}));
        let sink = world.open_sink(&*plan).await;
        for n in 0..5 {
            deliver(&world, &*sink, &[json!(n)]).await;
        }
        let expected = ["out-20261124T101500Z-3.ndjson", "out-20261124T101500Z-4.ndjson", "out.ndjson"];
        assert_eq!(names(root.path()), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "4\n");
    }

    #[tokio::test]
    async fn a_table_has_one_header_and_refuses_what_has_no_column() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new();
        let path = root.path().join("{{t}}.csv");
        let plan = plan_sink::<Files>(json!({"path": path.to_str().unwrap(), "format": "csv"}));
        let row = |t: &str, b: Json| json!({"t": t, "b": b});
        let sink = world.open_sink(&*plan).await;
        deliver(&world, &*sink, &[row("x", json!("q\"1,2")), row("y", json!([1]))]).await;
        let sink = world.open_sink(&*plan).await;
        let more = [row("x", json!(null)), json!({"t": "x", "c": 1}), json!({"b": 1})];
        assert_eq!(deliver(&world, &*sink, &more).await, [true, false, false]);
        let text = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(text("x.csv"), "t,b\nx,\"q\"\"1,2\"\nx,\n");
        assert_eq!(text("y.csv"), "t,b\ny,[1]\n");
    }
}
