//! The helpers of templates. Each is a pure function of its arguments; none knows files, environment or network.

use base64::Engine as _;
use handlebars::{
    Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson,
};
use hmac::{Hmac, KeyInit, Mac};
use karez_api::Json;
use sha2::{Digest, Sha256, Sha512};

use super::dates;
use super::print::{MAX_TEXT, percent_encode};
use crate::expr::number::{equal, less};

/// A helper as the table knows it.
pub(crate) struct HelperSpec {
    pub(crate) name: &'static str,
    /// How many arguments it takes, at least and at most.
    pub(crate) arguments: (usize, usize),
    /// The `name=value` options it knows.
    pub(crate) options: &'static [&'static str],
    /// Yields nothing for "missing", which printing refuses and `default` replaces.
    pub(crate) run: fn(&Arguments<'_, '_>) -> Result<Option<Json>, String>,
}

/// All helpers but `now`, `uuid` and the blocks.
pub(crate) const HELPERS: &[HelperSpec] = &[
    HelperSpec { name: "date", arguments: (2, 2), options: &["tz", "unit"], run: date },
    HelperSpec {
        name: "lower",
        arguments: (1, 1),
        options: &[],
        run: |a| Ok(Some(a.text(0)?.to_lowercase().into())),
    },
    HelperSpec {
        name: "upper",
        arguments: (1, 1),
        options: &[],
        run: |a| Ok(Some(a.text(0)?.to_uppercase().into())),
    },
    HelperSpec { name: "trim", arguments: (1, 1), options: &[], run: |a| Ok(Some(a.text(0)?.trim().into())) },
    HelperSpec { name: "replace", arguments: (3, 3), options: &[], run: replace },
    HelperSpec {
        name: "json",
        arguments: (1, 1),
        options: &[],
        run: |a| Ok(Some(a.required(0)?.to_string().into())),
    },
    HelperSpec { name: "default", arguments: (2, 2), options: &[], run: default },
    HelperSpec { name: "url", arguments: (1, 1), options: &[], run: url },
    HelperSpec { name: "base64", arguments: (1, 1), options: &[], run: base64 },
    HelperSpec {
        name: "sha256",
        arguments: (1, 1),
        options: &[],
        run: |a| Ok(Some(hex::encode(Sha256::digest(a.text(0)?)).into())),
    },
    HelperSpec { name: "hmac", arguments: (1, 1), options: &["key", "algorithm"], run: hmac },
    HelperSpec { name: "lookup", arguments: (2, 2), options: &[], run: lookup },
    HelperSpec { name: "len", arguments: (1, 1), options: &[], run: len },
    HelperSpec { name: "eq", arguments: (2, 2), options: &[], run: |a| a.compare(equal) },
    HelperSpec { name: "ne", arguments: (2, 2), options: &[], run: |a| a.compare(|x, y| !equal(x, y)) },
    HelperSpec { name: "lt", arguments: (2, 2), options: &[], run: |a| a.compare(less) },
    HelperSpec {
        name: "lte",
        arguments: (2, 2),
        options: &[],
        run: |a| a.compare(|x, y| less(x, y) || equal(x, y)),
    },
    HelperSpec { name: "gt", arguments: (2, 2), options: &[], run: |a| a.compare(|x, y| less(y, x)) },
    HelperSpec {
        name: "gte",
        arguments: (2, 2),
        options: &[],
        run: |a| a.compare(|x, y| less(y, x) || equal(x, y)),
    },
    HelperSpec {
        name: "and",
        arguments: (2, 16),
        options: &[],
        run: |a| Ok(Some(a.all().all(truthy).into())),
    },
    HelperSpec {
        name: "or",
        arguments: (2, 16),
        options: &[],
        run: |a| Ok(Some(a.all().any(truthy).into())),
    },
    HelperSpec {
        name: "not",
        arguments: (1, 1),
        options: &[],
        run: |a| Ok(Some((!a.all().any(truthy)).into())),
    },
];

/// What a helper was called with.
pub(crate) struct Arguments<'a, 'rc>(&'a Helper<'rc>);

impl Arguments<'_, '_> {
    fn optional(&self, index: usize) -> Option<&Json> {
        self.0.param(index).filter(|argument| !argument.is_value_missing()).map(|argument| argument.value())
    }

