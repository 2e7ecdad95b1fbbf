//! Operators that move elements: the shapes of their results.

use super::{Dims, Shapes, broadcast, count, known, map, same, sizes_of};
use crate::onnx::facts::call::Call;
use crate::onnx::facts::entries::Entry;
use crate::onnx::geometry;
use crate::onnx::value::Dimension;

/// Operators with one result that is followed.
pub(super) fn shape(call: &Call<'_, '_>) -> Option<Dims> {
    match call.operator() {
        "Reshape" => reshape(call),
        "Flatten" => flatten(call),
        "Squeeze" => squeeze(call),
        "Unsqueeze" => unsqueeze(call),
        "Transpose" => transpose(call),
        "Concat" => concat(call),
        "Slice" => slice(call),
        "Gather" => gather(call),
        "GatherND" => gather_nd(call),
        "Expand" => broadcast(call.dims(0)?, &sizes_of(&call.entries(1)?)),
        "Tile" if call.opset >= 6 => tile(call),
        "Pad" => pad(call),
        "DepthToSpace" => blocks(call, true),
        "SpaceToDepth" => blocks(call, false),
        "Compress" => compress(call),
        "OneHot" => one_hot(call),
        "NonZero" => Some(vec![Dimension::Known(call.rank(0)? as i64), Dimension::Unknown]),
        "Unique" => unique(call),
        "CenterCropPad" => center(call),
        _ => None,
    }
}

fn reshape(call: &Call<'_, '_>) -> Option<Dims> {
    let target = match call.attributes.ints("shape") {
        Some(list) if !call.has(1) => list.iter().copied().map(Entry::Known).collect(),
        _ => call.entries(1)?,
    };
    let copies = !call.attributes.flag("allowzero");
    let Some(input) = call.dims(0) else {
        let dims = target
            .iter()
            .map(|entry| if copies && *entry == Entry::Known(0) { Dimension::Unknown } else { entry.dimension() });
        return Some(dims.collect());
    };
    // What one unknown size must be follows from the rest: sizes of the same name cancel out.
    let mut open = Vec::new();
    let mut dims = Dims::new();
    let mut left: Vec<Option<&Dimension>> = input.iter().map(Some).collect();
    for (place, entry) in target.iter().enumerate() {
        dims.push(match entry {
            Entry::Known(0) if copies => {
                let copied = input.get(place)?;
                *left.get_mut(place)? = None;
                copied.clone()
            }
            Entry::Known(-1) | Entry::Unknown => {
                open.push(place);
                Dimension::Unknown
            }
            other => other.dimension(),
        });
    }
    let mut given = 1_i64;
    for (place, entry) in target.iter().enumerate() {
        match entry {
            Entry::Known(0) if copies => {}
            Entry::Symbolic(_) => match left.iter().position(|dimension| *dimension == dims.get(place)) {
                Some(place) => *left.get_mut(place)? = None,
                None => return Some(dims),
            },
            Entry::Known(size) if *size >= 0 => given = given.checked_mul(*size)?,
            _ => {}
        }
    }
    let rest: Dims = left.into_iter().flatten().cloned().collect();
    if let [place] = open.as_slice() {
        let size = match (&count(&rest), rest.as_slice()) {
            (Dimension::Known(whole), _) if given > 0 && whole % given == 0 => Dimension::Known(whole / given),
            // One name that is left, and nothing else.
            (_, rest) if given == 1 => {
                let mut others = rest.iter().filter(|dimension| **dimension != Dimension::Known(1));
                match (others.next(), others.next()) {
                    (Some(only), None) => only.clone(),
                    _ => Dimension::Unknown,
                }
            }
            _ => Dimension::Unknown,
        };
        *dims.get_mut(*place)? = size;
    }
    Some(dims)
}

fn flatten(call: &Call<'_, '_>) -> Option<Dims> {
    let dims = call.dims(0)?;
    let axis = call.attributes.int("axis").unwrap_or(1);
    let axis = if usize::try_from(axis) == Ok(dims.len()) { dims.len() } else { geometry::axis(axis, dims.len())? };
    let (outer, inner) = dims.split_at_checked(axis)?;
    let product = |dims: &[Dimension]| if let [single] = dims { single.clone() } else { count(dims) };
    Some(vec![product(outer), product(inner)])
}

fn squeeze(call: &Call<'_, '_>) -> Option<Dims> {
    let dims = call.dims(0)?;
    let given = call.has(1) || call.attributes.find("axes").is_some();
    let axes = if given {
        geometry::axes(&call.list("axes", 1)?, dims.len())?
    } else {
        let sizes = dims.iter().map(known).collect::<Option<Vec<_>>>()?;
        sizes.iter().enumerate().filter(|(_, size)| **size == 1).map(|(axis, _)| axis).collect()
    };
    let kept = dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    Some(kept.map(|(_, dimension)| dimension.clone()).collect())
}

