//! Dilated convolutions that were written with other operators.
//!
//! Old converters let every n-th element of space become a batch, convolve that, and let the batch become space again.
//! Frameworks do the same around convolutions of one dimension, which reshape what they are given. All of that is one
//! convolution whose window has gaps, as long as nothing else reads what is between.

use std::collections::{HashMap, HashSet};

use super::batches::Blocks;
use super::layers::Window;
use super::network::Network;
use crate::tflite::{Convolution, Model, Operator, TensorId};

/// A convolution that computes what it and the operators around it do; pairs are height, width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dilated {
    /// What is convolved.
    pub(super) from: TensorId,
    /// What comes out.
    pub(super) to: TensorId,
    /// The sizes of what is convolved, with four dimensions.
    pub(super) sizes: [i64; 4],
    /// The sizes of what comes out, with four dimensions.
    pub(super) result: [i64; 4],
    pub(super) dilations: [i64; 2],
    /// The border before both, and behind both.
    pub(super) pads: Vec<i64>,
}

/// All of them in a model.
#[derive(Debug, Default)]
pub(super) struct Dilations {
    convolutions: HashMap<usize, Dilated>,
    absorbed: HashSet<usize>,
}

impl Dilations {
    /// Finds them; those whose inner values are wanted or fed are none.
    pub(super) fn find(model: &Model, network: &Network<'_>) -> Self {
        let mut found = Self::default();
        let links = Links::new(model, network);
        for (place, operator) in model.operators().iter().enumerate() {
            if let Some((dilated, absorbed)) = links.dilated(operator) {
                found.convolutions.insert(place, dilated);
                found.absorbed.extend(absorbed);
            }
        }
        found
    }

    /// Returns what the convolution at a place becomes.
    pub(super) fn at(&self, place: usize) -> Option<&Dilated> {
        self.convolutions.get(&place)
    }

    /// Returns whether a convolution does what the operator at a place does.
    pub(super) fn absorb(&self, place: usize) -> bool {
        self.absorbed.contains(&place)
    }
}

/// Who makes and who reads what lies between two operators only.
struct Links<'model, 'network> {
    model: &'model Model,
    network: &'network Network<'model>,
    makers: HashMap<TensorId, usize>,
    /// The reader of each tensor; none if there are several.
    readers: HashMap<TensorId, Option<usize>>,
}

impl<'model, 'network> Links<'model, 'network> {
    fn new(model: &'model Model, network: &'network Network<'model>) -> Self {
        let (mut makers, mut readers) = (HashMap::new(), HashMap::new());
        for (place, operator) in model.operators().iter().enumerate() {
            makers.extend(operator.outputs.iter().map(|id| (*id, place)));
            for id in operator.inputs.iter().flatten() {
                readers.entry(*id).and_modify(|reader| *reader = None).or_insert(Some(place));
            }
        }
        Self { model, network, makers, readers }
    }

    /// Returns the operator before or behind a tensor, if the tensor connects two operators and nothing else.
    fn neighbour(&self, id: TensorId, side: Side) -> Option<(usize, &'model Operator)> {
        let is_inner = !self.network.is_fed(id) && !self.network.is_output(id);
        let reader = self.readers.get(&id).copied().flatten().filter(|_| is_inner)?;
        let place = if side == Side::Before { *self.makers.get(&id)? } else { reader };
        let operator = self.model.operators().get(place)?;
        let is_whole = side == Side::Before || operator.input(0) == Some(id);
        is_whole.then_some((place, operator))
    }

    /// Goes from a convolution to what may stand around it; returns the places on the way too.
    fn reach(&self, id: TensorId, side: Side) -> Option<(&'model Operator, Vec<usize>)> {
        let name = if side == Side::Before { "SPACE_TO_BATCH_ND" } else { "BATCH_TO_SPACE_ND" };
        let (place, near) = self.neighbour(id, side)?;
        if near.name == name {
            return Some((near, vec![place]));
        }
        if !matches!(near.name.as_str(), "RESHAPE" | "EXPAND_DIMS" | "SQUEEZE") {
            return None;
        }
        let beyond = if side == Side::Before { near.input(0)? } else { *near.outputs.first()? };
        let (next, far) = self.neighbour(beyond, side)?;
        (far.name == name).then(|| (far, vec![place, next]))
    }

