//! What a far end asks for (RFC 7616 §3.3), read from headers that may hold other schemes too.

use http::{HeaderMap, header};

/// What responses are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

/// How much of a request is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quality {
    /// As RFC 2069 had it: no count, and nothing of ours in it.
    None,
    Auth,
    AuthInt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) algorithm: Algorithm,
    /// As it was written, to be given back; nothing where it was not.
    pub(super) algorithm_text: Option<String>,
    /// The key holds the nonces of the first request with it.
    pub(super) session: bool,
    pub(super) quality: Quality,
    /// Only the nonce is too old.
    pub(super) stale: bool,
    /// The name of the user is to be sent hashed.
    pub(super) userhash: bool,
}

impl Challenge {
    /// The strongest that can be answered.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
        let all = lines.flat_map(schemes).filter(|scheme| scheme.name.eq_ignore_ascii_case("digest"));
        // Of equals the first, which the far end likes best.
        all.filter_map(|scheme| Self::of(&scheme)).reduce(|best, one| match one.algorithm > best.algorithm {
            true => one,
            false => best,
        })
    }

    fn of(scheme: &Scheme) -> Option<Self> {
        let text = scheme.get("algorithm");
        let upper = text.map_or_else(|| "MD5".into(), str::to_ascii_uppercase);
        let (name, session) = match upper.strip_suffix("-SESS") {
            Some(name) => (name, true),
            None => (&*upper, false),
        };
        let algorithm = match name {
            "MD5" => Algorithm::Md5,
            "SHA-256" => Algorithm::Sha256,
            _ => return None,
        };
        let offered = |quality: &str| {
            scheme
                .get("qop")
                .is_some_and(|all| all.split(',').any(|one| one.trim().eq_ignore_ascii_case(quality)))
        };
        let quality = match (scheme.get("qop").is_some_and(|all| !all.is_empty()), offered("auth")) {
            (false, _) => Quality::None,
            (true, true) => Quality::Auth,
            (true, false) if offered("auth-int") => Quality::AuthInt,
            (true, false) => return None,
        };
        let is_true = |name| scheme.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Some(Self {
            realm: scheme.get("realm")?.to_owned(),
            nonce: scheme.get("nonce")?.to_owned(),
            opaque: scheme.get("opaque").map(str::to_owned),
            algorithm,
            algorithm_text: text.map(str::to_owned),
            session,
            quality,
            stale: is_true("stale"),
            userhash: is_true("userhash"),
        })
    }
}

/// The nonce that an answer wants to see next (RFC 7616 §3.5).
pub(super) fn next_nonce(headers: &HeaderMap) -> Option<String> {
    let line = headers.get("authentication-info")?.to_str().ok()?;
    let all = schemes(&format!("Digest {line}"));
    all.first()?.get("nextnonce").map(str::to_owned)
}

/// A scheme with its parameters (RFC 9110 §11.3).
struct Scheme {
    name: String,
    params: Vec<(String, String)>,
}

impl Scheme {
    fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

/// The schemes of a line. A comma stands between parameters and between schemes alike: what has `=` behind its first
/// word is a parameter.
fn schemes(line: &str) -> Vec<Scheme> {
    let mut all: Vec<Scheme> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return all;
        }
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        match (value, all.last_mut()) {
            (Some(value), Some(scheme)) if !word.is_empty() => {
                let (value, after) = read_value(value);
                scheme.params.push((word.to_owned(), value));
                rest = after;
            }
            // No name before `=`: skip it.
            (Some(value), _) => rest = value,
            (None, _) => {
                all.push(Scheme { name: word.to_owned(), params: Vec::new() });
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what stands behind it.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::WWW_AUTHENTICATE, line.parse().unwrap())).collect()
    }

    #[test]
    fn the_strongest_of_several_challenges_is_taken() {
        let challenge = Challenge::read(&headers(&[
            r#"Basic realm="a, Digest nonce=b", Digest realm="r\"1", nonce=n1, qop="auth-int, auth", stale=TRUE"#,
            r#"Digest realm="r", nonce="n2", algorithm=SHA-512-256, Digest realm="r", nonce="n3",algorithm=SHA-256-sess ,qop=auth-int,userhash=true,opaque="""#,
        ]))
        .unwrap();
        assert_eq!((&*challenge.nonce, challenge.algorithm), ("n3", Algorithm::Sha256));
        assert!(challenge.session && challenge.userhash && !challenge.stale);
        assert_eq!((challenge.quality, challenge.opaque.as_deref()), (Quality::AuthInt, Some("")));
        let first = Challenge::read(&headers(&[
            r#"Basic realm="a, Digest nonce=b", Digest realm="r\"1", nonce=n1, qop="auth-int, auth", stale=TRUE"#,
        ]))
        .unwrap();
        assert_eq!((&*first.realm, &*first.nonce, first.quality), ("r\"1", "n1", Quality::Auth));
        assert!(first.stale && first.algorithm_text.is_none());
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for line in [
            "",
            "Basic realm=\"x\"",
            "Bearer",
            "Digest",
            "Digest realm=\"r\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1",
            "Digest realm=\"r\", nonce=\"n\", qop=\"token\"",
            "Digest =, =\"",
            "Digest realm=\"r",
        ] {
            assert_eq!(Challenge::read(&headers(&[line])), None, "{line}");
        }
    }
}
