//! Operators that make tensors of little, and conversions of element types.

use super::Task;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::element::ElementType;

pub(super) fn constant(task: &Task<'_>) -> Option<Array> {
    let attributes = task.attributes;
    let [attribute] = task.node.attribute.as_slice() else {
        return None;
    };
    match attribute.name() {
        "value" => Array::of(attributes.tensor("value")?),
        "value_int" => Array::integers(Vec::new(), &[attributes.int("value_int")?]),
        "value_ints" => Array::integers(vec![attribute.ints.len()], &attribute.ints),
        "value_float" => Array::of_floats(ElementType::Float32, Vec::new(), &[attributes.float("value_float")?.into()]),
        "value_floats" => {
            let values: Vec<f64> = attribute.floats.iter().copied().map(f64::from).collect();
            Array::of_floats(ElementType::Float32, vec![values.len()], &values)
        }
        _ => None,
    }
}

pub(super) fn constant_of_shape(task: &Task<'_>) -> Option<Array> {
    let value = match task.attributes.tensor("value") {
        Some(tensor) => Array::of(tensor)?,
        None => Array::of_floats(ElementType::Float32, Vec::new(), &[0.0])?,
    };
    let wanted = task.input(0)?.to_integers()?;
    let sizes = wanted.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
    let count = task.room(&sizes, value.element())?;
    (value.count() == 1).then_some(())?;
    Array::new(value.element(), sizes, value.bytes().repeat(count).into())
}

pub(super) fn shape(task: &Task<'_>) -> Option<Array> {
    let sizes: Vec<i64> = task.input(0)?.sizes().iter().map(|&size| size as i64).collect();
    let rank = sizes.len() as i64;
    let bound = |name: &str, default: i64| {
        let place = task.attributes.int(name).unwrap_or(default);
        (if place < 0 { place.saturating_add(rank) } else { place }).clamp(0, rank) as usize
    };
    let kept = sizes.get(bound("start", 0)..bound("end", rank)).unwrap_or_default();
    Array::integers(vec![kept.len()], kept)
}

pub(super) fn range(task: &Task<'_>) -> Option<Array> {
    let (start, limit, delta) = (task.input(0)?, task.input(1)?, task.input(2)?);
    let element = start.element();
    ([start, limit, delta].iter().all(|it| it.count() == 1 && it.element() == element)).then_some(())?;
    match (start.numbers()?, limit.numbers()?, delta.numbers()?) {
        (Numbers::Whole(start), Numbers::Whole(limit), Numbers::Whole(delta)) => {
            let (start, limit, delta) = (*start.first()?, *limit.first()?, *delta.first()?);
            let distance = (limit - start) * delta.signum();
            let count = if distance > 0 { (distance - 1).checked_div(delta.abs())? + 1 } else { 0 };
            (delta != 0).then_some(())?;
            let count = task.calculable(&[usize::try_from(count).ok()?], element)?;
            let values: Vec<i128> = (0..count as i128).map(|index| start + index * delta).collect();
            Array::of_whole(element, vec![count], &values)
        }
        (Numbers::Floats(start), Numbers::Floats(limit), Numbers::Floats(delta)) => {
            let (start, limit, delta) = (*start.first()?, *limit.first()?, *delta.first()?);
            let count = ((limit - start) / delta).ceil().max(0.0);
            (count.is_finite() && count < u32::MAX.into()).then_some(())?;
            let count = task.calculable(&[count as usize], element)?;
            let values: Vec<f64> = (0..count).map(|index| start + index as f64 * delta).collect();
            Array::of_floats(element, vec![count], &values)
        }
        _ => None,
    }
}

pub(super) fn eye(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let element = match task.attributes.int("dtype") {
        Some(code) => ElementType::from_code(i32::try_from(code).ok()?)?,
        None => input.element(),
    };
    let shift = task.attributes.int("k").unwrap_or(0);
    let &[rows, columns] = input.sizes() else {
        return None;
    };
    task.calculable(input.sizes(), element)?;
    let on_diagonal = |row: usize, column: usize| column as i64 == (row as i64).saturating_add(shift);
    let values: Vec<i128> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| on_diagonal(row, column).into())).collect();
    converted(&Array::of_whole(ElementType::Int8, vec![rows, columns], &values)?, element)
}

pub(super) fn cast(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let element = match task.input(1) {
        Some(like) => like.element(),
        None => ElementType::from_code(i32::try_from(task.attributes.int("to")?).ok()?)?,
    };
    if element == input.element() {
        return Some(input.clone());
    }
    task.calculable(input.sizes(), element)?;
    converted(input, element)
}

