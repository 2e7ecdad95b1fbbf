//! Which versions of which packages satisfy a recipe.
//!
//! Owns the choice alone: [`debian`] takes indexes, [`python`] asks for the pages and metadata it still needs, and both
//! return what each layer gains. Every refusal names the package, who asked for it, and what there is.

pub mod debian;
pub mod python;

use std::collections::BTreeMap;

use crate::name::LayerName;

/// What people ask of one layer, in the words of the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWants {
    /// The layer.
    pub layer: LayerName,
    /// Packages or requirements.
    pub wants: Vec<String>,
}

/// Versions to keep where they satisfy, by package or project: those of an earlier lock.
pub type Keep = BTreeMap<String, String>;

/// How often choosing starts over before it is given up. Each round adds a constraint; real recipes need two or three.
const MOST_ROUNDS: usize = 64;

/// Joins names for people: the first few, then how many more there are.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}