    /// Returns what a convolution and its surroundings become, and the places of the surroundings. What does not fit
    /// together is left to the operators themselves.
    fn dilated(&self, operator: &Operator) -> Option<(Dilated, Vec<usize>)> {
        let options = match operator.name.as_str() {
            "CONV_2D" => operator.convolution().ok()?,
            "DEPTHWISE_CONV_2D" => operator.depthwise_convolution().ok()?,
            _ => return None,
        };
        let (picture, convolved) = (operator.input(0)?, *operator.outputs.first()?);
        let ((first, before), (last, behind)) =
            (self.reach(picture, Side::Before)?, self.reach(convolved, Side::Behind)?);
        let (from, to) = (first.input(0)?, *last.outputs.first()?);
        let shape = |id: TensorId| self.model.tensor(id).map(|tensor| tensor.shape.as_slice());
        let view = View::find(shape(*first.outputs.first()?)?, shape(picture)?)?;
        let (space, batch) = (Blocks::read(self.network, first).ok()?, Blocks::read(self.network, last).ok()?);
        let is_plain =
            options.strides == [1, 1] && space.sizes == batch.sizes && space.sizes.len() <= view.dimensions();
        if !is_plain || view.wide(shape(last.input(0)?)?)? != shape(convolved)? {
            return None;
        }
        let &[_, height, width, _] = shape(picture)? else { return None };
        let &[_, kernel_height, kernel_width, _] = shape(operator.input(1)?)? else { return None };
        let (kernel, Convolution { strides, dilations, padding, .. }) = ([kernel_height, kernel_width], options);
        let own = Window { sizes: [height, width], kernel, strides, dilations }.pads(padding);
        let blocks = view.pair(&space.sizes, 1);
        let dilations = [0, 1].map(|axis| blocks[axis] * dilations[axis]);
        let border = |put: &[i64], cut: &[i64], own: &[i64]| {
            let (put, cut) = (view.pair(put, 0), view.pair(cut, 0));
            [0, 1].map(|axis| own[axis].saturating_mul(blocks[axis]).saturating_add(put[axis] - cut[axis]))
        };
        let (own_before, own_behind) = own.split_at(2);
        let pads = [border(&space.before, &batch.before, own_before), border(&space.behind, &batch.behind, own_behind)]
            .concat();
        let (sizes, result) = (view.wide(shape(from)?)?, view.wide(shape(to)?)?);
        let fits = |axis: usize| {
            let window = (kernel[axis] - 1).saturating_mul(dilations[axis]);
            let padded = sizes[axis + 1].saturating_add(pads[axis]).saturating_add(pads[axis + 2]);
            padded.saturating_sub(window) == result[axis + 1]
        };
        // A border that is cut off further than it was put there cannot be said.
        let can_be_said = pads.iter().all(|amount| *amount >= 0) && fits(0) && fits(1);
        let dilated = Dilated { from, to, sizes, result, dilations, pads };
        can_be_said.then(|| (dilated, [before, behind].concat()))
    }
}

/// Where an operator stands, seen from a convolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

/// How a value is looked at to be a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// As it is.
    Picture,
    /// A sequence as a picture of height 1.
    Row,
    /// A sequence as a picture of width 1.
    Column,
}

impl View {
    fn find(own: &[i64], picture: &[i64]) -> Option<Self> {
        let views = [Self::Picture, Self::Row, Self::Column];
        views.into_iter().find(|view| view.wide(own).is_some_and(|wide| wide == picture))
    }

    const fn dimensions(self) -> usize {
        if matches!(self, Self::Picture) { 2 } else { 1 }
    }

    /// Returns the sizes as a picture.
    fn wide(self, sizes: &[i64]) -> Option<[i64; 4]> {
        match (self, sizes) {
            (Self::Picture, &[batch, height, width, channels]) => Some([batch, height, width, channels]),
            (Self::Row, &[batch, length, channels]) => Some([batch, 1, length, channels]),
            (Self::Column, &[batch, length, channels]) => Some([batch, length, 1, channels]),
            _ => None,
        }
    }

    /// Returns what a list says of height and width.
    fn pair(self, list: &[i64], rest: i64) -> [i64; 2] {
        let said = |place: usize| list.get(place).copied().unwrap_or(rest);
        match self {
            Self::Picture => [said(0), said(1)],
            Self::Row => [rest, said(0)],
            Self::Column => [said(0), rest],
        }
    }
}
