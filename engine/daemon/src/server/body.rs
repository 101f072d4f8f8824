//! Reads a request's body within its bounds: size, and a deadline that moves with progress.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::budget::Charge;

/// A body that makes no progress is given up after this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Each of so many bytes buys another second, up to [`LONGEST`].
const BYTES_PER_SECOND: usize = 16 << 10;
const LONGEST: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge,
    TooSlow,
    /// The bodies of other requests take all memory that there is for bodies.
    NoRoom,
    /// The client went away or broke the framing.
    Broken,
}

/// Whether the client announced more than `max` bytes: known before anything is read.
fn announces_more_than(body: &Incoming, max: usize) -> bool {
    body.size_hint().lower() > max as u64
}

/// The whole body, at most `max` bytes.
///
/// # Errors
/// Larger than `max` (told from `Content-Length` before reading where there is one), slower than
/// the deadline allows, more than `charge` may take, or broken off.
pub(crate) async fn read(mut body: Incoming, max: usize, charge: &mut Charge) -> Result<Bytes, BodyFault> {
    if announces_more_than(&body, max) {
        return Err(BodyFault::TooLarge);
    }
    let start = Instant::now();
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let received = whole.len() + joined.len();
        if received > max {
            return Err(BodyFault::TooLarge);
        }
        if body.is_end_stream() {
            break;
        }
        let frame = match timeout_at(start + allowance(received), body.frame()).await {
            Err(_) => return Err(BodyFault::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyFault::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if !charge.take(data.len()) {
            return Err(BodyFault::NoRoom);
        }
        // Most bodies come in one piece, which is passed on as it is.
        if received == 0 {
            whole = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}

/// How long after the start `received` bytes keep a body alive.
fn allowance(received: usize) -> Duration {
    let earned = Duration::from_secs((received / BYTES_PER_SECOND) as u64);
    (PATIENCE + earned).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_buys_time_up_to_a_bound() {
        assert_eq!(allowance(0), Duration::from_secs(10));
        assert_eq!(allowance(100), Duration::from_secs(10));
        assert_eq!(allowance(5 * (16 << 10)), Duration::from_secs(15));
        assert_eq!(allowance(64 << 20), Duration::from_secs(30));
    }
}
