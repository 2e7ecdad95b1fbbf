//! Operator sets and functions that nothing uses.

use std::collections::{BTreeSet, HashSet};

use crate::onnx::proto::NodeProto;
use crate::onnx::{Known, Patch, is_onnx_domain, subgraphs};
use crate::surgery::{Pass, PassError};

/// Removes functions that nothing calls, and imports of operator sets that nothing uses.
#[derive(Clone, Copy, Debug)]
pub struct UnusedDomains;

impl Pass for UnusedDomains {
    fn name(&self) -> &'static str {
        "unused-domains"
    }

    fn reason(&self) -> &'static str {
        "tools refuse operator sets that they do not know, used or not"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let mut used = Used::default();
        model.graph().node.iter().for_each(|node| used.add(node));
        // A function that is called uses what its body uses.
        let mut live = BTreeSet::new();
        loop {
            let functions = model.functions().iter().enumerate();
            let found: Vec<_> = functions
                .filter(|(place, function)| {
                    !live.contains(place) && used.operators.contains(&(plain(function.domain()), function.name()))
                })
                .collect();
            if found.is_empty() {
                break;
            }
            for (place, function) in found {
                live.insert(place);
                function.node.iter().for_each(|node| used.add(node));
            }
        }
        let unused = |domain: &&str| !domain.is_empty() && !used.domains.contains(domain);
        Ok(Some(Patch {
            removed_functions: (0..model.functions().len()).filter(|place| !live.contains(place)).collect(),
            removed_domains: model.opsets().into_keys().filter(unused).map(str::to_owned).collect(),
            ..Patch::default()
        }))
    }
}

#[derive(Default)]
struct Used<'a> {
    domains: HashSet<&'a str>,
    operators: HashSet<(&'a str, &'a str)>,
}

impl<'a> Used<'a> {
    fn add(&mut self, node: &'a NodeProto) {
        self.domains.insert(plain(node.domain()));
        self.operators.insert((plain(node.domain()), node.op_type()));
        subgraphs(node).flat_map(|graph| &graph.node).for_each(|node| self.add(node));
    }
}

fn plain(domain: &str) -> &str {
    if is_onnx_domain(domain) { "" } else { domain }
}
