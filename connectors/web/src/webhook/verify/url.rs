//! The address that a sender knows a webhook by. Behind a proxy it is not the one that arrives,
//! so the file says it.

/// As it is written: `https://hooks.example.com/webhooks/orders`: no query, no fragment.
#[derive(Debug)]
pub(in super::super) struct PublicUrl(String);

impl PublicUrl {
    /// # Errors
    /// What is wrong with it, as a fragment.
    pub(in super::super) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: ::http::Uri = text.parse().map_err(|_| "it is not an address")?;
        let scheme = uri.scheme_str().unwrap_or_default();
        match scheme == "https" || scheme == "http" {
            false => Err("it does not begin with https://"),
            true if text.contains(['?', '#']) => {
                Err("it has a query; leave that out, each request brings its own")
            }
            true => Ok(Self(text.into())),
        }
    }

    /// With the query of a request.
    pub(super) fn whole(&self, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}?{query}", self.0),
            None => self.0.clone(),
        }
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (scheme, host, path)
    }

    pub(super) fn scheme(&self) -> &str {
        self.parts().0
    }

    /// The host as it is compared (RFC 9421 §2.2.3): in small letters, without the port that goes without saying.
    pub(super) fn authority(&self) -> String {
        let (scheme, host, _) = self.parts();
        let host = host.to_ascii_lowercase();
        let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        host.strip_suffix(default).map_or(host.clone(), str::to_owned)
    }

    /// Never empty (RFC 9421 §2.2.6).
    pub(super) fn path(&self) -> &str {
        match self.parts().2 {
            "" => "/",
            path => path,
        }
    }

    /// All that a sender may have signed for a request with this query: the address as it stands, with its
    /// default port added or left out, and with what HubSpot writes unescaped.
    pub(super) fn forms(&self, query: Option<&str>) -> Vec<String> {
        let whole = self.whole(query);
        let mut forms = vec![whole.clone()];
        forms.extend(other_port(&whole));
        let unescaped = unescaped(&whole);
        if unescaped != whole {
            forms.push(unescaped);
        }
        forms
    }
}

fn other_port(whole: &str) -> Option<String> {
    let (scheme, rest) = whole.split_once("://")?;
    let default = if scheme == "https" { ":443" } else { ":80" };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    Some(match host.strip_suffix(default) {
        Some(bare) => format!("{scheme}://{bare}{rest}"),
        None => format!("{scheme}://{host}{default}{rest}"),
    })
}

/// <https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests>
fn unescaped(whole: &str) -> String {
    const ESCAPED: [(&str, &str); 12] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    if !whole.contains('%') {
        return whole.into();
    }
    let lower = ESCAPED.iter().map(|(code, plain)| (code.to_ascii_lowercase(), *plain));
    let upper = ESCAPED.iter().map(|(code, plain)| ((*code).to_owned(), *plain));
    upper.chain(lower).fold(whole.to_owned(), |text, (code, plain)| text.replace(&code, plain))
}
