//! A value in sled: a version byte, a checksum over key and all that follows, the generation, the bytes.

use bytes::Bytes;
use karez_api::Stored;

use crate::codec::Reader;

const VERSION: u8 = 1;

pub(super) fn encode(key: &[u8], generation: u64, value: &[u8]) -> Vec<u8> {
    let generation = generation.to_le_bytes();
    let mut out = Vec::with_capacity(13 + value.len());
    out.push(VERSION);
    out.extend_from_slice(&check(key, &generation, value).to_le_bytes());
    out.extend_from_slice(&generation);
    out.extend_from_slice(value);
    out
}

/// `None` where it is damaged or stands under another key.
pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Stored> {
    let mut reader = Reader::new(bytes);
    let (version, said, generation) = (reader.u8()?, reader.u32()?, reader.u64()?);
    let value = reader.rest();
    let fits = version == VERSION && said == check(key, &generation.to_le_bytes(), value);
    fits.then(|| Stored { generation, value: Bytes::copy_from_slice(value) })
}

fn check(key: &[u8], generation: &[u8], value: &[u8]) -> u32 {
    let check = crc32c::crc32c(&(key.len() as u64).to_le_bytes());
    [key, generation, value].into_iter().fold(check, crc32c::crc32c_append)
}
