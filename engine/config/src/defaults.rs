//! What a node does not say itself: from the top of its file, then from `defaults:` by type and by role.

use karez_api::{Build, Json, Path, Role};

use crate::engine_keys::{ASKING, INHERITED, of_role};
use crate::node::{Catalog, Node};
use crate::overlay;
use crate::shared::Shared;
use crate::sheet::Sheet;

/// Writes what a node inherits into the node itself, with its origin. Returns the engine keys it inherited.
pub(crate) fn apply(
    sheet: &mut Sheet,
    node: &Node<'_>,
    shared: &Shared,
    catalog: &Catalog<'_>,
) -> Vec<&'static str> {
    apply_component(sheet, node, shared, catalog);
    let mut inherited = Vec::new();
    for key in of_role(node.role) {
        if sheet.get(&node.at.field(*key)).is_some() {
            continue;
        }
        let top = Path::root().field(*key);
        let role = Path::root().field("defaults").field(node.role.name()).field(*key);
        let from_top = INHERITED.contains(key).then(|| sheet.get(&top).cloned()).flatten();
        if let Some(value) = from_top.filter(|value| suits(node, key, value)) {
            let origins = sheet.origins.clone();
            overlay::graft(sheet, &node.at, key, value, &origins, &top);
        } else if let Some(value) = shared.sheet.get(&role).filter(|value| suits(node, key, value)).cloned() {
            overlay::graft(sheet, &node.at, key, value, &shared.sheet.origins, &role);
        } else {
            continue;
        }
        inherited.push(*key);
    }
    inherited
}

/// Whether a default for many nodes is meant for this one.
fn suits(node: &Node<'_>, key: &str, value: &Json) -> bool {
    if ASKING.contains(&key) {
        return !matches!(node.component.build, Build::Step(_));
    }
    if key != "on_failure" {
        return true;
    }
    match value {
        Json::String(word) if word == "continue" => node.role == Role::Step,
        Json::String(word) if word == "block" => node.role == Role::Sink,
        // The node that takes what others refuse does not take it from itself.
        Json::Object(to) => to.get("to").and_then(Json::as_str) != Some(&node.name),
        _ => true,
    }
}

fn apply_component(sheet: &mut Sheet, node: &Node<'_>, shared: &Shared, catalog: &Catalog<'_>) {
    let from = Path::root().field("defaults").field(node.component.name);
    let Some(defaults) = shared.sheet.get(&from).and_then(Json::as_object).cloned() else {
        return;
    };
    if !sheet.get(&node.settings).is_some_and(Json::is_object) {
        return;
    }
    let fields = catalog.fields(node.role, node.component.name);
    for (field, value) in defaults {
        let known = fields.contains(&field);
        if known && sheet.get(&node.settings.field(field.as_str())).is_none() {
            let at = from.field(field.as_str());
            overlay::graft(sheet, &node.settings, &field, value, &shared.sheet.origins, &at);
        }
    }
}
