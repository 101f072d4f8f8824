//! What is answered to a challenge (RFC 7616 §3.4). Pure: all that is random or counted comes in.

use md5::{Digest as _, Md5};

use super::challenge::{Algorithm, Challenge, Quality};
use crate::jose::Hash;

/// What a response is about.
pub(super) struct Asked<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) method: &'a str,
    /// Path and query, as they are sent.
    pub(super) uri: &'a str,
    pub(super) body: &'a [u8],
    /// Ours.
    pub(super) cnonce: &'a str,
    /// Requests with this nonce, this one included.
    pub(super) count: u32,
}

impl Challenge {
    /// The value of `Authorization`.
    pub(super) fn answer(&self, asked: &Asked<'_>) -> String {
        let mut parts = vec![
            self.name_of_user(asked),
            format!("realm=\"{}\"", quoted(&self.realm)),
            format!("nonce=\"{}\"", quoted(&self.nonce)),
            format!("uri=\"{}\"", quoted(asked.uri)),
            format!("response=\"{}\"", self.response(asked)),
        ];
        if let Some(algorithm) = &self.algorithm_text {
            parts.push(format!("algorithm={algorithm}"));
        }
        if let Some(quality) = self.quality.name() {
            parts.push(format!("qop={quality}"));
            parts.push(format!("nc={:08x}", asked.count));
        }
        if self.session || self.quality != Quality::None {
            parts.push(format!("cnonce=\"{}\"", quoted(asked.cnonce)));
        }
        if let Some(opaque) = &self.opaque {
            parts.push(format!("opaque=\"{}\"", quoted(opaque)));
        }
        if self.userhash {
            parts.push("userhash=true".into());
        }
        format!("Digest {}", parts.join(", "))
    }

    fn response(&self, asked: &Asked<'_>) -> String {
        let hash = |text: &str| self.algorithm.hex(text.as_bytes());
        let key = hash(&format!("{}:{}:{}", asked.username, self.realm, asked.password));
        let key = match self.session {
            true => hash(&format!("{key}:{}:{}", self.nonce, asked.cnonce)),
            false => key,
        };
        let what = match self.quality {
            Quality::AuthInt => {
                format!("{}:{}:{}", asked.method, asked.uri, self.algorithm.hex(asked.body))
            }
            Quality::Auth | Quality::None => format!("{}:{}", asked.method, asked.uri),
        };
        let what = hash(&what);
        match self.quality.name() {
            None => hash(&format!("{key}:{}:{what}", self.nonce)),
            Some(quality) => {
                let count = format!("{:08x}", asked.count);
                hash(&format!("{key}:{}:{count}:{}:{quality}:{what}", self.nonce, asked.cnonce))
            }
        }
    }

    /// Hashed (RFC 7616 §3.4.4), or in UTF-8 as RFC 5987 writes it where a quoted string cannot hold it.
    fn name_of_user(&self, asked: &Asked<'_>) -> String {
        let name = asked.username;
        match (self.userhash, name.is_ascii()) {
            (true, _) => {
                format!("username=\"{}\"", self.algorithm.hex(format!("{name}:{}", self.realm).as_bytes()))
            }
            (false, true) => format!("username=\"{}\"", quoted(name)),
            (false, false) => format!("username*=UTF-8''{}", crate::auth::encode::strict(name)),
        }
    }
}

impl Quality {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }
}

impl Algorithm {
    fn hex(self, message: &[u8]) -> String {
        match self {
            Self::Md5 => hex::encode(Md5::digest(message)),
            Self::Sha256 => hex::encode(Hash::Sha256.digest(message)),
        }
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
