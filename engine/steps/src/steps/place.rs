//! Places that `set`, `remove`, `rename` and `cast` name by a key: a plain field name, or a singular path that begins with `$.`.

use karez_api::{Body, Checker, Fault, Json, JsonMap, Path, Problem, Record};

use crate::expr::{Query, Step, parse_pick};

/// Where in a record something is written; never the whole record.
#[derive(Debug)]
pub(crate) struct Place {
    path: Vec<Step>,
    name: String,
}

impl Place {
    /// Reads a key or path at `at` (relative to the component); a problem is reported there.
    pub(super) fn compile(cx: &Checker<'_>, at: &Path, key: &str, on_key: bool) -> Option<Self> {
        Self::read(at, key).map_err(|problem| cx.report(if on_key { problem.on_key() } else { problem })).ok()
    }

    /// # Errors
    /// The key is a path that cannot be read, or can match many places; the problem stands at `at`.
    pub(crate) fn read(at: &Path, key: &str) -> Result<Self, Problem> {
        if !key.starts_with("$.") && !key.starts_with("$[") {
            return Ok(Self { path: vec![Step::Name(key.to_owned())], name: key.to_owned() });
        }
        match parse_pick(key) {
            Ok(Query::Single(path)) => Ok(Self { path, name: key.to_owned() }),
            Ok(Query::Many(_)) => {
                let message = format!("{key} can match many places; name one");
                Err(Problem::error("bad-jsonpath", at.clone(), message))
            }
            Err(mistake) => Err(mistake.problem("bad-jsonpath", at)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn get_mut<'a>(&self, tree: &'a mut Json) -> Option<&'a mut Json> {
        self.path.iter().try_fold(tree, |node, step| match step {
            Step::Name(name) => node.as_object_mut()?.get_mut(name),
            Step::Index(index) => {
                let items = node.as_array_mut()?;
                let place = position(items.len(), *index)?;
                items.get_mut(place)
            }
        })
    }

    /// Takes the value out; the order of the other fields stays.
    pub(super) fn take(&self, tree: &mut Json) -> Option<Json> {
        let (last, parents) = self.path.split_last()?;
        let parent = parents.iter().try_fold(tree, |node, step| match step {
            Step::Name(name) => node.as_object_mut()?.get_mut(name),
            Step::Index(index) => {
                let items = node.as_array_mut()?;
                let place = position(items.len(), *index)?;
                items.get_mut(place)
            }
        })?;
        match last {
            Step::Name(name) => parent.as_object_mut()?.shift_remove(name),
            Step::Index(index) => {
                let items = parent.as_array_mut()?;
                let place = position(items.len(), *index)?;
                Some(items.remove(place))
            }
        }
    }

    pub(super) fn put(&self, tree: &mut Json, value: Json) -> Result<(), Fault> {
        let refused =
            |what: &str| Fault::validation("place", format!("{} cannot be written: {what}", self.name));
        let mut node = tree;
        for step in &self.path {
            node = match step {
                Step::Name(name) => {
                    if node.is_null() {
                        *node = Json::Object(JsonMap::new());
                    }
                    let fields =
                        node.as_object_mut().ok_or_else(|| refused("there is no object on the way"))?;
                    fields.entry(name.as_str()).or_insert(Json::Null)
                }
                Step::Index(index) => {
                    let items = node.as_array_mut().ok_or_else(|| refused("there is no array on the way"))?;
                    let place = position(items.len(), *index);
                    place
                        .and_then(|place| items.get_mut(place))
                        .ok_or_else(|| refused("the array is too short"))?
                }
            };
        }
        *node = value;
        Ok(())
    }
}

impl karez_api::Put for Place {
    fn put(&self, tree: &mut Json, value: Json) -> Result<(), Fault> {
        self.put(tree, value)
    }
}

fn position(length: usize, index: i64) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

/// Changes a record's tree in place; it is copied only where it is shared.
pub(super) fn edit(
    record: Record,
    change: impl FnOnce(&mut Json) -> Result<(), Fault>,
) -> Result<Record, Fault> {
    let (body, rest) = record.into_body();
    let mut tree = body
        .into_tree()
        .map_err(|error| Fault::validation("body", format!("body cannot be read: {error}")))?;
    change(&mut tree)?;
    Ok(rest.with_body(Body::from_tree(tree)))
}
