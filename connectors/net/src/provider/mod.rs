//! The catalogue of providers: one file each under `providers/`, embedded in the binary. A new provider is a new
//! file; nothing here knows any of them by name. Nothing is sent here, and no secret is known.

mod example;
mod expand;
mod file;
mod merge;
mod params;
mod way;

use std::sync::LazyLock;

use include_dir::{Dir, File, include_dir};

pub use expand::expand;
pub use file::{Paging, PagingKind, Param, Provider, RateLimit, Way};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/providers");

static CATALOGUE: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    // A test keeps every file readable.
    let mut all: Vec<Provider> = FILES.files().filter_map(|file| read(file).ok()).collect();
    all.sort_by_key(|provider| provider.name);
    all
});

fn read(file: &'static File<'static>) -> Result<Provider, String> {
    let name = file.path().file_stem().and_then(|name| name.to_str()).ok_or("its name is no text")?;
    let text = file.contents_utf8().ok_or("it is no text")?;
    let provider: Provider = toml::from_str(text).map_err(|error| error.to_string())?;
    Ok(Provider { name, ..provider })
}

/// All providers, by name.
#[must_use]
pub fn all() -> &'static [Provider] {
    &CATALOGUE
}

/// By the name that a file has for it.
#[must_use]
pub fn find(name: &str) -> Option<&'static Provider> {
    let at = CATALOGUE.binary_search_by_key(&name, |provider| provider.name).ok()?;
    CATALOGUE.get(at)
}

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    CATALOGUE.iter().map(|provider| provider.name)
}

#[cfg(test)]
mod tests;
