//! Layers with weights or windows.

use super::dilations::Dilated;
use super::network::{Attribute, Network, channels_first};
use super::operators::{constant, input, output};
use super::{Order, Trouble, refused};
use crate::onnx::{ElementType, element_count};
use crate::tflite::{Activation, Constant, Convolution, LocalResponse, Operator, Padding, Resize, TensorId, Values};

/// The sizes of a picture: batch, height, width, channels.
fn picture(network: &Network<'_>, id: TensorId) -> Result<[i64; 4], Trouble> {
    let tensor = network.tensor(id)?;
    let sizes = tensor.shape.first_chunk::<4>().filter(|_| tensor.shape.len() == 4);
    sizes
        .copied()
        .ok_or_else(|| refused(format!("takes pictures, but `{}` has the shape {:?}", tensor.name, tensor.shape)))
}

/// Returns constant weights in another order.
pub(super) fn weights(
    network: &Network<'_>,
    operator: &Operator,
    place: usize,
    order: &[usize],
) -> Result<Constant, Trouble> {
    let weights = constant(network, operator, place)?;
    if !matches!(weights.values, Values::Real(_)) {
        return Err(refused("has weights that are integers without a scale"));
    }
    let transposed = weights.transposed(order);
    transposed.ok_or_else(|| refused(format!("has weights that do not have {} dimensions", order.len())))
}

/// Returns the bias, if there is one.
pub(super) fn bias(network: &mut Network<'_>, operator: &Operator, place: usize) -> Result<Option<String>, Trouble> {
    let Some(id) = operator.input(place) else { return Ok(None) };
    if network.element(id)? != ElementType::Float32 {
        return Err(refused("has a bias of integers without a scale"));
    }
    network.take(id, Order::AsStored).map(Some)
}

/// A window that slides over a picture; pairs are height, width.
pub(super) struct Window {
    pub(super) sizes: [i64; 2],
    pub(super) kernel: [i64; 2],
    pub(super) strides: [i64; 2],
    pub(super) dilations: [i64; 2],
}

impl Window {
    /// Returns the padding as ONNX says it.
    pub(super) fn pads(&self, padding: Padding) -> Vec<i64> {
        let Self { sizes, kernel, strides, dilations } = self;
        let missing = |axis: usize| missing(sizes[axis], kernel[axis], strides[axis], dilations[axis]);
        match padding {
            Padding::Same => halves([missing(0), missing(1)]),
            Padding::Valid => vec![0; 4],
        }
    }
}

/// Returns how far the last window of a dimension reaches over its border.
pub(super) const fn missing(size: i64, kernel: i64, stride: i64, dilation: i64) -> i64 {
    let steps = (size + stride - 1) / stride - 1;
    let missing = steps * stride + (kernel - 1) * dilation + 1 - size;
    if missing > 0 { missing } else { 0 }
}

/// Divides what is added to, or taken from, height and width between both ends: the odd one goes to the last.
fn halves([height, width]: [i64; 2]) -> Vec<i64> {
    vec![height / 2, width / 2, height - height / 2, width - width / 2]
}

/// Writes a convolution, or what it and its surroundings do.
pub(super) fn convolution(
    network: &mut Network<'_>,
    operator: &Operator,
    dilated: Option<&Dilated>,
) -> Result<(), Trouble> {
    let [_, height, width, channels] = picture(network, input(operator, 0)?)?;
    let (options, weights, group) = if operator.name == "CONV_2D" {
        // Output channels, height, width, input channels become output channels, input channels, height, width.
        let weights = weights(network, operator, 1, &[0, 3, 1, 2])?;
        let group = match weights.shape.get(1) {
            Some(&own @ 1..) if channels % own == 0 => channels / own,
            _ => return Err(refused("has weights for another number of channels")),
        };
        (operator.convolution()?, weights, group)
    } else {
        // One, height, width, output channels become output channels, one, height, width.
        (operator.depthwise_convolution()?, weights(network, operator, 1, &[3, 0, 1, 2])?, channels)
    };
    let &[_, _, kernel_height, kernel_width] = weights.shape.as_slice() else { return Err(refused("has odd weights")) };
    let kernel = [kernel_height, kernel_width];
    let (dilations, pads) = match dilated {
        Some(dilated) => (dilated.dilations, dilated.pads.clone()),
        None => {
            let Convolution { strides, dilations, padding, .. } = options;
            let window = Window { sizes: [height, width], kernel, strides, dilations };
            (dilations, window.pads(padding))
        }
    };
    let attributes = vec![
        Attribute::Integers("kernel_shape", kernel.to_vec()),
        Attribute::Integers("strides", options.strides.to_vec()),
        Attribute::Integers("dilations", dilations.to_vec()),
        Attribute::Integers("pads", pads),
        Attribute::Integer("group", group),
    ];
    let layer = Layer { name: "Conv", picture: 0, bias: 2, attributes, activation: options.activation };
    match dilated {
        Some(dilated) => layer.write_dilated(network, operator, &weights, dilated),
        None => layer.write(network, operator, &weights),
    }
}

