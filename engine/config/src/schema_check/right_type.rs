//! A value of the wrong type: how the right one is written.

use karez_api::{Json, suggest};

use crate::schema_view::{View, fits};

/// What to write in place of `value`, where that can be told.
pub(super) fn help(view: &View<'_>, value: &Json) -> Option<String> {
    match view.kind() {
        Some("duration") => return Some("write a number with ms, s, m, h or d, as in \"90s\"".into()),
        Some("rate") => return Some("write a number above 0 per s, m or h, as in \"30/m\"".into()),
        Some("size") => return Some("write a number with B, KiB, MiB or GiB, as in \"512KiB\"".into()),
        _ => {}
    }
    let forms = view.branches().unwrap_or_else(|| vec![view.of_itself()]);
    let types: Vec<&str> = forms.iter().flat_map(View::types).collect();
    match value {
        Json::Number(_) | Json::Bool(_)
            if types.contains(&"string") && forms.iter().all(View::takes_any_text) =>
        {
            return Some(format!("write it in quotes: \"{value}\""));
        }
        Json::String(text) => {
            if let Some(bare) = without_quotes(text, &types) {
                return Some(format!("write it without quotes: {bare}"));
            }
            if types.contains(&"array") {
                return Some(format!("write it as a list: [{value}]"));
            }
        }
        _ => {}
    }
    map(&forms, value)
}

/// A number or boolean that stands in quotes.
fn without_quotes(text: &str, types: &[&str]) -> Option<Json> {
    let bare =
        serde_json::from_str::<Json>(text).ok().filter(|bare| bare.is_number() || bare.is_boolean())?;
    types.iter().any(|name| fits(name, &bare)).then_some(bare)
}

/// Which fields a map would have here.
fn map(forms: &[View<'_>], value: &Json) -> Option<String> {
    let maps: Vec<&View<'_>> = forms.iter().filter(|form| form.types().contains(&"object")).collect();
    if let Json::String(name) = value
        && maps.iter().any(|form| form.property(name).is_some())
    {
        return Some(format!("write it as a map: {{{name}: …}}"));
    }
    let names: Vec<&str> = maps.iter().flat_map(|form| form.properties()).map(|(name, _)| name).collect();
    let required: Vec<&str> = maps.iter().flat_map(|form| form.required()).collect();
    match (maps.as_slice(), required.as_slice(), names.is_empty()) {
        ([], ..) => None,
        (_, _, true) => Some("write it as a map: {name: …}".into()),
        ([_], [only], _) => Some(format!("write it as a map: {{{only}: …}}")),
        ([_], ..) => suggest::help("", names, "write it as a map with some of"),
        _ => suggest::help("", required, "write it as a map with one of"),
    }
}
