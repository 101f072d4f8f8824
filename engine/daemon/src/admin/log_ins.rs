//! `/api/v1/connections/NAME/log-in`: a human logs in for a connection. The answer is a stream of lines: what to
//! open or type, and what became of it. Whoever leaves ends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use karez_api::{Fault, Json};
use karez_connectors::net::login::{Account, DeviceLogin, OAuthAccount, Outcome};
use karez_connectors::net::spec::Grant;
use karez_connectors::net::{Connection, Connections, error_name};
use serde_json::json;
use tokio::sync::mpsc;

use super::Admin;
use super::api::{failed, missing, ok};
use super::connections::no_connection;
use super::handler::whole;
use crate::fleet::Fleet;
use crate::ingress::{CALLBACK, is_about_log_ins, start_url};
use crate::server::{Payload, error};

/// How often the outcome is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// Begins a log-in; `query` may say `device` (a code is shown), `any` (another account than before is fine), and
/// `loopback=PORT` (whoever asks passes on what a browser wants of that port of their machine).
pub(super) async fn begin(admin: &Admin, name: &str, query: &str) -> Response<Payload> {
    let says = |word: &str| query.split('&').any(|part| part == word);
    let account = if says("any") { Account::Any } else { Account::Same };
    let connection = match open(&admin.fleet, name) {
        Ok(connection) => connection,
        Err(refusal) => return *refusal,
    };
    let Some(of) = connection.account() else {
        let message = format!("connection {name} has no log-in: its credentials stand in its file");
        return whole(error(StatusCode::CONFLICT, "no_log_in", &message));
    };
    let way = way(admin, &of, query);
    let log_in = LogIn { fleet: Arc::clone(&admin.fleet), connection, of, account };
    match log_in.of.grant() {
        Grant::DeviceCode => log_in.device().await,
        Grant::AuthorizationCode if says("device") => log_in.device().await,
        Grant::AuthorizationCode => match way {
            Some((base, redirect_url)) => log_in.browser(&base, &redirect_url),
            None => {
                let message =
                    "this run has no listener that a browser could come back to; use --loopback or --device";
                whole(error(StatusCode::CONFLICT, "no_listener", message))
            }
        },
        _ => {
            let message = format!("connection {name} gets its tokens by itself: nobody has to log in");
            whole(error(StatusCode::CONFLICT, "no_log_in", &message))
        }
    }
}

fn open(fleet: &Fleet, name: &str) -> Result<Arc<Connection>, Box<Response<Payload>>> {
    let defined = fleet.far_ends();
    let checked = defined.get(name).ok_or_else(|| Box::new(no_connection(fleet, name)))?;
    fleet.connections.open(checked).map_err(|fault| Box::new(failed(&fault.to_string())))
}

/// Who logs in where.
struct LogIn {
    fleet: Arc<Fleet>,
    connection: Arc<Connection>,
    of: OAuthAccount,
    account: Account,
}

impl LogIn {
    async fn device(self) -> Response<Payload> {
        let login = match self.fleet.connections.logins().device(&self.of, self.account).await {
            Ok(login) => login,
            Err(fault) => return refused(&fault),
        };
        lines(|to| async move {
            if send(&to, &shown(&login)).await {
                let told = match login.wait().await {
                    Ok(done) => {
                        self.go_on().await;
                        json!({"done": done})
                    }
                    Err(fault) => json!({"error": fault.message()}),
                };
                send(&to, &told).await;
            }
        })
    }

    fn browser(self, base: &str, redirect_url: &str) -> Response<Payload> {
        let logins = self.fleet.connections.logins();
        let invitation = match logins.invite(&self.of, redirect_url, self.account) {
            Ok(invitation) => invitation,
            Err(fault) => return refused(&fault),
        };
        let url = start_url(base, invitation.ticket.expose());
        let begun = json!({"url": url, "expires_in": invitation.expires_in.as_secs()});
        lines(|to| async move {
            if !send(&to, &begun).await {
                return;
            }
            let told = match outcome(&self.fleet.connections, invitation.ticket.expose(), &to).await {
                Outcome::Done(done) => {
                    self.go_on().await;
                    json!({"done": done})
                }
                Outcome::Failed { why } => json!({"error": why}),
                Outcome::Waiting | Outcome::Unknown => json!({"error": "nobody logged in within 10 minutes"}),
            };
            send(&to, &told).await;
        })
    }

    /// What was learnt as somebody else counts no more, and records that wait for the log-in need not wait any longer.
    async fn go_on(&self) {
        self.connection.forget().await;
        for running in self.fleet.pipelines().values() {
            running.pipeline.unblock().await;
        }
    }
}

fn shown(login: &DeviceLogin) -> Json {
    json!({
        "code": login.user_code, "url": login.verification_url, "complete_url": login.complete_url,
        "expires_in": login.expires_in.as_secs(),
    })
}

/// Where the browser begins, and where it comes back to.
fn way(admin: &Admin, of: &OAuthAccount, query: &str) -> Option<(String, String)> {
    let port = query.split('&').find_map(|part| part.strip_prefix("loopback=")?.parse::<u16>().ok());
    if let Some(port) = port {
        // A native app (RFC 8252 §7.3): what the file says of it is about the listener of webhooks.
        let base = format!("http://127.0.0.1:{port}");
        let redirect_url = format!("{base}{CALLBACK}");
        return Some((base, redirect_url));
    }
    let base = Some(admin.public_url.clone()).filter(|base| !base.is_empty())?;
    let redirect_url = of.redirect_url().map_or_else(|| format!("{base}{CALLBACK}"), str::to_owned);
    Some((base, redirect_url))
}

/// What a browser asked of whoever began a log-in on another machine.
pub(super) async fn passed_on(admin: &Admin, head: &Parts, path: &str) -> Response<Payload> {
    let path = format!("/{path}");
    match is_about_log_ins(&path) {
        true => whole(admin.ingress.log_in(head.clone(), path).await),
        false => missing("no such page"),
    }
}

/// Waits for the browser, as long as whoever asked does.
async fn outcome(connections: &Connections, ticket: &str, to: &mpsc::Sender<Bytes>) -> Outcome {
    loop {
        match connections.logins().outcome(ticket) {
            Outcome::Waiting => {}
            outcome => return outcome,
        }
        tokio::select! {
            () = to.closed() => return Outcome::Unknown,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Tells the far end that its tokens are not needed any more, and removes them.
pub(super) async fn end(fleet: &Fleet, name: &str) -> Response<Payload> {
    let connection = match open(fleet, name) {
        Ok(connection) => connection,
        Err(refusal) => return *refusal,
    };
    let Some(of) = connection.account() else {
        let message = format!("connection {name} has no log-in to end");
        return whole(error(StatusCode::CONFLICT, "no_log_in", &message));
    };
    match of.log_out().await {
        Ok(left) => {
            connection.forget().await;
            ok(&json!({"removed": name, "not_revoked": left.map(|fault| fault.message().to_owned())}))
        }
        Err(fault) => refused(&fault),
    }
}

fn refused(fault: &Fault) -> Response<Payload> {
    whole(error(StatusCode::BAD_GATEWAY, error_name(fault.class()), fault.message()))
}

fn lines<W: Future<Output = ()> + Send + 'static>(
    write: impl FnOnce(mpsc::Sender<Bytes>) -> W,
) -> Response<Payload> {
    let mut response = Response::new(Payload::stream(write));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Whether anybody still listens.
async fn send(to: &mpsc::Sender<Bytes>, line: &Json) -> bool {
    to.send(format!("{line}\n").into()).await.is_ok()
}