fn unsqueeze(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let axes = call.list("axes", 1)?;
    let axes = geometry::axes(&axes, dims.len().checked_add(axes.len())?)?;
    axes.into_iter().for_each(|axis| dims.insert(axis, Dimension::Known(1)));
    Some(dims)
}

fn transpose(call: &Call<'_, '_>) -> Option<Dims> {
    let dims = call.dims(0)?;
    match call.attributes.ints("perm") {
        Some(order) if order.len() == dims.len() => {
            order.iter().map(|&axis| dims.get(usize::try_from(axis).ok()?).cloned()).collect()
        }
        Some(_) => None,
        None => Some(dims.iter().rev().cloned().collect()),
    }
}

fn concat(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let axis = call.axis(1, dims.len())?;
    for place in 1..call.node.input.len() {
        let other = call.dims(place).filter(|other| other.len() == dims.len())?;
        for (index, (own, other)) in dims.iter_mut().zip(other).enumerate() {
            *own = match (index == axis, &own, other) {
                (false, own, other) => same(own, other),
                (true, Dimension::Known(own), Dimension::Known(other)) => Dimension::Known(own.checked_add(*other)?),
                (true, own, Dimension::Known(0)) => (*own).clone(),
                (true, Dimension::Known(0), other) => other.clone(),
                (true, ..) => Dimension::Unknown,
            };
        }
    }
    Some(dims)
}

fn slice(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let rank = dims.len();
    let bounds = |name: &str, place: usize| {
        let attribute = call.attributes.ints(name).map(|list| list.iter().copied().map(Entry::Known).collect());
        if call.has(place) { call.entries(place) } else { attribute }
    };
    let (starts, ends) = (bounds("starts", 1)?, bounds("ends", 2)?);
    let given = call.has(3) || call.attributes.find("axes").is_some();
    let axes = match given {
        true => call.list("axes", 3).map(|axes| axes.iter().map(|&axis| geometry::axis(axis, rank)).collect()),
        false => Some((0..starts.len()).map(Some).collect::<Vec<_>>()),
    };
    // Any axis may be sliced.
    let Some(axes) = axes else {
        return Some(vec![Dimension::Unknown; rank]);
    };
    let steps = if call.has(4) { call.integers(4) } else { Some(vec![1; starts.len()]) };
    for (place, axis) in axes.into_iter().enumerate() {
        let dimension = dims.get_mut(axis?)?;
        let step = steps.as_ref().and_then(|steps| steps.get(place));
        *dimension = match (starts.get(place)?, ends.get(place)?, step, &dimension) {
            (Entry::Known(start), Entry::Known(end), Some(step), Dimension::Known(size)) => {
                Dimension::Known(geometry::slice(*start, *end, *step, *size)?.count)
            }
            // Everything, however much that is.
            (Entry::Known(0), Entry::Known(end), Some(1), _) if *end >= i64::from(i32::MAX) => continue,
            _ => Dimension::Unknown,
        };
    }
    Some(dims)
}

fn gather(call: &Call<'_, '_>) -> Option<Dims> {
    let (dims, indices) = (call.dims(0)?, call.dims(1)?);
    let axis = call.axis(0, dims.len())?;
    Some([dims.get(..axis)?, indices, dims.get(axis + 1..)?].concat())
}

fn gather_nd(call: &Call<'_, '_>) -> Option<Dims> {
    let (dims, (length, outer)) = (call.dims(0)?, call.dims(1)?.split_last()?);
    let batches = call.attributes.int("batch_dims").unwrap_or(0);
    let taken = usize::try_from(batches.checked_add(known(length)?)?).ok()?;
    Some([outer, dims.get(taken..)?].concat())
}

fn tile(call: &Call<'_, '_>) -> Option<Dims> {
    let (dims, repeats) = (call.dims(0)?, call.entries(1)?);
    let tiled = |(dimension, times): (&Dimension, &Entry)| match (dimension, times) {
        (any, Entry::Known(1)) => any.clone(),
        (Dimension::Known(1), times) => times.dimension(),
        (dimension, Entry::Known(times)) => map(dimension, |size| size.checked_mul(*times)),
        _ => Dimension::Unknown,
    };
    (repeats.len() == dims.len()).then(|| dims.iter().zip(&repeats).map(tiled).collect())
}

