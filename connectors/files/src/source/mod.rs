//! The `files` source: what the file says of it, and its plan.

mod ahead;
mod csv_rows;
pub(crate) mod frame;
mod glob;
mod identity;
pub(crate) mod json_values;
pub(crate) mod lines;
mod position;
mod reader;
mod set;
mod start;
pub(crate) mod whole;

use std::sync::Arc;
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use karez_api::{
    ByteSize, Checker, Decode, Duration, Fault, Opened, Path, Problem, Replay, SourceContext, SourcePlan,
    SourceSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;

use csv_rows::Dialect;
use glob::Glob;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// One JSON text per line.
    #[default]
    Ndjson,
    /// JSON texts one after another; each element of a list at the top is a record.
    Json,
    /// A table; each row is an object of strings.
    Csv,
    /// One record per line.
    Text,
}

/// Where a file without a saved position is begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    #[default]
    Beginning,
    /// For files that are there when the source opens; what appears later is read whole.
    End,
}

/// Reads files once, or follows them as they grow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// Paths or globs (`*`, `?`, `[ab]`, `{a,b}`, `**` for any folders), relative to where karez was started. A name that
    /// begins with a dot is meant only where the glob writes the dot.
    #[schemars(length(min = 1))]
    paths: Vec<String>,
    /// `ndjson` (default), `json`, `csv` or `text`.
    #[serde(default)]
    format: Format,
    /// Goes on reading as files grow, are rotated or appear. Default: no, each file is read once.
    #[serde(default)]
    follow: bool,
    /// How a table is written.
    csv: Option<Csv>,
    /// Where files without a saved position are begun: `beginning` (default) or `end`.
    #[serde(default)]
    start: Start,
    /// How often a followed file is looked at. Default `1s`.
    poll: Option<Duration>,
    /// Largest record; a longer one is refused. Default `1MiB`, at most `64MiB`; `64MiB` for `json`.
    max_record: Option<ByteSize>,
}

/// How a table is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// One ASCII character between fields. Default `,`.
    delimiter: Option<char>,
    /// The first row names the columns (default). Without a header a row is a list of strings.
    #[serde(default = "yes")]
    header: bool,
}

fn yes() -> bool {
    true
}

/// The checked settings.
pub(crate) struct Options {
    globs: Vec<Glob>,
    format: Format,
    follow: bool,
    dialect: Dialect,
    start: Start,
    poll: StdDuration,
    max_record: usize,
}

const LARGEST_RECORD: u64 = 64 << 20;

impl SourceSpec for Files {
    const NAME: &'static str = "files";
    const SUMMARY: &'static str = "Reads files once, or follows them as they grow and are rotated.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let field = |name: &str| Path::root().field(name);
        let wrong = |at: Path, message: String| {
            cx.report(Problem::error("bad-value", at, message));
        };
        let mut globs = Vec::new();
        for (index, path) in self.paths.iter().enumerate() {
            match Glob::new(path) {
                Ok(glob) => globs.push(glob),
                Err(message) => wrong(field("paths").index(index), message),
            }
        }
        let csv = self.csv.as_ref();
        if csv.is_some() && self.format != Format::Csv {
            wrong(field("csv"), "only `format: csv` takes this".into());
        }
        if self.format == Format::Json && self.start == Start::End {
            wrong(field("start"), "`format: json` is read from the beginning".into());
        }
        let delimiter = csv.and_then(|csv| csv.delimiter).unwrap_or(',');
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\r' | '\n' | '\0') {
            wrong(
                field("csv").field("delimiter"),
                "must be one ASCII character other than a quote or line break".into(),
            );
        }
        let poll = self.poll.map_or(StdDuration::from_secs(1), |poll| poll.0);
        if poll < StdDuration::from_millis(10) {
            wrong(field("poll"), "must be at least 10ms".into());
        }
        let default = if self.format == Format::Json { LARGEST_RECORD } else { 1 << 20 };
        let max_record = self.max_record.map_or(default, |size| size.0);
        if !(1..=LARGEST_RECORD).contains(&max_record) {
            wrong(field("max_record"), "must be between 1 byte and 64MiB".into());
        }
        let header = csv.is_none_or(|csv| csv.header);
        let options = Options {
            globs,
            format: self.format,
            follow: self.follow,
            dialect: Dialect { delimiter: delimiter as u8, header },
            start: self.start,
            poll,
            max_record: usize::try_from(max_record).unwrap_or(usize::MAX),
        };
        Some(Box::new(Plan(Arc::new(options))))
    }
}

struct Plan(Arc<Options>);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn ends(&self) -> bool {
        !self.0.follow
    }
    fn default_decode(&self) -> Decode {
        if self.0.format == Format::Text { Decode::Text } else { Decode::Json }
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        Ok(Opened::Pull(Box::new(ahead::Ahead::new(&self.0, cx))))
    }
}