/// `HannWindow`, `HammingWindow` and `BlackmanWindow` (ONNX operator set 17): sums of cosines over one turn.
pub(super) fn window(task: &Task<'_>) -> Option<Array> {
    let size = usize::try_from(task.input(0)?.to_integer()?).ok()?;
    let element = output_type(task)?;
    let count = task.calculable(&[size], element)?;
    let steps = if task.attributes.int("periodic").unwrap_or(1) != 0 { size } else { size.checked_sub(1)? };
    let factors: &[f64] = match task.node.op_type() {
        "HannWindow" => &[0.5, -0.5],
        "HammingWindow" => &[25.0 / 46.0, 25.0 / 46.0 - 1.0],
        "BlackmanWindow" => &[0.42, -0.5, 0.08],
        _ => return None,
    };
    let value = |place: usize| -> f64 {
        let angle = std::f64::consts::TAU * place as f64 / steps as f64;
        (0_i32..).zip(factors).map(|(turns, factor)| factor * libm::cos(f64::from(turns) * angle)).sum()
    };
    let values: Vec<f64> = (0..count).map(value).collect();
    (steps > 0).then(|| Array::of_floats(element, vec![count], &values))?
}

/// `MelWeightMatrix` (ONNX operator set 17): the share of each frequency of a spectrum in each band of the mel scale.
pub(super) fn mel_weights(task: &Task<'_>) -> Option<Array> {
    let whole = |place: usize| task.input(place)?.to_integer();
    let number = |place: usize| task.input(place)?.to_floats()?.first().copied();
    let (bands, length, rate) = (usize::try_from(whole(0)?).ok()?, whole(1)?, whole(2)?);
    let rows = usize::try_from(length / 2 + 1).ok().filter(|_| length > 0)?;
    let element = output_type(task)?;
    let count = task.calculable(&[rows, bands], element)?;
    let mel = |hertz: f64| 2595.0 * libm::log10(1.0 + hertz / 700.0);
    let (lowest, highest) = (mel(number(3)?), mel(number(4)?));
    let step = (highest - lowest) / (bands + 2) as f64;
    let edge = |place: usize| {
        let hertz = 700.0 * (libm::pow(10.0, (place as f64 * step + lowest) / 2595.0) - 1.0);
        let row = ((length + 1) as f64 * hertz / rate as f64).floor();
        // As much is checked below for each row that is written.
        (row >= 0.0 && row <= rows as f64).then_some(row as usize)
    };
    let edges = (0..bands.checked_add(2)?).map(edge).collect::<Option<Vec<usize>>>()?;
    let mut values = vec![0.0; count];
    for (band, edges) in edges.windows(3).enumerate() {
        let &[low, middle, high] = edges else { return None };
        let mut set = |row: usize, value: f64| {
            *values.get_mut(row.checked_mul(bands)?.checked_add(band)?)? = value;
            Some(())
        };
        if low == middle {
            set(middle, 1.0)?;
        } else {
            (low..=middle).try_for_each(|row| set(row, (row - low) as f64 / (middle - low) as f64))?;
        }
        (middle..high).try_for_each(|row| set(row, (high - row) as f64 / (high - middle) as f64))?;
    }
    Array::of_floats(element, vec![rows, bands], &values)
}

/// The floating type that a node says its result has.
fn output_type(task: &Task<'_>) -> Option<ElementType> {
    let code = task.attributes.int("output_datatype").unwrap_or(ElementType::Float32.code().into());
    ElementType::from_code(i32::try_from(code).ok()?).filter(|element| element.is_float())
}

/// Converts the elements as C does. A floating number that no integer of the type is near has no defined result.
pub(super) fn converted(input: &Array, element: ElementType) -> Option<Array> {
    let sizes = input.sizes().to_vec();
    match input.numbers()? {
        Numbers::Floats(values) if element.is_float() => Array::of_floats(element, sizes, &values),
        Numbers::Floats(values) if element == ElementType::Boolean => {
            let values: Vec<i128> = values.into_iter().map(|value| (value != 0.0).into()).collect();
            Array::of_whole(element, sizes, &values)
        }
        Numbers::Floats(values) => {
            let (low, high) = bounds(element)?;
            let whole = |value: f64| {
                let value = value.trunc();
                (value >= low as f64 && value <= high as f64 && (value as i128) <= high).then_some(value as i128)
            };
            Array::of_whole(element, sizes, &values.into_iter().map(whole).collect::<Option<Vec<_>>>()?)
        }
        Numbers::Whole(values) if element.is_float() => {
            // Directly: by way of binary64, 64-bit integers would be rounded twice.
            let float =
                |value: i128| if element == ElementType::Float64 { value as f64 } else { f64::from(value as f32) };
            Array::of_floats(element, sizes, &values.into_iter().map(float).collect::<Vec<_>>())
        }
        Numbers::Whole(values) => Array::of_whole(element, sizes, &values),
    }
}

/// The least and the greatest integer of a type.
pub(super) fn bounds(element: ElementType) -> Option<(i128, i128)> {
    use ElementType::*;
    let bits = element.bits()?;
    match element {
        Uint8 | Uint16 | Uint32 | Uint64 => Some((0, (1 << bits) - 1)),
        Int8 | Int16 | Int32 | Int64 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        _ => None,
    }
}
