//! What the vendor's tools surely refuse, told before they are started.
//!
//! Owns [`Unsupported`]. What tools know stands in `surgery::support`; here it is decided which of them a model meets.

use std::cell::LazyCell;
use std::collections::HashSet;

use thiserror::Error;

use super::operate::Rewritten;
use crate::config::{FrontEnd, FrontEndChoice, Rvc2Options};
use crate::hint::Hint;
use crate::name::{Target, ToolchainName};
use crate::onnx::Model;
use crate::surgery::support::{self, Refusal};

/// The releases that the facts were measured with; others may know more.
const KNOWN: &str = "2021.4";

/// A model with operators that the vendor's tools do not have.
#[derive(Debug, Error)]
#[error("{toolchain} cannot convert `{model}`: {}", listed(refusals))]
pub struct Unsupported {
    /// Which tools.
    pub toolchain: ToolchainName,
    /// The model's file name.
    pub model: String,
    /// The nodes and the reasons; never empty.
    pub refusals: Vec<Refusal>,
}

impl Hint for Unsupported {
    fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = Vec::new();
        for advice in self.refusals.iter().take(SHOWN).flat_map(|refusal| &refusal.advice) {
            if !hints.contains(advice) {
                hints.push(advice.clone());
            }
        }
        hints
    }
}

/// As many refusals as a person reads.
const SHOWN: usize = 5;

fn listed(refusals: &[Refusal]) -> String {
    let told = |refusal: &Refusal| format!("{}: {}", refusal.node, refusal.reason);
    let mut text = refusals.iter().take(SHOWN).map(told).collect::<Vec<_>>().join("; ");
    if refusals.len() > SHOWN {
        text.push_str(&format!("; and {} more nodes", refusals.len() - SHOWN));
    }
    text
}

/// Refuses the model in the file `model` if tools of this toolchain surely fail on every way that is open to it.
///
/// # Errors
/// They do.
pub fn check(
    model: &str,
    (original, rewritten): (&Model, &Rewritten),
    options: &Rvc2Options,
    toolchain: &ToolchainName,
) -> Result<(), Box<Unsupported>> {
    if toolchain.target != Target::Rvc2 || !toolchain.version.as_str().starts_with(KNOWN) {
        return Ok(());
    }
    let refusals = refusals(original, rewritten, options);
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Box::new(Unsupported { toolchain: toolchain.clone(), model: model.to_owned(), refusals }))
}

fn refusals(original: &Model, rewritten: &Rewritten, options: &Rvc2Options) -> Vec<Refusal> {
    let known = LazyCell::new(|| {
        let computed = original.graph().node.iter().flat_map(|node| &node.output);
        computed.map(String::as_str).collect::<HashSet<&str>>()
    });
    let of = |front_end| {
        let model = match front_end {
            support::FrontEnd::Importer => &rewritten.model,
            support::FrontEnd::ModelOptimizer => rewritten.for_optimizer.as_ref().unwrap_or(&rewritten.model),
        };
        support::unsupported_among(model, front_end, &|value| known.contains(value))
    };
    match options.front_end {
        FrontEndChoice::Only(FrontEnd::Importer) => of(support::FrontEnd::Importer),
        FrontEndChoice::Only(FrontEnd::Mo) => of(support::FrontEnd::ModelOptimizer),
        FrontEndChoice::Auto if !options.mo_args.is_empty() => of(support::FrontEnd::ModelOptimizer),
        // Where the importer fails, the Model Optimizer is tried.
        FrontEndChoice::Auto if of(support::FrontEnd::ModelOptimizer).is_empty() => Vec::new(),
        FrontEndChoice::Auto => of(support::FrontEnd::Importer),
    }
}
