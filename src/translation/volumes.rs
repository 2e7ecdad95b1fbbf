//! Convolutions of volumes: batch, depth, height, width, channels.

use super::layers::{bias, missing, weights};
use super::network::{Attribute, Network};
use super::operators::{input, output};
use super::{Order, Trouble, refused};
use crate::tflite::{Activation, Constant, Operator, Padding, TensorId, Values, VolumeConvolution};

/// Where each dimension of a channels-first volume stands in the stored order, and back.
const CHANNELS_FIRST: [i64; 5] = [0, 4, 1, 2, 3];
const CHANNELS_LAST: [i64; 5] = [0, 2, 3, 4, 1];
/// Depth, height, width, inputs, outputs become outputs, inputs, depth, height, width, and the same with inputs and
/// outputs exchanged.
const WEIGHTS: [usize; 5] = [4, 3, 0, 1, 2];

/// Returns depth, height and width.
fn volume(network: &Network<'_>, id: TensorId) -> Result<[i64; 3], Trouble> {
    let tensor = network.tensor(id)?;
    match *tensor.shape.as_slice() {
        [_, depth, height, width, _] => Ok([depth, height, width]),
        _ => Err(refused(format!("takes volumes, but `{}` has the shape {:?}", tensor.name, tensor.shape))),
    }
}

/// Divides amounts between both ends: the odd one goes to the last.
fn halves(amounts: [i64; 3]) -> Vec<i64> {
    [amounts.map(|amount| amount / 2), amounts.map(|amount| amount - amount / 2)].concat()
}

pub(super) fn convolution(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let VolumeConvolution { padding, strides, dilations, activation } = operator.volume_convolution()?;
    let from = input(operator, 0)?;
    let (sizes, weights) = (volume(network, from)?, weights(network, operator, 1, &WEIGHTS)?);
    let [outputs, _, depth, height, width] = weights.shape.as_slice() else {
        return Err(refused("has odd weights"));
    };
    let (outputs, kernel) = (*outputs, [*depth, *height, *width]);
    let pads = match padding {
        Padding::Same => {
            halves([0, 1, 2].map(|axis| missing(sizes[axis], kernel[axis], strides[axis], dilations[axis])))
        }
        Padding::Valid => vec![0; 6],
    };
    let attributes = [
        Attribute::Integers("kernel_shape", kernel.to_vec()),
        Attribute::Integers("strides", strides.to_vec()),
        Attribute::Integers("dilations", dilations.to_vec()),
        Attribute::Integers("pads", pads),
    ];
    let weights = network.initializer(&network.tensor(input(operator, 1)?)?.name, &weights);
    let bias = match bias(network, operator, 2)? {
        Some(bias) => bias,
        // The compiler counts the biases of volumes, also where there are none.
        None => {
            let nothing = Values::Real(vec![0.0; usize::try_from(outputs).unwrap_or(0)]);
            let nothing = Constant { shape: vec![outputs], values: nothing };
            network.initializer(&format!("{}/bias", network.tensor(output(operator, 0)?)?.name), &nothing)
        }
    };
    let layer = Layer { name: "Conv", from, weights, bias: Some(bias) };
    layer.write(network, output(operator, 0)?, activation, &attributes)
}

pub(super) fn transposed_convolution(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let VolumeConvolution { padding, strides, dilations, activation } = operator.volume_convolution()?;
    let (from, to) = (input(operator, 2)?, output(operator, 0)?);
    let (sizes, wanted) = (volume(network, from)?, volume(network, to)?);
    let weights = weights(network, operator, 1, &WEIGHTS)?;
    let &[_, _, depth, height, width] = weights.shape.as_slice() else { return Err(refused("has odd weights")) };
    let kernel = [depth, height, width];
    // What the full result has more than the one that is wanted is cut off; what it has less is added at the end.
    let surplus = [0, 1, 2]
        .map(|axis| (sizes[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 - wanted[axis]);
    let cut = if padding == Padding::Same { surplus.map(|surplus| surplus.max(0)) } else { [0; 3] };
    let added = [0, 1, 2].map(|axis| cut[axis] - surplus[axis]);
    if (0..3).any(|axis| !(0..strides[axis]).contains(&added[axis])) {
        return Err(refused("has a result of a size that does not follow from its input"));
    }
    let attributes = [
        Attribute::Integers("kernel_shape", kernel.to_vec()),
        Attribute::Integers("strides", strides.to_vec()),
        Attribute::Integers("dilations", dilations.to_vec()),
        Attribute::Integers("pads", halves(cut)),
        Attribute::Integers("output_padding", added.to_vec()),
    ];
    let weights = network.initializer(&network.tensor(input(operator, 1)?)?.name, &weights);
    let layer = Layer { name: "ConvTranspose", from, weights, bias: bias(network, operator, 3)? };
    layer.write(network, to, activation, &attributes)
}

struct Layer {
    name: &'static str,
    from: TensorId,
    weights: String,
    bias: Option<String>,
}

impl Layer {
    fn write(
        self,
        network: &mut Network<'_>,
        to: TensorId,
        fused: Activation,
        attributes: &[Attribute],
    ) -> Result<(), Trouble> {
        let name = &network.tensor(to)?.name;
        let volume = network.take(self.from, Order::AsStored)?;
        let order = |order: [i64; 5]| [Attribute::Integers("perm", order.to_vec())];
        let first = network.inner("Transpose", &[&volume], &format!("{name}/channels_first"), &order(CHANNELS_FIRST));
        let operands: Vec<&str> = [first.as_str(), &self.weights].into_iter().chain(self.bias.as_deref()).collect();
        let convolved = network.inner(self.name, &operands, &format!("{name}/convolved"), attributes);
        let result = network.begin(to, Order::AsStored, fused)?;
        network.node("Transpose", &[&convolved], &result.raw, &order(CHANNELS_LAST));
        network.end(&result);
        Ok(())
    }
}