    fn required(&self, index: usize) -> Result<&Json, String> {
        self.optional(index).ok_or_else(|| {
            match self.0.param(index).and_then(|argument| argument.relative_path()) {
                Some(name) => format!("field {name} is missing"),
                None => format!("what {} takes is missing", self.0.name()),
            }
        })
    }

    fn text(&self, index: usize) -> Result<String, String> {
        match self.required(index)? {
            Json::String(text) => Ok(text.clone()),
            Json::Null => Ok(String::new()),
            value @ (Json::Bool(_) | Json::Number(_)) => Ok(value.to_string()),
            Json::Array(_) | Json::Object(_) => {
                Err(format!("{} takes text, not an array or object; use (json …)", self.0.name()))
            }
        }
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.0.hash_get(name).and_then(|option| option.value().as_str())
    }

    /// Every argument, a missing one as null.
    fn all(&self) -> impl Iterator<Item = &Json> {
        self.0.params().iter().map(|argument| argument.value())
    }

    fn compare(&self, holds: fn(&Json, &Json) -> bool) -> Result<Option<Json>, String> {
        Ok(Some(holds(self.required(0)?, self.required(1)?).into()))
    }
}

/// As `{{#if}}` sees it.
fn truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

fn date(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let at = dates::moment(arguments.required(0)?, arguments.option("unit").unwrap_or("s"))?;
    let zone = dates::zone(arguments.option("tz").unwrap_or("UTC"))?;
    let pattern = arguments.text(1)?;
    dates::format(&jiff::ZonedDateTime::new(at, zone), &pattern).map(|text| Some(text.into()))
}

fn replace(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let (text, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    if from.is_empty() {
        return Err("replace needs something to look for".to_owned());
    }
    let growth = text.matches(&from).count().saturating_mul(to.len());
    if text.len().saturating_add(growth) > MAX_TEXT {
        return Err("replace would make a text that is too long".to_owned());
    }
    Ok(Some(text.replace(&from, &to).into()))
}

fn default(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let given = arguments.optional(0).filter(|value| !value.is_null());
    Ok(given.or_else(|| arguments.optional(1)).cloned())
}

fn url(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let mut encoded = String::new();
    percent_encode(&arguments.text(0)?, &mut encoded);
    Ok(Some(encoded.into()))
}

fn base64(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    Ok(Some(base64::engine::general_purpose::STANDARD.encode(arguments.text(0)?).into()))
}

/// `{{hmac x key="…" algorithm="sha256"}}`, in hexadecimal digits.
fn hmac(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let text = arguments.text(0)?;
    let key = arguments.option("key").ok_or("hmac needs key=\"…\"")?;
    let digest = match arguments.option("algorithm").unwrap_or("sha256") {
        "sha256" => Hmac::<Sha256>::new_from_slice(key.as_bytes())
            .map(|mac| hex::encode(mac.chain_update(text).finalize().into_bytes())),
        "sha512" => Hmac::<Sha512>::new_from_slice(key.as_bytes())
            .map(|mac| hex::encode(mac.chain_update(text).finalize().into_bytes())),
        other => return Err(format!("unknown algorithm {other:?}; use sha256 or sha512")),
    };
    digest.map(|digest| Some(digest.into())).map_err(|error| error.to_string())
}

fn lookup(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    let (Some(within), Some(key)) = (arguments.optional(0), arguments.optional(1)) else {
        return Ok(None);
    };
    Ok(match (within, key) {
        (Json::Object(fields), Json::String(key)) => fields.get(key).cloned(),
        (Json::Array(items), Json::Number(index)) => {
            index.as_u64().and_then(|index| items.get(usize::try_from(index).ok()?)).cloned()
        }
        _ => None,
    })
}

fn len(arguments: &Arguments<'_, '_>) -> Result<Option<Json>, String> {
    Ok(Some(match arguments.required(0)? {
        Json::String(text) => text.chars().count().into(),
        Json::Array(items) => items.len().into(),
        Json::Object(fields) => fields.len().into(),
        _ => return Err("len takes text, an array or an object".to_owned()),
    }))
}

impl HelperDef for &'static HelperSpec {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        match (self.run)(&Arguments(helper)) {
            Ok(value) => Ok(value.map_or(ScopedJson::Missing, ScopedJson::Derived)),
            Err(message) => Err(RenderErrorReason::Other(message).into()),
        }
    }
}