/// A layer with weights.
struct Layer {
    /// Its operator in ONNX.
    name: &'static str,
    /// Which operand is the picture.
    picture: usize,
    /// Which operand is the bias.
    bias: usize,
    attributes: Vec<Attribute>,
    activation: Activation,
}

impl Layer {
    fn write(&self, network: &mut Network<'_>, operator: &Operator, weights: &Constant) -> Result<(), Trouble> {
        let to = output(operator, 0)?;
        let picture = network.take(input(operator, self.picture)?, Order::ChannelsFirst)?;
        let operands = self.operands(network, operator, weights, picture)?;
        let result = network.begin(to, Order::ChannelsFirst, self.activation)?;
        self.node(network, &operands, &result.raw);
        network.end(&result);
        Ok(())
    }

    /// Writes a convolution whose picture may be a sequence, in the shape of a picture here only.
    fn write_dilated(
        &self,
        network: &mut Network<'_>,
        operator: &Operator,
        weights: &Constant,
        dilated: &Dilated,
    ) -> Result<(), Trouble> {
        let Dilated { from, to, sizes, result: result_sizes, .. } = dilated;
        let tensor = network.tensor(*to)?;
        if tensor.shape.len() == 4 {
            let picture = network.take(*from, Order::ChannelsFirst)?;
            let operands = self.operands(network, operator, weights, picture)?;
            let result = network.begin(*to, Order::ChannelsFirst, self.activation)?;
            self.node(network, &operands, &result.raw);
            network.end(&result);
            return Ok(());
        }
        let sequence = network.take(*from, Order::AsStored)?;
        let (wide, picture) =
            (network.fresh(&format!("{}/wide", tensor.name)), network.fresh(&format!("{}/picture", tensor.name)));
        network.reshape(&sequence, sizes, &wide);
        network.reorder(&wide, sizes, Order::ChannelsFirst, &picture)?;
        let operands = self.operands(network, operator, weights, picture)?;
        let result = network.begin(*to, Order::AsStored, self.activation)?;
        let (raw, stored) =
            (network.fresh(&format!("{}/convolved", result.raw)), network.fresh(&format!("{}/stored", result.raw)));
        self.node(network, &operands, &raw);
        network.reorder(&raw, result_sizes, Order::AsStored, &stored)?;
        network.reshape(&stored, &tensor.shape, &result.raw);
        network.end(&result);
        Ok(())
    }

    fn operands(
        &self,
        network: &mut Network<'_>,
        operator: &Operator,
        weights: &Constant,
        picture: String,
    ) -> Result<Vec<String>, Trouble> {
        let weights = network.initializer(&network.tensor(input(operator, 1)?)?.name, weights);
        let mut operands = vec![picture, weights];
        operands.extend(bias(network, operator, self.bias)?);
        Ok(operands)
    }

    fn node(&self, network: &mut Network<'_>, operands: &[String], raw: &str) {
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        network.node(self.name, &operands, raw, &self.attributes);
    }
}

/// Which operands of a transposed convolution are the picture and the bias; the weights are the second.
struct Operands {
    picture: usize,
    bias: usize,
}

pub(super) fn transposed_convolution(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let options = operator.transposed_convolution()?;
    convolve_transposed(network, operator, options, &Operands { picture: 2, bias: 3 })
}

/// Translates MediaPipe's operator, which is told the size of its result by its tensor alone.
pub(super) fn transposed_convolution_with_bias(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let options = operator.transposed_convolution_with_bias()?;
    convolve_transposed(network, operator, options, &Operands { picture: 0, bias: 2 })
}

