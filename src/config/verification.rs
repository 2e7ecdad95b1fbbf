//! The block `verification`: how a conversion shows that it did not change what the network computes.
//!
//! Owns its keys, their defaults, and [`Tolerance`], which says how far apart two runs of a network may be. Judging is
//! done in `invocation::proof`.

use serde::{Deserialize, Serialize};

/// How the rewritten network is compared with the original one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// `enabled`: whether anything is compared.
    pub enabled: bool,
    /// `device`: whether the network is also compared as the vendor's library reads it, on the vendor's CPU device.
    pub device: bool,
    /// `samples`: how many sets of inputs are drawn, where odd ones have patches of colour and even ones noise; and how
    /// many calibration samples there are beside them at most.
    pub samples: u32,
    /// `seed`: what the inputs are drawn from.
    pub seed: u32,
    /// How far apart the outputs may be.
    pub tolerance: Tolerance,
}

impl Verification {
    /// More sets of inputs of a kind than this say nothing new, and their outputs are all held in memory.
    pub const MOST_SAMPLES: u32 = 100;
}

impl Default for Verification {
    fn default() -> Self {
        Self { enabled: true, device: true, samples: 2, seed: 0, tolerance: Tolerance::SINGLE }
    }
}

/// How far apart an output of two networks may be, in every set of inputs.
///
/// An output of floating numbers is alike if no element is further off than `absolute`, or if both `cosine` and
/// `relative` are kept. One of whole numbers, or the places of what is no number, is alike if at most the part
/// `differing` of its elements differs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tolerance {
    /// The least cosine similarity, up to 1.
    pub cosine: f64,
    /// The largest error of an element as a part of its value, where values below a hundredth of the largest count as
    /// that hundredth.
    pub relative: f64,
    /// Errors up to this count as none.
    pub absolute: f64,
    /// The largest part of elements that differ, from 0 to 1.
    pub differing: f64,
}

impl Tolerance {
    /// What single precision allows. Measured on a dozen networks, rewritten and imported: cosines above 0.9999999 and
    /// relative errors below 0.01, while channels in the wrong order gave 0.996 and 0.85. The absolute error is what the
    /// sigmoids of two libraries differ by where they are next to zero.
    pub const SINGLE: Self = Self { cosine: 0.999, relative: 0.05, absolute: 1e-6, differing: 0.001 };

    /// Returns what rounding alone may do to the original where a difference from it says something: a quarter of what is
    /// allowed. It is found by moving each floating number that the original is fed to one of its neighbours in single
    /// precision. Other networks round in each of their layers. Measured where their errors were beyond a tenth of what is
    /// allowed: up to twice what moved inputs do, with the vendor's library up to four times.
    #[must_use]
    pub fn for_rounding(self) -> Self {
        let Self { cosine, relative, absolute, differing } = self;
        Self { cosine: 1.0 - (1.0 - cosine) / 4.0, relative: relative / 4.0, absolute, differing: differing / 4.0 }
    }

    /// Returns what weights in half precision allow: eleven bits instead of twenty-four; nothing stricter is asked for.
    /// Measured: cosines above 0.999999, relative errors of single elements up to 0.11.
    #[must_use]
    pub fn for_half_precision(self) -> Self {
        Self {
            cosine: self.cosine.min(0.99),
            relative: self.relative.max(0.5),
            absolute: self.absolute.max(1e-3),
            differing: self.differing.max(0.01),
        }
    }

    /// Returns what is allowed where rounding to integers was left out of a quantized network: some steps of eight bits,
    /// each 1/255 of the values' range, while relative errors are taken of at least a hundredth of it; nothing stricter is
    /// asked for. Measured on a quantized block: cosines above 0.999, a relative error of 0.5.
    #[must_use]
    pub fn for_unrounded(self) -> Self {
        Self {
            cosine: self.cosine.min(0.99),
            relative: self.relative.max(4.0),
            absolute: self.absolute.max(1e-3),
            differing: self.differing.max(0.01),
        }
    }
}
