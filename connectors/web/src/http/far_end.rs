//! Where requests go: a named connection of a shared file, or the address that a component names itself.
//! Both are connections to the client: a component's own has nothing but its address.

use std::sync::Arc;

use karez_api::{Checker, Fault, Json, Path, Problem, Shared, suggest};
use karez_net::{Checked, Connection, Connections};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde_json::json;

/// A far end, checked; nothing is open yet.
#[derive(Clone)]
pub(crate) struct FarEnd(Checked);

impl FarEnd {
    /// Looks a connection up; what is wrong with it is reported where it stands.
    pub(crate) fn named(cx: &Checker<'_>, at: &Path, name: &str) -> Option<Self> {
        let Some(settings) = cx.reuse.connection(name) else {
            let known = cx.reuse.names("connections");
            let help = match known.is_empty() {
                true => "no file has `connections:` yet".to_owned(),
                false => {
                    suggest::help(name, known.iter().map(String::as_str), "there are").unwrap_or_default()
                }
            };
            let message = format!("no connection is named {name:?}");
            cx.report(Problem::error("unknown-connection", at.clone(), message).help(help));
            return None;
        };
        let checked = karez_net::check(name, &settings).map_err(|problems| {
            for problem in problems {
                let message = format!("connection {name:?}: {}: {}", problem.at, problem.message);
                cx.report(Problem { at: at.clone(), within: None, message, ..problem });
            }
        });
        let checked = checked.ok()?;
        if checked.spec().url.is_none() {
            let message = format!("connection {name:?} has no url, so a path leads nowhere");
            cx.report(
                Problem::error("bad-connection", at.clone(), message).help("give the connection a `url`"),
            );
            return None;
        }
        Some(Self(checked))
    }

    /// The scheme, host and port that a component names by itself.
    pub(crate) fn of_its_own(cx: &Checker<'_>, at: &Path, origin: &str, private: &[String]) -> Option<Self> {
        let Some(url) = Url::parse(origin).ok().filter(Url::has_host) else {
            cx.report(Problem::error("bad-url", at.clone(), "the url cannot be read as a URL"));
            return None;
        };
        // Credentials in the address are none of its name, which people see.
        let name = url.origin().ascii_serialization();
        // Nobody shares it under a name: what it says of when to come again is for the sink or step that asked, whose
        // `on_error` bounds the wait.
        let mut settings: Json = json!({"url": name, "allow_private": private, "limits": {"headers": false}});
        if !url.username().is_empty() || url.password().is_some() {
            let text = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let password = url.password().map(text).unwrap_or_default();
            settings["auth"] = json!({"basic": {"username": text(url.username()), "password": password}});
        }
        let checked = karez_net::check(&name, &settings).map_err(|problems| {
            for problem in problems {
                cx.report(Problem { at: at.clone(), within: None, ..problem });
            }
        });
        checked.map(Self).ok()
    }

    /// The live connection, which all pipelines share.
    ///
    /// # Errors
    /// Class fatal: certificates or keys cannot be used.
    pub(crate) fn open(&self, shared: &Shared) -> Result<Arc<Connection>, Fault> {
        let connections = shared
            .get::<Connections>()
            .ok_or_else(|| Fault::fatal("this process has no connections").with_code("no_connections"))?;
        connections.open(&self.0)
    }

    /// The same way out, to others.
    pub(crate) fn for_others(&self) -> Self {
        Self(self.0.for_others())
    }

    pub(crate) fn checked(&self) -> &Checked {
        &self.0
    }

    /// Names of query parameters that the connection adds to each request.
    pub(crate) fn parameters(&self) -> Vec<String> {
        self.0.spec().parameters()
    }
}
