//! The limits of quantization: integers end where their type does, so what they stand for ends there too.
//!
//! Owns what is known of the least and the greatest element of values, so that limits are written only where a value could
//! leave them. Converters count on them: an activation that the limits imply is left out.

use super::{Activation, ElementType, Network, Order, Tensor, TensorId};
use crate::tflite::Quantization;

/// The least and the greatest number, and how far apart neighbours are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Limits {
    pub(in super::super) range: [f64; 2],
    pub(in super::super) step: f64,
}

impl Limits {
    /// Returns what the integers of a tensor can stand for; `None` if it has none, or as many as anybody needs.
    pub(in super::super) fn of(tensor: &Tensor) -> Option<Self> {
        let ends = match tensor.element? {
            ElementType::Int8 => [-128, 127],
            ElementType::Uint8 => [0, 255],
            ElementType::Int16 => [-32768, 32767],
            ElementType::Uint16 => [0, 65535],
            _ => return None,
        };
        let Quantization { scales, zero_points, .. } = tensor.quantization.as_ref()?;
        let (&[scale], &[zero]) = (scales.as_slice(), zero_points.as_slice()) else { return None };
        let step = f64::from(scale);
        (step > 0.0).then(|| Self { range: ends.map(|end: i64| end.saturating_sub(zero) as f64 * step), step })
    }

    /// Returns whether numbers in a range are in the limits. A step beyond is what rounding does, which is left out.
    fn include(self, [low, high]: [f64; 2]) -> bool {
        low >= self.range[0] - self.step && high <= self.range[1] + self.step
    }

    /// Returns the activation that keeps the limits too.
    fn with(self, activation: Activation) -> Activation {
        let bounds = match activation {
            Activation::None => return activation,
            Activation::Relu => [0.0, f64::INFINITY],
            Activation::Clip(low, high) => [low, high],
        };
        if self.include(bounds) {
            return activation;
        }
        Activation::Clip(bounds[0].max(self.range[0]), bounds[1].min(self.range[1]))
    }
}

/// Returns the least range that has all of some ranges in it.
fn union(ranges: impl Iterator<Item = Option<[f64; 2]>>) -> Option<[f64; 2]> {
    let all = ranges.collect::<Option<Vec<_>>>()?;
    all.into_iter().reduce(|[low, high], [other_low, other_high]| [low.min(other_low), high.max(other_high)])
}

impl Network<'_> {
    /// Learns the range of what a node computes, if it follows from the operator and the ranges of its operands.
    pub(super) fn learn(&mut self, operator: &str, inputs: &[&str], outputs: &[&str]) {
        let range = |place: usize| inputs.get(place).and_then(|name| self.ranges.get(*name)).copied();
        let range = match operator {
            "Relu" => Some(range(0).map_or([0.0, f64::INFINITY], |[low, high]| [low.max(0.0), high.max(0.0)])),
            "Sigmoid" | "Softmax" => Some([0.0, 1.0]),
            "Tanh" => Some([-1.0, 1.0]),
            "AveragePool" | "DepthToSpace" | "Gather" | "GatherND" | "Identity" | "MaxPool" | "ReduceMax"
            | "ReduceMean" | "ReduceMin" | "Reshape" | "Resize" | "Slice" | "SpaceToDepth" | "Split" | "Squeeze"
            | "Tile" | "TopK" | "Transpose" | "Unsqueeze" => range(0),
            "Concat" | "Max" | "Min" => union((0..inputs.len()).map(range)),
            "Pad" => union([0, 2].into_iter().filter(|place| *place < inputs.len()).map(range)),
            "Where" => union([1, 2].into_iter().map(range)),
            _ => None,
        };
        // The second result of others are places.
        let learnt = outputs.iter().take(if operator == "Split" { outputs.len() } else { 1 });
        if let Some(range) = range {
            learnt.for_each(|output| self.know(output, range));
        }
    }

    /// Remembers the range of a value.
    pub(super) fn know(&mut self, value: &str, range: [f64; 2]) {
        self.ranges.insert(value.to_owned(), range);
    }

    /// Returns whether a value is known to keep limits.
    pub(in super::super) fn keeps(&self, value: &str, limits: Limits) -> bool {
        self.ranges.get(value).is_some_and(|range| limits.include(*range))
    }

    /// Returns an activation that keeps the limits of a tensor too.
    pub(super) fn limited(&self, id: TensorId, activation: Activation) -> Activation {
        let limits = self.model.tensor(id).and_then(Limits::of);
        limits.map_or(activation, |limits| limits.with(activation))
    }

    /// Returns how many nodes were written so far.
    pub(in super::super) const fn written(&self) -> usize {
        self.nodes.len()
    }

    /// Limits the values that hold a tensor, as far as they were written behind the first `since` nodes.
    pub(in super::super) fn limit(&mut self, id: TensorId, since: usize) {
        let Some(limits) = self.model.tensor(id).and_then(Limits::of) else { return };
        for order in [Order::AsStored, Order::ChannelsFirst] {
            let held = self.held.entry(id).or_default().slot(order).clone();
            let Some(name) = held.filter(|name| !self.keeps(name, limits)) else { continue };
            let makes = |node: &super::NodeProto| node.output.contains(&name);
            let Some(place) = self.nodes.iter().skip(since).position(makes).map(|place| place + since) else {
                continue;
            };
            let is_relu = self.nodes.get(place).is_some_and(|node| node.op_type() == "Relu");
            let ([low, high], raw) = (limits.range, self.fresh(&format!("{name}/unlimited")));
            if is_relu {
                // One operator does both.
                let given = self.nodes.remove(place).input.into_iter().next().unwrap_or_default();
                self.clip(&given, [low.max(0.0), high], &name);
            } else if let Some(node) = self.nodes.get_mut(place) {
                node.output.iter_mut().filter(|output| **output == name).for_each(|output| output.clone_from(&raw));
                node.name = node.output.first().cloned();
                self.clip(&raw, [low, high], &name);
            }
            // What was written behind it may read it.
            if let Some(clip) = self.nodes.pop() {
                self.nodes.insert(if is_relu { place } else { place + 1 }, clip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_keep_the_limits_unless_they_are_as_narrow() {
        let limits = Limits { range: [-1.0, 5.9], step: 0.2 };
        for (given, expected) in [
            (Activation::None, Activation::None),
            (Activation::Relu, Activation::Clip(0.0, 5.9)),
            (Activation::Clip(0.0, 6.0), Activation::Clip(0.0, 6.0)),
            (Activation::Clip(-1.0, 1.0), Activation::Clip(-1.0, 1.0)),
            (Activation::Clip(-2.0, 7.0), Activation::Clip(-1.0, 5.9)),
        ] {
            assert_eq!(limits.with(given), expected, "{given:?}");
        }
    }
}