fn convolve_transposed(
    network: &mut Network<'_>,
    operator: &Operator,
    options: Convolution,
    operands: &Operands,
) -> Result<(), Trouble> {
    // Output channels, height, width, input channels become input channels, output channels, height, width.
    let weights = weights(network, operator, 1, &[3, 0, 1, 2])?;
    let (from, to) = (input(operator, operands.picture)?, output(operator, 0)?);
    let [_, height, width, _] = picture(network, from)?;
    let [_, out_height, out_width, _] = picture(network, to)?;
    let &[_, _, kernel_height, kernel_width] = weights.shape.as_slice() else { return Err(refused("has odd weights")) };
    // What the full result has more than the one that is wanted is cut off; what it has less is added at the end.
    let [vertical, horizontal] = options.strides;
    let surplus =
        [(height - 1) * vertical + kernel_height - out_height, (width - 1) * horizontal + kernel_width - out_width];
    let cut = if options.padding == Padding::Same { surplus.map(|surplus| surplus.max(0)) } else { [0, 0] };
    let missing = [cut[0] - surplus[0], cut[1] - surplus[1]];
    if !(0..vertical).contains(&missing[0]) || !(0..horizontal).contains(&missing[1]) {
        return Err(refused("has a result of a size that does not follow from its input"));
    }
    let attributes = vec![
        Attribute::Integers("kernel_shape", vec![kernel_height, kernel_width]),
        Attribute::Integers("strides", options.strides.to_vec()),
        Attribute::Integers("pads", halves(cut)),
        Attribute::Integers("output_padding", missing.to_vec()),
    ];
    let Operands { picture, bias } = *operands;
    let layer = Layer { name: "ConvTranspose", picture, bias, attributes, activation: options.activation };
    layer.write(network, operator, &weights)
}

