//! `karez webhooks`: what is known of providers, and single requests of theirs, signed and judged. Nothing is
//! sent, and no daemon is asked.

mod capture;
mod catalogue;
mod curl;
mod sign;
mod verify;

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use karez_api::{Clock, Millis, Secret};
use karez_connectors::webhooks::{Provider, Trial, find, names};
use karez_runtime::SystemClock;

use super::{Exit, Usage};
use crate::console::Format;
use crate::diagnostics::unknown;
use crate::load;
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Webhooks {
    /// List the providers that `verify: {provider: NAME}` knows
    List {
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Show everything that is known of a provider, and what to write in a pipeline
    Show {
        /// As `list` shows it
        provider: String,
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Sign a request as a provider would, and print its headers
    ///
    /// `karez webhooks sign stripe --secret '${STRIPE_SECRET}' --curl | sh` sends one to the daemon on this machine.
    Sign(sign::Sign),
    /// Judge a captured request as a source would, and say what may be wrong
    ///
    /// Reads it as it came over the wire (request line, headers, an empty line, body) from a file or standard
    /// input, or from --header and --body. Ends with 1 if it would be refused.
    Verify(verify::Verify),
}

pub(super) fn perform(command: &Webhooks, settings: &Settings) -> Result<Exit> {
    match command {
        Webhooks::List { format } => catalogue::list(*format),
        Webhooks::Show { provider, format } => catalogue::show(known(provider)?, *format),
        Webhooks::Sign(sign) => sign.perform(settings),
        Webhooks::Verify(verify) => verify.perform(settings),
    }
}

fn known(name: &str) -> Result<&'static Provider> {
    let message = || Usage(unknown(&format!("{name:?} is no known provider"), name, &names()));
    Ok(find(name).with_context(message).map_err(|error| Usage(error.to_string()))?)
}

/// What both `sign` and `verify` need.
#[derive(Debug, clap::Args)]
struct Given {
    /// As `karez webhooks list` shows it
    provider: String,
    /// The secret shared with the provider; '${NAME}' is a variable of the environment or of .env, so that the
    /// secret itself stays out of the shell's history. May be given several times
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// The same, by the name of its variable
    #[arg(long, value_name = "NAME")]
    secret_env: Vec<String>,
    /// What else the provider has to be known by, as under `parameters` in a pipeline: NAME=VALUE. May be given several
    /// times, also with one name for a list
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    /// The method of the request [default: POST]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// A header of the request, like 'X-GitHub-Event: push'. May be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The body: text, @FILE, or - for standard input
    #[arg(long, short = 'd', value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    body: Option<String>,
    /// The time that counts as now: 2026-11-24T10:15:00Z, seconds since 1970, or how far from now, like -10m
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    at: Option<At>,
}

/// A moment, or how far it is from now.
#[derive(Debug, Clone, Copy)]
enum At {
    Moment(Millis),
    /// In milliseconds.
    Away(i64),
}

impl Given {
    fn now(&self) -> Millis {
        let now = SystemClock.now();
        match self.at {
            None => now,
            Some(At::Moment(at)) => at,
            Some(At::Away(millis)) => Millis(now.0.saturating_add_signed(millis)),
        }
    }

    fn trial(&self, settings: &Settings) -> Result<Trial> {
        let provider = known(&self.provider)?;
        let paths = &settings.pipelines;
        let given = self.secret.iter().map(|text| {
            match text.strip_prefix("${").and_then(|it| it.strip_suffix('}')) {
                Some(name) => variable(paths, name),
                None => Ok(Secret::new(text)),
            }
        });
        let secrets = given.chain(self.secret_env.iter().map(|name| variable(paths, name)));
        let secrets = secrets.collect::<Result<Vec<_>>>()?;
        if secrets.iter().any(|secret| secret.expose().is_empty()) {
            return Err(Usage("the secret is empty; is the variable that it comes from set?".into()).into());
        }
        let parameters = self.parameter.clone();
        Ok(Trial { provider, secrets, keys: Vec::new(), parameters, private_key: None, verify_token: None })
    }

    fn body(&self) -> Result<Option<Vec<u8>>> {
        self.body.as_deref().map(contents).transpose()
    }
}

fn variable(paths: &[PathBuf], name: &str) -> Result<Secret> {
    let missing = || Usage(format!("the variable {name} is not set, here or in .env"));
    Ok(load::variable(paths, name).map(Secret::new).ok_or_else(missing)?)
}

/// What stands behind a `TEXT|@FILE|-`.
fn contents(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix('@') {
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read {path}")),
        None if text == "-" => standard_input(),
        None => Ok(text.into()),
    }
}

fn standard_input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    Ok(bytes)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn time(text: &str) -> Result<At, String> {
    let away = |text: &str| {
        text.parse::<karez_api::Duration>().ok().and_then(|time| i64::try_from(time.0.as_millis()).ok())
    };
    let moment = |millis: i64| u64::try_from(millis).ok().map(|millis| At::Moment(Millis(millis)));
    let read = match text.as_bytes().first() {
        Some(b'-') => away(&text[1..]).map(|millis| At::Away(-millis)),
        Some(b'+') => away(&text[1..]).map(At::Away),
        _ => match text.parse::<i64>() {
            Ok(seconds) => seconds.checked_mul(1_000).and_then(moment),
            Err(_) => text.parse::<Timestamp>().ok().and_then(|time| moment(time.as_millisecond())),
        },
    };
    read.ok_or_else(|| "write 2026-11-24T10:15:00Z, seconds since 1970, or -10m or +10m".into())
}
