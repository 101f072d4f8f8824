//! The steps, a file each, and their table.

mod cast;
mod filter;
mod jq;
mod map;
mod place;
mod remove;
mod rename;
mod route;
mod set;
mod set_meta;
mod split;
mod template;
mod validate;

use karez_api::Component;
pub(crate) use place::Place;

/// All steps of this crate.
#[must_use]
pub fn components() -> Vec<Component> {
    vec![
        Component::step::<filter::FilterSpec>(),
        Component::step::<map::MapSpec>(),
        Component::step::<set::SetSpec>(),
        Component::step::<remove::RemoveSpec>(),
        Component::step::<rename::RenameSpec>(),
        Component::step::<cast::CastSpec>(),
        Component::step::<validate::ValidateSpec>(),
        Component::step::<split::SplitSpec>(),
        Component::step::<template::TemplateSpec>(),
        Component::step::<jq::JqSpec>(),
        Component::step::<set_meta::SetMetaSpec>(),
        Component::step::<route::RouteSpec>(),
    ]
}

#[cfg(test)]
mod tests;
