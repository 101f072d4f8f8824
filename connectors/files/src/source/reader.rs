//! Reads one file from a place on, in large blocks, and makes batches of what it cuts off.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use karez_api::{
    Batch, Class, Form, Lane, Meta, MetaFault, Millis, NoAck, Position, Positions, Record, RecordId,
};

use super::csv_rows::CsvRows;
use super::frame::{Cut, Framer, More};
use super::identity::{Head, Inode, Name, first_bytes, read_full};
use super::json_values::JsonValues;
use super::lines::Lines;
use super::position::{Place, WIDTH, positions};
use super::{Format, Options};

/// Bytes read at once; a record that waits keeps its block in memory, so blocks are not larger.
const BLOCK: usize = 256 << 10;

pub(crate) struct FileReader {
    file: File,
    pub(crate) path: PathBuf,
    shown: Arc<str>,
    pub(crate) inode: Inode,
    lane: Lane,
    head: Head,
    /// Nobody knows of its lane yet.
    pub(crate) unnamed: bool,
    framer: Framer,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: Bytes,
    /// After the last record handed out.
    last: Option<Place>,
}

/// What reading on gave.
pub(crate) enum Next {
    Batch(Batch),
    /// Nothing more at this moment.
    End,
    /// The file was emptied or written anew.
    Replaced,
}

/// Opens without waiting, should the path have become a named pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    std::fs::OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