fn pad(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let attribute = || call.attributes.ints("pads").or(call.attributes.ints("paddings"));
    let pads: Vec<Entry> = match call.has(1) {
        true => call.entries(1).unwrap_or_default(),
        false => attribute()?.iter().copied().map(Entry::Known).collect(),
    };
    let axes = match call.has(3) {
        true => call.integers(3).and_then(|axes| axes.iter().map(|&it| geometry::axis(it, dims.len())).collect()),
        false => Some((0..dims.len()).collect::<Vec<_>>()),
    };
    let Some(axes) = axes.filter(|axes| pads.len() == 2 * axes.len()) else {
        return Some(vec![Dimension::Unknown; dims.len()]);
    };
    for (place, axis) in axes.iter().enumerate() {
        let dimension = dims.get_mut(*axis)?;
        *dimension = match (pads.get(place)?, pads.get(place + axes.len())?) {
            (Entry::Known(0), Entry::Known(0)) => continue,
            (Entry::Known(before), Entry::Known(after)) => {
                map(dimension, |size| size.checked_add(*before)?.checked_add(*after))
            }
            _ => Dimension::Unknown,
        };
    }
    Some(dims)
}

fn blocks(call: &Call<'_, '_>, grows: bool) -> Option<Dims> {
    let [batch, channels, height, width] = call.dims(0)? else {
        return None;
    };
    let block = call.attributes.int("blocksize").filter(|block| *block > 0)?;
    let area = block.checked_mul(block)?;
    let (more, less) = (
        |size: &Dimension, by: i64| map(size, |it| it.checked_mul(by)),
        |size: &Dimension, by: i64| map(size, |it| (it % by == 0).then_some(it / by)),
    );
    Some(match grows {
        true => vec![batch.clone(), less(channels, area), more(height, block), more(width, block)],
        false => vec![batch.clone(), more(channels, area), less(height, block), less(width, block)],
    })
}

fn compress(call: &Call<'_, '_>) -> Option<Dims> {
    if call.attributes.find("axis").is_none() {
        return Some(vec![Dimension::Unknown]);
    }
    let mut dims = call.dims(0)?.to_vec();
    *dims.get_mut(call.axis(0, call.rank(0)?)?)? = Dimension::Unknown;
    Some(dims)
}

fn one_hot(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let axis = call.axis(-1, dims.len() + 1)?;
    let depth = call.entries(1).and_then(|entries| entries.first().map(Entry::dimension));
    dims.insert(axis, depth.unwrap_or(Dimension::Unknown));
    Some(dims)
}

fn unique(call: &Call<'_, '_>) -> Option<Dims> {
    if call.attributes.find("axis").is_none() {
        return Some(vec![Dimension::Unknown]);
    }
    let mut dims = call.dims(0)?.to_vec();
    *dims.get_mut(call.axis(0, call.rank(0)?)?)? = Dimension::Unknown;
    Some(dims)
}

fn center(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(0)?.to_vec();
    let axes = match call.attributes.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| geometry::axis(axis, dims.len())).collect::<Option<Vec<_>>>()?,
        None => (0..dims.len()).collect(),
    };
    let wanted = call.entries(1).filter(|wanted| wanted.len() == axes.len());
    for (place, axis) in axes.into_iter().enumerate() {
        let size = wanted.as_ref().and_then(|wanted| wanted.get(place)).map(Entry::dimension);
        *dims.get_mut(axis)? = size.unwrap_or(Dimension::Unknown);
    }
    Some(dims)
}

/// Operators with several results.
pub(super) fn several(call: &Call<'_, '_>) -> Option<Shapes> {
    match call.operator() {
        "Split" => split(call),
        _ => top(call),
    }
}

fn split(call: &Call<'_, '_>) -> Option<Shapes> {
    let dims = call.dims(0)?;
    let axis = call.axis(0, dims.len())?;
    let parts = call.node.output.len();
    let given = call.has(1) || call.attributes.find("split").is_some();
    let lengths: Dims = match (given, known(dims.get(axis)?)) {
        (true, _) => match call.list("split", 1) {
            Some(lengths) => lengths.into_iter().map(Dimension::Known).collect(),
            None => vec![Dimension::Unknown; parts],
        },
        (false, Some(size)) => {
            let count = i64::try_from(parts).ok().filter(|count| *count > 0)?;
            let length = size.checked_add(count - 1)? / count;
            (0..count).map(|part| Dimension::Known((size - part * length).clamp(0, length))).collect()
        }
        (false, None) => vec![Dimension::Unknown; parts],
    };
    let shape = |length: Dimension| {
        let mut dims = dims.to_vec();
        *dims.get_mut(axis)? = length;
        Some(dims)
    };
    Some(lengths.into_iter().map(shape).collect())
}

fn top(call: &Call<'_, '_>) -> Option<Shapes> {
    let mut dims = call.dims(0)?.to_vec();
    let axis = call.axis(-1, dims.len())?;
    let wanted = match call.attributes.int("k") {
        Some(wanted) => Dimension::Known(wanted),
        None => call.entries(1).and_then(|entries| entries.first().map(Entry::dimension)).unwrap_or(Dimension::Unknown),
    };
    *dims.get_mut(axis)? = wanted;
    Some(vec![Some(dims.clone()), Some(dims)])
}
