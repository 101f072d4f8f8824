//! Where a value stands in a request, ready to be put there.

use http::{HeaderName, HeaderValue, header};
use karez_api::{Fault, Path, Problem};

use crate::Request;
use crate::spec::Place;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spot {
    Header(HeaderName),
    Query(String),
    Cookie(String),
}

impl Spot {
    /// # Errors
    /// What is wrong with the name, as a fragment.
    pub(crate) fn read(place: &Place) -> Result<Self, String> {
        match place {
            Place::Header(name) => {
                let read = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
                Ok(Self::Header(read))
            }
            Place::Query(name) if name.is_empty() => Err("a parameter of the query needs a name".into()),
            Place::Query(name) => Ok(Self::Query(name.clone())),
            Place::Cookie(name) if !is_cookie_name(name) => {
                Err(format!("{name:?} is not the name of a cookie"))
            }
            Place::Cookie(name) => Ok(Self::Cookie(name.clone())),
        }
    }

    /// Puts a value there; what the request had there goes.
    ///
    /// # Errors
    /// Class auth: the value has characters that cannot stand there.
    pub(crate) fn put(&self, request: &mut Request, value: &str) -> Result<(), Fault> {
        match self {
            Self::Header(name) => {
                request.headers.insert(name, sensitive(value).map_err(Fault::auth)?);
            }
            Self::Query(name) => put_in_query(request, name, value),
            Self::Cookie(name) => put_cookie(request, name, value).map_err(Fault::auth)?,
        }
        Ok(())
    }

    /// # Errors
    /// A fragment: the value has characters that cannot stand there.
    pub(crate) fn takes(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Header(_) => sensitive(value).map(drop),
            Self::Query(_) => Ok(()),
            Self::Cookie(_) => cookie_value(value),
        }
    }
}

fn is_cookie_name(name: &str) -> bool {
    // A token of RFC 9110 §5.6.2, as the names of headers are.
    name.parse::<HeaderName>().is_ok()
}

fn cookie_value(value: &str) -> Result<(), String> {
    match value.contains([';', ',']) || value.chars().any(|c| c.is_ascii_control() || c == ' ') {
        true => Err("the credentials have characters that cannot stand in a cookie".into()),
        false => sensitive(value).map(drop),
    }
}

/// The value of a header that nothing shows.
///
/// # Errors
/// A fragment: it has characters that cannot stand in a header.
pub(crate) fn sensitive(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| "the credentials have characters that cannot stand in a header, like an end of line")?;
    value.set_sensitive(true);
    Ok(value)
}

fn put_in_query(request: &mut Request, name: &str, value: &str) {
    let others: Vec<(String, String)> = request
        .url
        .query_pairs()
        .filter(|(one, _)| one != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let had = request.url.query_pairs().count();
    // A query that stays as it was written is not written anew.
    if others.len() != had {
        request.url.query_pairs_mut().clear().extend_pairs(others);
    }
    request.url.query_pairs_mut().append_pair(name, value);
}

fn put_cookie(request: &mut Request, name: &str, value: &str) -> Result<(), String> {
    cookie_value(value)?;
    let mut cookies = String::new();
    for line in request.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()) {
        let others = line.split(';').map(str::trim).filter(|pair| {
            !pair.is_empty() && pair.split_once('=').is_none_or(|(one, _)| one.trim() != name)
        });
        for pair in others {
            cookies.push_str(pair);
            cookies.push_str("; ");
        }
    }
    cookies.push_str(name);
    cookies.push('=');
    cookies.push_str(value);
    request.headers.insert(header::COOKIE, sensitive(&cookies)?);
    Ok(())
}

/// Tells of a place that cannot be.
pub(crate) fn check(place: &Place, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = Spot::read(place) {
        let field = match place {
            Place::Header(_) => "header",
            Place::Query(_) => "query",
            Place::Cookie(_) => "cookie",
        };
        problems.push(Problem::error("bad-name", at.field(field), what));
    }
}
