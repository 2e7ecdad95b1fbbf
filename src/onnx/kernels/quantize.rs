//! Between floating numbers and the integers that stand for them.

use super::Task;
use super::layout::around;
use super::make::bounds;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::element::ElementType;
use crate::onnx::geometry;

/// Which scale and zero point each element has: all the same, or one for each index along an axis.
struct Along {
    size: usize,
    inner: usize,
}

impl Along {
    fn of(task: &Task<'_>, input: &Array) -> Option<Self> {
        let scale = task.input(1)?;
        let fits = task.input(2).is_none_or(|zero| zero.sizes() == scale.sizes());
        match scale.sizes() {
            [] => Some(Self { size: 1, inner: usize::MAX }),
            [1] if input.sizes().len() != 1 => Some(Self { size: 1, inner: usize::MAX }),
            [count] => {
                let axis = geometry::axis(task.attributes.int("axis").unwrap_or(1), input.sizes().len())
                    .or(if input.sizes().len() == 1 { Some(0) } else { None })?;
                let (_, size, inner) = around(input.sizes(), axis)?;
                (size == *count && inner > 0).then_some(Self { size, inner })
            }
            _ => None,
        }
        .filter(|_| fits && task.attributes.int("block_size").unwrap_or(0) == 0)
    }

    fn place(&self, element: usize) -> usize {
        if self.size == 1 { 0 } else { (element / self.inner) % self.size }
    }
}

fn zero_points(task: &Task<'_>) -> Option<Vec<i128>> {
    match task.input(2) {
        Some(zero) => match zero.numbers()? {
            Numbers::Whole(values) => Some(values),
            // Numbers of 8 bits have a zero point of nothing.
            Numbers::Floats(values) => values.iter().all(|zero| *zero == 0.0).then(|| vec![0; values.len()]),
        },
        None => Some(vec![0; task.input(1)?.count()]),
    }
}

pub(super) fn quantize(task: &Task<'_>) -> Option<Array> {
    let (input, scale) = (task.input(0)?, task.input(1)?);
    let stated = task.attributes.int("output_dtype").filter(|code| *code != 0);
    let element = match (task.input(2), stated) {
        (Some(zero), _) => zero.element(),
        (None, Some(code)) => ElementType::from_code(i32::try_from(code).ok()?)?,
        (None, None) => ElementType::Uint8,
    };
    task.calculable(input.sizes(), element)?;
    let (low, high) = bounds(element)?;
    let along = Along::of(task, input)?;
    let (scales, zeros) = (scale.to_floats()?, zero_points(task)?);
    let single = input.element() == ElementType::Float32;
    let quantized = |(place, value): (usize, f64)| {
        let at = along.place(place);
        let quotient = value / scales.get(at)?;
        // ONNX divides in the type of the input.
        let quotient = if single { f64::from(quotient as f32) } else { quotient };
        quotient.is_finite().then_some(())?;
        Some(((quotient.round_ties_even() as i128) + zeros.get(at)?).clamp(low, high))
    };
    let values = input.to_floats()?.into_iter().enumerate().map(quantized).collect::<Option<Vec<_>>>()?;
    Array::of_whole(element, input.sizes().to_vec(), &values)
}

pub(super) fn dequantize(task: &Task<'_>) -> Option<Array> {
    let (input, scale) = (task.input(0)?, task.input(1)?);
    // The integers are read element by element, so that large weights take no more room than their result.
    task.room(input.sizes(), scale.element())?;
    let along = Along::of(task, input)?;
    let (scales, zeros) = (scale.to_floats()?, zero_points(task)?);
    let real = |(place, value): (usize, f64)| {
        let at = along.place(place);
        Some((value - *zeros.get(at)? as f64) * scales.get(at)?)
    };
    let values = match input.numbers()? {
        Numbers::Whole(values) => {
            values.into_iter().map(|value| value as f64).enumerate().map(real).collect::<Option<Vec<_>>>()?
        }
        // Of 8 bits.
        Numbers::Floats(values) => values.into_iter().enumerate().map(real).collect::<Option<Vec<_>>>()?,
    };
    Array::of_floats(scale.element(), input.sizes().to_vec(), &values)
}
