//! A later file changes what an earlier one said: maps by key, lists and scalars whole, `null` removes.

use karez_api::{Json, JsonMap, Path};

use crate::sheet::{Origins, Sheet};
use crate::tree;

/// Merges `from` at `from_path` into the sheet at `path`.
pub(crate) fn merge(sheet: &mut Sheet, path: &Path, from: &Json, origins: &Origins, from_path: &Path) {
    let base = tree::get(&sheet.tree, path);
    let (Some(Json::Object(_)), Json::Object(fields)) = (base, from) else {
        if let Some(place) = tree::get_mut(&mut sheet.tree, path) {
            *place = from.clone();
        }
        sheet.origins.graft(path, origins, from_path);
        return;
    };
    for (name, value) in fields {
        let (at, from_at) = (path.field(name.as_str()), from_path.field(name.as_str()));
        if value.is_null() {
            if let Some(map) = fields_mut(sheet, path) {
                map.shift_remove(name);
            }
        } else if tree::get(&sheet.tree, &at).is_some() {
            merge(sheet, &at, value, origins, &from_at);
        } else {
            tree::set(&mut sheet.tree, path, name, value.clone());
            sheet.origins.graft(&at, origins, &from_at);
        }
    }
}

fn fields_mut<'a>(sheet: &'a mut Sheet, path: &Path) -> Option<&'a mut JsonMap> {
    tree::get_mut(&mut sheet.tree, path)?.as_object_mut()
}

/// Copies a part of another tree to a field of the object at `path`.
pub(crate) fn graft(
    sheet: &mut Sheet,
    path: &Path,
    field: &str,
    value: Json,
    origins: &Origins,
    from: &Path,
) {
    tree::set(&mut sheet.tree, path, field, value);
    sheet.origins.graft(&path.field(field), origins, from);
}
