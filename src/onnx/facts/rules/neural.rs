//! The layers of neural networks, and signals: the shapes of their results.

use super::windows::Windows;
use super::{Dims, Shapes, count, known, map, one, same, sizes_of};
use crate::onnx::facts::call::Call;
use crate::onnx::facts::entries::Entry;
use crate::onnx::geometry;
use crate::onnx::value::Dimension;

pub(super) fn shapes(call: &Call<'_, '_>) -> Option<Shapes> {
    match call.operator() {
        "Conv" | "ConvInteger" | "DeformConv" => one(convolution(call, 1)?),
        "QLinearConv" => one(convolution(call, 3)?),
        "ConvTranspose" => one(transposed(call)?),
        "MaxPool" | "AveragePool" | "LpPool" => {
            let dims = pooled(call)?;
            Some(vec![Some(dims.clone()), Some(dims)])
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => one(pooled_globally(call)?),
        "MaxUnpool" => one(unpooled(call)?),
        "MaxRoiPool" => {
            let sizes = call.attributes.ints("pooled_shape")?.iter().map(|&size| Dimension::Known(size)).collect();
            one([vec![call.dims(1)?.first()?.clone(), call.dims(0)?.get(1)?.clone()], sizes].concat())
        }
        "RoiAlign" => {
            let size = |name: &str| Dimension::Known(call.attributes.int(name).unwrap_or(1));
            let rois = same(call.dims(1)?.first()?, call.dims(2)?.first()?);
            one(vec![rois, call.dims(0)?.get(1)?.clone(), size("output_height"), size("output_width")])
        }
        "BatchNormalization" => {
            let channel = |place| call.dims(place).map(<[Dimension]>::to_vec);
            let (mean, variance) = (channel(3), channel(4));
            Some(vec![Some(call.dims(0)?.to_vec()), mean.clone(), variance.clone(), mean, variance])
        }
        "LayerNormalization" | "SimplifiedLayerNormalization" => {
            let dims = call.dims(0)?;
            let axis = call.axis(-1, dims.len())?;
            let tail = vec![Dimension::Known(1); dims.len() - axis];
            let statistics = [dims.get(..axis)?, &tail].concat();
            Some(vec![Some(dims.to_vec()), Some(statistics.clone()), Some(statistics)])
        }
        "Attention" => one(attention(call)?),
        "Dropout" => {
            let dims = call.dims(0)?.to_vec();
            Some(vec![Some(dims.clone()), Some(dims)])
        }
        "DynamicQuantizeLinear" => Some(vec![Some(call.dims(0)?.to_vec()), Some(Dims::new()), Some(Dims::new())]),
        "LSTM" | "GRU" | "RNN" => recurrent(call),
        "Resize" | "Upsample" => one(resized(call)?),
        "GridSample" => {
            let (dims, grid) = (call.dims(0)?, call.dims(1)?);
            let spatial = grid.get(1..grid.len().checked_sub(1)?)?;
            one([vec![same(dims.first()?, grid.first()?), dims.get(1)?.clone()], spatial.to_vec()].concat())
        }
        "AffineGrid" => {
            let sizes = sizes_of(&call.entries(1)?);
            let (batch, spatial) = (sizes.first()?.clone(), sizes.get(2..)?.to_vec());
            let rank = Dimension::Known(spatial.len() as i64);
            one([vec![batch], spatial, vec![rank]].concat())
        }
        "Col2Im" => {
            let (dims, image, block) = (call.dims(0)?, call.entries(1)?, call.entries(2)?);
            let area = known(&count(&sizes_of(&block))).filter(|area| *area > 0);
            let channels = area.map_or(Dimension::Unknown, |area| {
                map(dims.get(1).unwrap_or(&Dimension::Unknown), |it| Some(it / area))
            });
            one([vec![dims.first()?.clone(), channels], sizes_of(&image)].concat())
        }
        "NonMaxSuppression" => one(vec![Dimension::Unknown, Dimension::Known(3)]),
        "Multinomial" => {
            let samples = Dimension::Known(call.attributes.int("sample_size").unwrap_or(1));
            one(vec![call.dims(0)?.first()?.clone(), samples])
        }
        "NegativeLogLikelihoodLoss" => one(loss(call)?),
        "SoftmaxCrossEntropyLoss" => Some(vec![loss(call), call.dims(0).map(<[Dimension]>::to_vec)]),
        "TfIdfVectorizer" => {
            let greatest = call.attributes.ints("ngram_indexes")?.iter().max()?.checked_add(1)?;
            let batch = call.dims(0)?.split_last()?.1;
            one([batch, &[Dimension::Known(greatest)]].concat())
        }
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => one(vec![single(call, 0)]),
        "MelWeightMatrix" => {
            let bins = map(&single(call, 1), |length| Some(length / 2 + 1));
            one(vec![bins, single(call, 0)])
        }
        "DFT" => one(fourier(call)?),
        "STFT" => one(short_fourier(call)?),
        _ => None,
    }
}

/// The weighted values, which stand like the query: `[batch, heads, length, size]` or `[batch, length, heads * size]`.
fn attention(call: &Call<'_, '_>) -> Option<Dims> {
    let last = call.dims(2)?.last()?;
    match call.dims(0)? {
        [batch, heads, length, _] => Some(vec![batch.clone(), heads.clone(), length.clone(), last.clone()]),
        [batch, length, _] => {
            let heads = |name: &str| call.attributes.int(name).filter(|heads| *heads > 0);
            let (heads, groups) = (heads("q_num_heads")?, heads("kv_num_heads")?);
            Some(vec![batch.clone(), length.clone(), map(last, |width| (width / groups).checked_mul(heads))])
        }
        _ => None,
    }
}

/// A size that is an input of its own.
fn single(call: &Call<'_, '_>, place: usize) -> Dimension {
    let entries = call.entries(place).unwrap_or_default();
    entries.first().map_or(Dimension::Unknown, Entry::dimension)
}

pub(super) fn convolution(call: &Call<'_, '_>, weights: usize) -> Option<Dims> {
    let dims = call.dims(0)?;
    let spatial = dims.get(2..)?;
    let weights = call.dims(weights);
    let windows = Windows::new(call.attributes, weights.and_then(|weights| weights.get(2..)))?;
    let channels = weights.and_then(|weights| weights.first()).cloned().unwrap_or(Dimension::Unknown);
    Some([vec![dims.first()?.clone(), channels], windows.places(spatial)?].concat())
}

fn transposed(call: &Call<'_, '_>) -> Option<Dims> {
    let (dims, weights) = (call.dims(0)?, call.dims(1)?);
    let spatial = dims.get(2..)?;
    let windows = Windows::new(call.attributes, weights.get(2..))?;
    let group = call.attributes.int("group").unwrap_or(1);
    let channels = map(weights.get(1)?, |channels| channels.checked_mul(group));
    Some([vec![dims.first()?.clone(), channels], windows.origins(spatial)?].concat())
}

pub(super) fn pooled(call: &Call<'_, '_>) -> Option<Dims> {
    let (kept, spatial) = call.dims(0)?.split_at_checked(2)?;
    Some([kept, &Windows::new(call.attributes, None)?.places(spatial)?].concat())
}

pub(super) fn pooled_globally(call: &Call<'_, '_>) -> Option<Dims> {
    let (kept, spatial) = call.dims(0)?.split_at_checked(2)?;
    Some([kept, &vec![Dimension::Known(1); spatial.len()]].concat())
}

fn unpooled(call: &Call<'_, '_>) -> Option<Dims> {
    if call.has(2) {
        return Some(sizes_of(&call.entries(2)?));
    }
    let (kept, spatial) = call.dims(0)?.split_at_checked(2)?;
    Some([kept, &Windows::new(call.attributes, None)?.origins(spatial)?].concat())
}

pub(super) fn recurrent(call: &Call<'_, '_>) -> Option<Shapes> {
    let [first, second, _] = call.dims(0)? else {
        return None;
    };
    let bidirectional = call.attributes.text("direction") == Some("bidirectional");
    let directions = Dimension::Known(if bidirectional { 2 } else { 1 });
    let hidden = match call.attributes.int("hidden_size") {
        Some(size) => Dimension::Known(size),
        None => call.dims(2)?.last()?.clone(),
    };
    let (all, last) = if call.attributes.flag("layout") {
        let (batch, length) = (first.clone(), second.clone());
        (vec![batch.clone(), length, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    } else {
        let (length, batch) = (first.clone(), second.clone());
        (vec![length, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    };
    Some(vec![Some(all), Some(last.clone()), Some(last)])
}

fn resized(call: &Call<'_, '_>) -> Option<Dims> {
    let dims = call.dims(0)?;
    let (scales_place, sizes_place) = match (call.operator(), call.opset) {
        ("Upsample", _) | ("Resize", ..11) => (1, usize::MAX),
        _ => (2, 3),
    };
    let axes = match call.attributes.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| geometry::axis(axis, dims.len())).collect::<Option<Vec<_>>>()?,
        None => (0..dims.len()).collect(),
    };
    let mut result = dims.to_vec();
    let open = |mut result: Dims| {
        axes.iter().for_each(|axis| result.get_mut(*axis).into_iter().for_each(|it| *it = Dimension::Unknown));
        result
    };
    if call.has(sizes_place) {
        let policy = call.attributes.text("keep_aspect_ratio_policy").unwrap_or("stretch");
        let sizes = call.entries(sizes_place).filter(|sizes| sizes.len() == axes.len() && policy == "stretch");
        let Some(sizes) = sizes else {
            return Some(open(result));
        };
        for (axis, size) in axes.iter().zip(&sizes) {
            *result.get_mut(*axis)? = size.dimension();
        }
        return Some(result);
    }
    let scales = match call.attributes.floats("scales").filter(|_| !call.has(scales_place)) {
        Some(scales) => Some(scales.iter().copied().map(f64::from).collect()),
        None => call.array(scales_place).and_then(|array| array.to_floats()),
    };
    // A part of the input that is stretched to the whole depends on which part.
    let crops = call.attributes.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
    let Some(scales) = scales.filter(|scales: &Vec<f64>| scales.len() == axes.len() && !crops) else {
        return Some(open(result));
    };
    for (axis, scale) in axes.iter().zip(scales) {
        let dimension = result.get_mut(*axis)?;
        if scale != 1.0 {
            // Multiplied in binary32, as scales are.
            *dimension = map(dimension, |size| Some((size as f32 * scale as f32).floor() as i64));
        }
    }
    Some(result)
}

fn loss(call: &Call<'_, '_>) -> Option<Dims> {
    match call.attributes.text("reduction") {
        Some("none") => call.dims(1).map(<[Dimension]>::to_vec),
        _ => Some(Dims::new()),
    }
}

fn fourier(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let rank = dims.len();
    let wanted = match call.opset {
        ..20 => call.attributes.int("axis").unwrap_or(1),
        _ if call.has(2) => *call.integers(2)?.first()?,
        _ => -2,
    };
    let axis = geometry::axis(wanted, rank)?;
    let (inverse, onesided) = (call.attributes.flag("inverse"), call.attributes.flag("onesided"));
    let dimension = dims.get_mut(axis)?;
    if call.has(1) {
        *dimension = single(call, 1);
    }
    if onesided {
        *dimension = if inverse { Dimension::Unknown } else { map(dimension, |size| Some(size / 2 + 1)) };
    }
    let parts = if inverse && onesided { Dimension::Unknown } else { Dimension::Known(2) };
    *dims.last_mut()? = parts;
    Some(dims)
}

fn short_fourier(call: &Call<'_, '_>) -> Option<Dims> {
    let signal = call.dims(0)?;
    let frame = if call.has(3) { single(call, 3) } else { call.dims(2)?.first()?.clone() };
    let (length, step) = (known(&frame)?, known(&single(call, 1)).filter(|step| *step > 0)?);
    let frames = map(signal.get(1)?, |size| Some(size.checked_sub(length)? / step + 1));
    let onesided = call.attributes.int("onesided").unwrap_or(1) != 0;
    let bins = Dimension::Known(if onesided { length / 2 + 1 } else { length });
    Some(vec![signal.first()?.clone(), frames, bins, Dimension::Known(2)])
}
