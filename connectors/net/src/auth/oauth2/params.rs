//! The parameters of a request to an authorization server, in the order in which they were said. They hold secrets,
//! so there is no way to print them.

use std::collections::BTreeMap;

use karez_api::{Json, JsonMap, Secret};
use reqwest::Url;

/// The parameters that are secrets, by their standard names.
const SECRET: [&str; 10] = [
    "client_secret",
    "client_assertion",
    "refresh_token",
    "code",
    "code_verifier",
    "assertion",
    "subject_token",
    "actor_token",
    "device_code",
    "token",
];

#[derive(Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// One more, whether or not there is one of that name.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The only one of that name.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(other, _)| other != name);
        self.add(name, value);
    }

    pub(crate) fn set_all(&mut self, params: &BTreeMap<String, String>) {
        for (name, value) in params {
            self.set(name, value);
        }
    }

    /// With the names that this server has for them; an empty name leaves a parameter out.
    pub(crate) fn renamed(mut self, names: &BTreeMap<String, String>) -> Self {
        for (name, _) in &mut self.0 {
            if let Some(other) = names.get(name) {
                name.clone_from(other);
            }
        }
        self.0.retain(|(name, _)| !name.is_empty());
        self
    }

    /// Values that nobody may see, in case they come back in an error.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let secret = |(name, value): &(String, String)| {
            (SECRET.contains(&&**name) && value.len() >= 4).then(|| Secret::new(value))
        };
        self.0.iter().filter_map(secret).collect()
    }

    pub(crate) fn form(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// What stands there several times is a list.
    pub(crate) fn json(&self) -> String {
        let mut fields = JsonMap::new();
        for (name, value) in &self.0 {
            match fields.get_mut(name) {
                None => {
                    fields.insert(name.clone(), value.as_str().into());
                }
                Some(Json::Array(list)) => list.push(value.as_str().into()),
                Some(one) => *one = Json::from(vec![one.take(), value.as_str().into()]),
            }
        }
        Json::Object(fields).to_string()
    }

    /// Behind what stands in the query. A fragment that is a path (`#/oauth/authorize`) belongs to a page that reads
    /// its parameters there.
    pub(crate) fn append_to(&self, url: &mut Url) {
        if self.0.is_empty() {
            return;
        }
        match url.fragment().filter(|fragment| fragment.starts_with('/')) {
            Some(fragment) => {
                let separator = if fragment.contains('?') { '&' } else { '?' };
                let fragment = format!("{fragment}{separator}{}", self.form());
                url.set_fragment(Some(&fragment));
            }
            None => {
                url.query_pairs_mut().extend_pairs(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let mut params = Params::default();
        pairs.iter().for_each(|(name, value)| params.add(name, *value));
        params
    }

    #[test]
    fn names_are_exchanged_and_left_out() {
        let names = [("client_id", "client_key"), ("response_type", "")];
        let names = names.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
        let renamed = params(&[("client_id", "a b"), ("response_type", "code"), ("x", "1")]).renamed(&names);
        assert_eq!(renamed.form(), "client_key=a+b&x=1");
    }

    #[test]
    fn several_of_one_name_are_a_list_in_json() {
        let params = params(&[("resource", "a"), ("x", "1"), ("resource", "b"), ("resource", "c")]);
        assert_eq!(params.json(), r#"{"resource":["a","b","c"],"x":"1"}"#);
        assert_eq!(params.form(), "resource=a&x=1&resource=b&resource=c");
    }

    #[test]
    fn a_page_that_reads_its_fragment_gets_them_there() {
        for (address, expected) in [
            ("https://a.example/authorize", "https://a.example/authorize?x=1"),
            ("https://a.example/authorize?y=2", "https://a.example/authorize?y=2&x=1"),
            ("https://a.example/#/oauth/authorize", "https://a.example/#/oauth/authorize?x=1"),
            ("https://a.example/#/authorize?y=2", "https://a.example/#/authorize?y=2&x=1"),
        ] {
            let mut url = Url::parse(address).unwrap();
            params(&[("x", "1")]).append_to(&mut url);
            assert_eq!(url.as_str(), expected);
        }
    }
}
