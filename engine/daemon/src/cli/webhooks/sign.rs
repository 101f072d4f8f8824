//! `karez webhooks sign`.

use anyhow::Result;
use karez_api::Secret;
use karez_connectors::webhooks::{Call, Description, Trial};

use super::super::{Exit, Usage};
use super::{Given, contents, curl};
use crate::console::{self, say};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    given: Given,
    /// The private key of a provider that signs with one: PKCS#8 in PEM, as `openssl genpkey` writes it
    #[arg(long, value_name = "TEXT|@FILE")]
    key: Option<String>,
    /// The address as the provider has it, with a query if there is one; some sign it
    /// [default: /webhooks/PROVIDER of the daemon on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print a command that sends the request
    #[arg(long)]
    curl: bool,
    /// Where that command sends it, if not to the address itself
    #[arg(long, value_name = "URL", requires = "curl")]
    to: Option<String>,
    /// Print the request as it would go over the wire, as `karez webhooks verify` reads it
    #[arg(long, conflicts_with = "curl")]
    raw: bool,
}

impl Sign {
    pub(super) fn perform(&self, settings: &Settings) -> Result<Exit> {
        let mut trial = self.given.trial(settings)?;
        let known = trial.provider.description();
        self.take_key(&mut trial, &known)?;
        let now = self.given.now();
        let here = || format!("http://{}/webhooks/{}", settings.listen, known.name);
        let body = self.given.body()?.map(Into::into);
        let call = Call {
            method: self.given.method.clone().unwrap_or_else(|| "POST".into()),
            url: self.url.clone().unwrap_or_else(here),
            headers: self.given.header.clone(),
            body: body.unwrap_or_else(|| trial.sample(now)),
        };
        if known.takes.is_none() {
            say(&format!(
                "{} publishes its keys: a daemon believes no others, `karez webhooks verify --key` does",
                known.title
            ));
        }
        if known.signs_address && self.url.is_none() {
            let address = &call.url;
            say(&format!(
                "{} signs the address: --url is the public_url of the pipeline; this is for {address}",
                known.title
            ));
        }
        let call = trial.introduced(call, now);
        let signed = trial.sign(&call, now).map_err(Usage)?;
        match (self.curl, self.raw) {
            (true, _) => console::line(&curl::command(&signed, &self.target(&signed.url)))?,
            (_, true) => console::bytes(&raw(&signed))?,
            _ => self.headers(&call, &signed)?,
        }
        Ok(Exit::Fine)
    }

    fn take_key(&self, trial: &mut Trial, known: &Description) -> Result<(), Usage> {
        let name = known.name;
        let text =
            self.key.as_deref().map(contents).transpose().map_err(|error| Usage(format!("{error:#}")))?;
        let by_secret = known.takes == Some("secret");
        match (by_secret, text) {
            (false, Some(pem)) => {
                trial.private_key = Some(Secret::new(String::from_utf8_lossy(&pem)));
                Ok(())
            }
            (false, None) => Err(Usage(format!(
                "{name} signs with a private key of its own ({}): make one with `openssl genpkey`, give it with \
                 --key @private.pem, and the pipeline the other half, `openssl pkey -in private.pem -pubout`",
                known.scheme
            ))),
            (true, Some(_)) => Err(Usage(format!("{name} signs with a secret: --secret, not --key"))),
            (true, None) if trial.secrets.is_empty() => {
                Err(Usage(format!("{name} signs with a secret: give --secret or --secret-env")))
            }
            (true, None) => Ok(()),
        }
    }

    /// With the query that was signed.
    fn target(&self, url: &str) -> String {
        match (&self.to, url.split_once('?')) {
            (None, _) => url.to_owned(),
            (Some(to), Some((_, query))) if !to.contains('?') => format!("{to}?{query}"),
            (Some(to), _) => to.clone(),
        }
    }

    fn headers(&self, call: &Call, signed: &Call) -> Result<()> {
        for (name, value) in &signed.headers {
            console::line(&format!("{name}: {value}"))?;
        }
        if signed.body != call.body {
            say("the signature stands in the body too: --raw and --curl print it");
        } else if self.given.body.is_none() {
            say(&format!("for the body {}", String::from_utf8_lossy(&signed.body)));
        }
        if signed.url != call.url {
            say(&format!("the address is {} now", signed.url));
        }
        Ok(())
    }
}

fn raw(call: &Call) -> Vec<u8> {
    let (host, target) = match call.url.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", &*call.url),
    };
    let slash = if target.starts_with('/') { "" } else { "/" };
    let mut head = format!("{} {slash}{target} HTTP/1.1\r\nhost: {host}\r\n", call.method);
    for (name, value) in &call.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", call.body.len());
    [head.as_bytes(), &call.body].concat()
}
