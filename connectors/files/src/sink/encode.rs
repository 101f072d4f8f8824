//! Records as bytes of a file.

use karez_api::{Fault, Form, Json, Record};
use schemars::JsonSchema;
use serde::Deserialize;

/// How records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineFormat {
    /// One JSON text per line.
    #[default]
    Ndjson,
    /// Text as it is, anything else as JSON; a line break after each.
    Text,
}

/// Adds one line.
///
/// # Errors
/// The body has no such form: class validation; nothing was added.
pub(crate) fn line(record: &Record, format: LineFormat, buffer: &mut Vec<u8>) -> Result<(), Fault> {
    let body = record.body();
    match format {
        LineFormat::Text if body.form() == Form::Text => buffer.extend_from_slice(body.bytes()),
        LineFormat::Text => match body.tree() {
            Ok(Json::String(text)) => buffer.extend_from_slice(text.as_bytes()),
            _ => buffer.extend_from_slice(&json(record)?),
        },
        LineFormat::Ndjson => buffer.extend_from_slice(&json(record)?),
    }
    if !buffer.ends_with(b"\n") {
        buffer.push(b'\n');
    }
    Ok(())
}

fn json(record: &Record) -> Result<bytes::Bytes, Fault> {
    record.body().json_line().map_err(|error| Fault::validation("not_json", error))
}

/// The columns that a record would give a table: its fields, in their order.
///
/// # Errors
/// The body is not an object: class validation.
pub(crate) fn columns(record: &Record) -> Result<Vec<String>, Fault> {
    match record.body().tree() {
        Ok(Json::Object(fields)) => Ok(fields.keys().cloned().collect()),
        Ok(_) => Err(Fault::validation("csv_not_object", "a row of a table needs an object")),
        Err(error) => Err(Fault::validation("not_json", error)),
    }
}

/// Adds one row. Nested values are written as JSON, null and absent ones as nothing.
/// `strict`: a field without a column refuses the record instead of leaving it out.
///
/// # Errors
/// As [`columns`].
pub(crate) fn row(
    record: &Record,
    columns: &[String],
    strict: bool,
    buffer: &mut Vec<u8>,
) -> Result<(), Fault> {
    let found = self::columns(record)?;
    if let (true, Some(extra)) = (strict, found.iter().find(|name| !columns.contains(name))) {
        let message = format!("field {extra:?} has no column in this file; name all `columns`");
        return Err(Fault::validation("csv_column", message));
    }
    let tree = record.body().tree().map_err(|error| Fault::validation("not_json", error))?;
    for (index, name) in columns.iter().enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        match tree.get(name) {
            None | Some(Json::Null) => {}
            Some(Json::String(text)) => field(text, buffer),
            Some(other) => field(&other.to_string(), buffer),
        }
    }
    buffer.push(b'\n');
    Ok(())
}

/// Adds the header row.
pub(crate) fn header(columns: &[String], buffer: &mut Vec<u8>) {
    for (index, name) in columns.iter().enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        field(name, buffer);
    }
    buffer.push(b'\n');
}

/// RFC 4180 §2: quoted where it must be.
fn field(text: &str, buffer: &mut Vec<u8>) {
    if !text.contains([',', '"', '\r', '\n']) {
        buffer.extend_from_slice(text.as_bytes());
        return;
    }
    buffer.push(b'"');
    buffer.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    buffer.push(b'"');
}

/// The columns in a header row that [`header`] or another program wrote.
pub(crate) fn read_header(bytes: &[u8]) -> Option<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut text, mut ends) = (vec![0; bytes.len() + 1], vec![0; bytes.len() + 1]);
    let (result, _, _, count) = reader.read_record(bytes, &mut text, &mut ends);
    if !matches!(result, csv_core::ReadRecordResult::Record) {
        return None;
    }
    let mut start = 0;
    let name = |end: &usize| {
        let name = String::from_utf8(text[start..*end].to_vec()).ok();
        start = *end;
        name
    };
    ends[..count].iter().map(name).collect()
}