impl FileReader {
    /// `place`: where to go on; the start of the file without one.
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        name: &Name,
        place: Option<Place>,
        options: &Options,
    ) -> io::Result<Self> {
        let head = Head::of(&first_bytes(&file)?);
        let framer = framer(&file, place.as_ref(), options)?;
        Ok(Self {
            file,
            shown: path.to_string_lossy().into(),
            path,
            inode: name.inode,
            lane: Lane::new(name.to_string()),
            head,
            unnamed: false,
            framer,
            offset: place.map_or(0, |place| place.offset),
            buffer: Bytes::new(),
            last: place,
        })
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }
    /// After the last record handed out, or where reading began.
    pub(crate) fn place_reached(&self) -> Place {
        self.last.unwrap_or(Place { offset: 0, line: 0, state: 0, head: self.head })
    }
    /// The old content is gone: however alike the new one begins, it is never resumed here.
    pub(crate) fn never_again(&mut self) {
        self.last = Some(Place { offset: u64::MAX, ..self.place_reached() });
    }
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }
    /// How far the file was read.
    fn read_to(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }
    pub(crate) fn renamed(&mut self, path: PathBuf) {
        if path != self.path {
            self.shown = path.to_string_lossy().into();
            self.path = path;
        }
    }

    /// The next records. `more`: whether an unfinished last line waits for its end.
    pub(crate) fn next(&mut self, more: More, source: &Arc<str>, now: Millis) -> io::Result<Next> {
        if std::mem::take(&mut self.unnamed) {
            return Ok(Next::Batch(self.beginning()));
        }
        let mut cuts = Vec::new();
        loop {
            self.cut(More::Possible, &mut cuts);
            if !cuts.is_empty() {
                return Ok(Next::Batch(self.batch(cuts, source, now)));
            }
            if self.fill()? {
                continue;
            }
            if self.is_replaced()? {
                return Ok(Next::Replaced);
            }
            if more == More::Never {
                self.cut(More::Never, &mut cuts);
            }
            if !cuts.is_empty() {
                return Ok(Next::Batch(self.batch(cuts, source, now)));
            }
            // What waits for its end is a few bytes: it must not keep a whole block.
            self.buffer = Bytes::copy_from_slice(&self.buffer);
            return Ok(Next::End);
        }
    }

    fn cut(&mut self, more: More, cuts: &mut Vec<Cut>) {
        let done = self.framer.cut(&self.buffer, self.offset, more, cuts);
        self.last = cuts.last().map(|cut| self.place(cut)).or(self.last);
        self.buffer = self.buffer.slice(done..);
        self.offset += done as u64;
    }

    fn place(&self, cut: &Cut) -> Place {
        Place { offset: cut.end, line: cut.lines, state: cut.state, head: self.head }
    }

    /// Reads another block behind what is left; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        let kept = self.buffer.len();
        // Doubling keeps a long record from being searched again and again for its end.
        let mut block = vec![0; kept + BLOCK.max(kept)];
        block[..kept].copy_from_slice(&self.buffer);
        let read = read_full(&self.file, &mut block[kept..], self.offset + kept as u64)?;
        if read == 0 || self.is_replaced()? {
            return Ok(false);
        }
        block.truncate(kept + read);
        self.buffer = block.into();
        Ok(true)
    }

    /// Whether what was read is no longer the start of the file. Asked after each read, so
    /// that bytes of the new content are never taken for a continuation of the old.
    fn is_replaced(&mut self) -> io::Result<bool> {
        let bytes = first_bytes(&self.file)?;
        if !self.head.begins(&bytes) || self.file.metadata()?.len() < self.read_to() {
            return Ok(true);
        }
        if !self.head.is_full() {
            self.head = Head::of(&bytes);
        }
        Ok(false)
    }

    /// Says where the lane begins, and has it saved.
    fn beginning(&self) -> Batch {
        let mut place = BytesMut::with_capacity(WIDTH);
        self.place_reached().write(&mut place);
        let positions = Positions::After(Position(place.freeze()));
        Batch { lane: self.lane.clone(), records: Vec::new(), positions, ack: Box::new(NoAck) }
    }

    fn batch(&self, cuts: Vec<Cut>, source: &Arc<str>, now: Millis) -> Batch {
        let mut places = BytesMut::with_capacity(cuts.len() * WIDTH);
        let records = cuts
            .into_iter()
            .map(|cut| {
                self.place(&cut).write(&mut places);
                self.record(cut, source, now)
            })
            .collect();
        Batch {
            lane: self.lane.clone(),
            records,
            positions: Positions::Each(positions(places)),
            ack: Box::new(NoAck),
        }
    }

    fn record(&self, cut: Cut, source: &Arc<str>, now: Millis) -> Record {
        let id = RecordId::At { base: Arc::clone(&self.lane.0), offset: cut.start };
        let mut meta = Meta::new(id, Arc::clone(source), now);
        meta.file = Some(Arc::clone(&self.shown));
        meta.line = (cut.line > 0).then_some(cut.line);
        meta.offset = Some(cut.start);
        meta.error = cut.refusal.map(|refusal| {
            Arc::new(MetaFault {
                class: Class::Validation,
                code: refusal.code.into(),
                node: Arc::clone(source),
                message: refusal.message.into(),
                attempts: 0,
                at: now,
            })
        });
        Record::new(cut.body, meta)
    }
}

fn framer(file: &File, place: Option<&Place>, options: &Options) -> io::Result<Framer> {
    let line = place.map_or(0, |place| place.line);
    let max = options.max_record;
    Ok(match options.format {
        Format::Ndjson => Framer::Lines(Lines::new(Form::Json, max, line)),
        Format::Text => Framer::Lines(Lines::new(Form::Text, max, line)),
        Format::Json => Framer::Json(JsonValues::new(max, line, place.map_or(0, |place| place.state))),
        Format::Csv => {
            let rows = CsvRows::new(options.dialect, max);
            Framer::Csv(Box::new(match place.filter(|place| place.offset > 0) {
                None => rows,
                Some(place) => {
                    let before = usize::try_from(place.offset).unwrap_or(usize::MAX);
                    rows.resumed(place.line, |most| {
                        let mut start = vec![0; most.min(before)];
                        let read = read_full(file, &mut start, 0)?;
                        start.truncate(read);
                        io::Result::Ok(start.into())
                    })?
                }
            }))
        }
    })
}
