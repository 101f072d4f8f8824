//! Connecting, and what the broker's errors mean.

use std::time::Duration;

use karez_api::{Checker, Class, Clock, Fault, Path, Problem, Secret};
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Error, ErrorKind};

/// Seconds between heartbeats where the URL does not say (`?heartbeat=`).
const HEARTBEAT: u16 = 10;
/// Milliseconds to connect where the URL does not say (`?connection_timeout=`).
const CONNECT_TIMEOUT: u64 = 10_000;

/// Longest short string of the protocol, in bytes.
pub(crate) const SHORT: usize = 255;

/// Reads the URL; its password reaches no message.
pub(crate) fn checked_url(cx: &Checker<'_>, url: &Secret) -> Option<AMQPUri> {
    let at = Path::root().field("url");
    let named = names_host(url.expose());
    let Some(mut uri) = url.expose().parse::<AMQPUri>().ok().filter(|_| named) else {
        cx.report(
            Problem::error("bad-url", at, "the url cannot be read")
                .help("like amqp://user:password@host:5672/%2f, or amqps:// for TLS; %2f is the default virtual host; name the host rather than its IPv6 address"),
        );
        return None;
    };
    if uri.vhost.is_empty() {
        cx.scope.warn(
            Problem::warning("empty-vhost", cx.at.join(&at), "a `/` at the end names the virtual host \"\"")
                .help("leave it out, or write /%2f, for the default virtual host"),
        );
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Some(uri)
}

/// The parser takes an IPv6 address for a missing host, and that for localhost.
fn names_host(url: &str) -> bool {
    let authority = url.split(['/', '?']).nth(2).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    !host.is_empty() && !host.starts_with([':', '['])
}

/// The library does not keep the URL's `connection_timeout` by itself.
///
/// # Errors
/// Class auth for refused credentials, connection where nobody answers in time, else service.
pub(crate) async fn connect(uri: &AMQPUri, name: String, clock: &dyn Clock) -> Result<Connection, Fault> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let what = format!("cannot connect to {}:{}", uri.authority.host, uri.authority.port);
    let within = Duration::from_millis(uri.query.connection_timeout.unwrap_or(CONNECT_TIMEOUT));
    tokio::select! {
        connected = Connection::connect_uri(uri.clone(), properties) => {
            connected.map_err(|error| fault(&what, &error))
        }
        () = clock.sleep(within) => {
            let message = format!("{what}: no answer within {within:?}");
            Err(Fault::new(Class::Connection, "timeout", message))
        }
    }
}

/// An error of the library or the broker, classified.
pub(crate) fn fault(what: &str, error: &Error) -> Fault {
    let ErrorKind::ProtocolError(told) = error.kind() else {
        return Fault::connection(format!("{what}: {error}"));
    };
    let id = told.get_id();
    let class = match id {
        320 => Class::Connection,
        403 => Class::Auth,
        _ => Class::Service,
    };
    Fault::new(class, format!("amqp_{id}"), format!("{what}: {}", told.get_message()))
}

/// As [`fault`], for declaring and binding: a refusal (406) is the file's fault.
pub(crate) fn refused(what: &str, error: &Error) -> Fault {
    let fault = fault(what, error);
    match fault.code() {
        "amqp_406" => Fault::validation("amqp_406", fault.message()),
        _ => fault,
    }
}

/// A name of the protocol: at most 255 bytes.
pub(crate) fn name(cx: &Checker<'_>, at: &Path, text: &str) -> Option<ShortString> {
    let short = ShortString::try_new(text);
    if short.is_err() {
        cx.report(Problem::error("too-long", at.clone(), "AMQP names have at most 255 bytes"));
    }
    short.ok()
}