pub(super) fn fully_connected(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    if !operator.has_plain_weights()? {
        return Err(refused("has weights in a shuffled order"));
    }
    let (from, weights, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let &[outputs, inputs] = network.tensor(weights)?.shape.as_slice() else {
        return Err(refused("has weights that do not have two dimensions"));
    };
    for id in [from, weights] {
        if network.element(id)? != ElementType::Float32 {
            return Err(refused("computes with integers"));
        }
    }
    let sizes = &network.tensor(from)?.shape;
    let count = element_count(sizes).and_then(|count| i64::try_from(count).ok());
    let Some(count) = count.filter(|count| inputs > 0 && count % inputs == 0) else {
        return Err(refused("has weights for another number of inputs"));
    };
    let (rows, name) = (count / inputs, &network.tensor(to)?.name);
    let mut operand = network.take_elements(from)?;
    if *sizes != [rows, inputs] {
        let flat = network.fresh(&format!("{name}/flat"));
        network.reshape(&operand, &[rows, inputs], &flat);
        operand = flat;
    }
    let bias = bias(network, operator, 2)?;
    let weights = if bias.is_some() { network.take(weights, Order::AsStored)? } else { turned(network, weights)? };
    let result = network.begin(to, Order::AsStored, operator.fused_activation()?)?;
    let is_flat = network.tensor(to)?.shape == [rows, outputs];
    let product = if is_flat { result.raw.clone() } else { network.fresh(&format!("{name}/rows")) };
    match bias {
        Some(bias) => {
            let transposed = [Attribute::Integer("transB", 1)];
            network.node("Gemm", &[&operand, &weights, &bias], &product, &transposed);
        }
        None => {
            network.node("MatMul", &[&operand, &weights], &product, &[]);
        }
    }
    if !is_flat {
        network.reshape(&product, &network.tensor(to)?.shape, &result.raw);
    }
    network.end(&result);
    Ok(())
}

/// Returns a matrix with its rows as columns.
fn turned(network: &mut Network<'_>, id: TensorId) -> Result<String, Trouble> {
    let name = &network.tensor(id)?.name;
    if let Some(constant) = network.constant(id)? {
        let turned = constant.transposed(&[1, 0]).ok_or_else(|| refused("has odd weights"))?;
        return Ok(network.initializer(name, &turned));
    }
    let matrix = network.take(id, Order::AsStored)?;
    let order = [Attribute::Integers("perm", vec![1, 0])];
    Ok(network.inner("Transpose", &[&matrix], &format!("{name}/turned"), &order))
}

pub(super) fn matrix_product(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let name = &network.tensor(to)?.name;
    let mut operands = Vec::new();
    for (place, is_transposed) in operator.adjoints()?.into_iter().enumerate() {
        let id = input(operator, place)?;
        let mut operand = network.take(id, Order::AsStored)?;
        if is_transposed {
            let mut order: Vec<i64> = (0..network.tensor(id)?.shape.len() as i64).collect();
            if let [.., rows, columns] = order.as_mut_slice() {
                std::mem::swap(rows, columns);
            }
            operand = network.inner(
                "Transpose",
                &[&operand],
                &format!("{name}/transposed"),
                &[Attribute::Integers("perm", order)],
            );
        }
        operands.push(operand);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    network.write(to, Order::AsStored, "MatMul", &operands, &[])
}

pub(super) fn pool(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let options = operator.pool()?;
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let [_, height, width, _] = picture(network, from)?;
    let (sizes, kernel, strides) = ([height, width], options.kernel, options.strides);
    let window = Window { sizes, kernel, strides, dilations: [1, 1] };
    let attributes = [
        Attribute::Integers("kernel_shape", kernel.to_vec()),
        Attribute::Integers("strides", strides.to_vec()),
        Attribute::Integers("pads", window.pads(options.padding)),
    ];
    let picture = network.take(from, Order::ChannelsFirst)?;
    let result = network.begin(to, Order::ChannelsFirst, options.activation)?;
    match operator.name.as_str() {
        "MAX_POOL_2D" => network.node("MaxPool", &[&picture], &result.raw, &attributes),
        "L2_POOL_2D" => {
            let squares = network.inner("Mul", &[&picture, &picture], &format!("{}/squares", result.raw), &[]);
            let mean = network.inner("AveragePool", &[&squares], &format!("{}/mean", result.raw), &attributes);
            network.node("Sqrt", &[&mean], &result.raw, &[]);
        }
        _ => network.node("AveragePool", &[&picture], &result.raw, &attributes),
    }
    network.end(&result);
    Ok(())
}

/// ONNX divides the factor by the number of channels in the window.
pub(super) fn local_response(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let LocalResponse { radius, bias, alpha, beta } = operator.local_response()?;
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    picture(network, from)?;
    let size = 2 * radius + 1;
    let attributes = [
        Attribute::Integer("size", size),
        Attribute::Float("alpha", alpha * size as f32),
        Attribute::Float("beta", beta),
        Attribute::Float("bias", bias),
    ];
    let picture = network.take(from, Order::ChannelsFirst)?;
    network.write(to, Order::ChannelsFirst, "LRN", &[&picture], &attributes)
}

pub(super) fn resize(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let ([_, height, width, _], [_, out_height, out_width, _]) = (picture(network, from)?, picture(network, to)?);
    let is_multiple = height > 0 && width > 0 && out_height % height == 0 && out_width % width == 0;
    let (mode, coordinates, nearest) = match (operator.name.as_str(), operator.resize()?) {
        ("RESIZE_BILINEAR", Resize::Asymmetric) => ("linear", "asymmetric", "floor"),
        ("RESIZE_BILINEAR", Resize::AlignCorners) => ("linear", "align_corners", "floor"),
        ("RESIZE_BILINEAR", Resize::HalfPixel) => ("linear", "half_pixel", "floor"),
        (_, Resize::Asymmetric) => ("nearest", "asymmetric", "floor"),
        // Repeating each element: the same, and the form that every tool knows.
        (_, Resize::HalfPixel) if is_multiple => ("nearest", "asymmetric", "floor"),
        (_, Resize::HalfPixel) => ("nearest", "half_pixel", "round_prefer_ceil"),
        (_, Resize::AlignCorners) => ("nearest", "align_corners", "round_prefer_ceil"),
    };
    let attributes = [
        Attribute::Text("mode", mode),
        Attribute::Text("coordinate_transformation_mode", coordinates),
        Attribute::Text("nearest_mode", nearest),
    ];
    let picture = network.take(from, Order::ChannelsFirst)?;
    let name = &network.tensor(to)?.name;
    // Neither a region nor factors: sizes are exact.
    let nothing = Constant { shape: vec![0], values: Values::Real(Vec::new()) };
    let region = network.initializer(&format!("{name}/region"), &nothing);
    let factors = network.initializer(&format!("{name}/factors"), &nothing);
    let sizes = network.list(&format!("{name}/sizes"), &channels_first(&network.tensor(to)?.shape));
    network.write(to, Order::ChannelsFirst, "Resize", &[&picture, &region, &factors, &sizes], &attributes)
}

pub(super) fn blocks(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let size = Attribute::Integer("blocksize", operator.block_size()?);
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    picture(network, from)?;
    let picture = network.take(from, Order::ChannelsFirst)?;
    let name = if operator.name == "SPACE_TO_DEPTH" { "SpaceToDepth" } else { "DepthToSpace" };
    network.write(to, Order::ChannelsFirst, name, &[&picture], &[size])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_padding_goes_to_the_end_first() {
        let cases = [
            ([5, 5], [3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
            ([4, 5], [3, 3], [2, 2], [1, 1], [0, 1, 1, 1]),
            ([128, 128], [5, 5], [2, 2], [1, 1], [1, 1, 2, 2]),
            ([7, 8], [2, 2], [2, 2], [1, 1], [0, 0, 1, 0]),
            ([9, 9], [3, 3], [1, 1], [2, 2], [2, 2, 2, 2]),
            ([4, 4], [1, 1], [3, 3], [1, 1], [0, 0, 0, 0]),
        ];
        for (sizes, kernel, strides, dilations, expected) in cases {
            let window = Window { sizes, kernel, strides, dilations };
            assert_eq!(window.pads(Padding::Same), expected, "{sizes:?} {kernel:?}");
            assert_eq!(window.pads(Padding::Valid), [0; 4]);
        }
    }
}
