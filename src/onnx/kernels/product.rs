//! Products of matrices.

use super::Task;
use super::make::converted;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::geometry::{Offsets, broadcast, repeated};

/// The most multiplications: a product of constants is small, or it is no constant.
const MAX_MULTIPLICATIONS: usize = 1 << 26;

pub(super) fn matrix(task: &Task<'_>) -> Option<Array> {
    let (left, right) = (task.input(0)?, task.input(1)?);
    let (left_vector, right_vector) = (left.sizes().len() == 1, right.sizes().len() == 1);
    let left = if left_vector { left.reshaped(vec![1, left.count()])? } else { left.clone() };
    let right = if right_vector { right.reshaped(vec![right.count(), 1])? } else { right.clone() };
    let result = product(task, &left, &right)?;
    let mut sizes = result.sizes().to_vec();
    if right_vector {
        sizes.pop();
    }
    if left_vector {
        sizes.remove(sizes.len().checked_sub(if right_vector { 1 } else { 2 })?);
    }
    result.reshaped(sizes)
}

fn product(task: &Task<'_>, left: &Array, right: &Array) -> Option<Array> {
    let ([left_batches @ .., rows, depth], [right_batches @ .., own_depth, columns]) = (left.sizes(), right.sizes())
    else {
        return None;
    };
    let batches = broadcast(left_batches, right_batches)?;
    let sizes = [batches.as_slice(), &[*rows, *columns]].concat();
    let count = task.calculable(&sizes, left.element())?;
    let fits = depth == own_depth && left.element() == right.element();
    (fits && count.checked_mul(*depth)? <= MAX_MULTIPLICATIONS).then_some(())?;
    let left_places = Offsets::new(&batches, &repeated(left_batches, &batches), 0).collect::<Vec<_>>();
    let right_places = Offsets::new(&batches, &repeated(right_batches, &batches), 0).collect::<Vec<_>>();
    let shape = Shape { rows: *rows, depth: *depth, columns: *columns };
    let places = left_places.into_iter().zip(right_places);
    match (left.numbers()?, right.numbers()?) {
        (Numbers::Floats(one), Numbers::Floats(other)) => {
            let values = shape.multiply(&one, &other, places, |sum, left, right| sum + left * right)?;
            Array::of_floats(left.element(), sizes, &values)
        }
        (Numbers::Whole(one), Numbers::Whole(other)) => {
            let values =
                shape.multiply(&one, &other, places, |sum, left, right| sum.wrapping_add(left.wrapping_mul(right)))?;
            Array::of_whole(left.element(), sizes, &values)
        }
        _ => None,
    }
}

struct Shape {
    rows: usize,
    depth: usize,
    columns: usize,
}

impl Shape {
    fn multiply<T: Copy + Default>(
        &self,
        left: &[T],
        right: &[T],
        places: impl Iterator<Item = (usize, usize)>,
        add: impl Fn(T, T, T) -> T,
    ) -> Option<Vec<T>> {
        let mut values = Vec::new();
        for (left_place, right_place) in places {
            let (one, other) = (self.rows * self.depth, self.depth * self.columns);
            let left = left.get(left_place * one..(left_place + 1) * one)?;
            let right = right.get(right_place * other..(right_place + 1) * other)?;
            for row in 0..self.rows {
                let row = left.get(row * self.depth..(row + 1) * self.depth)?;
                let mut sums = vec![T::default(); self.columns];
                for (factor, line) in row.iter().zip(right.chunks(self.columns.max(1))) {
                    sums.iter_mut().zip(line).for_each(|(sum, value)| *sum = add(*sum, *factor, *value));
                }
                values.extend(sums);
            }
        }
        Some(values)
    }
}

fn transposed(array: &Array) -> Option<Array> {
    let &[rows, columns] = array.sizes() else {
        return None;
    };
    let width = array.width();
    let mut bytes = Vec::with_capacity(array.bytes().len());
    for place in Offsets::new(&[columns, rows], &[1, columns as isize], 0) {
        bytes.extend_from_slice(array.bytes().get(place * width..(place + 1) * width)?);
    }
    Array::new(array.element(), vec![columns, rows], bytes.into())
}

/// `alpha * A * B + beta * C`, of floating numbers.
pub(super) fn gemm(task: &Task<'_>) -> Option<Array> {
    let turned = |place: usize, attribute: &str| {
        let input = task.input(place)?;
        if task.attributes.flag(attribute) { transposed(input) } else { Some(input.clone()) }
    };
    let (left, right) = (turned(0, "transA")?, turned(1, "transB")?);
    (left.sizes().len() == 2 && right.sizes().len() == 2 && task.opset >= 7).then_some(())?;
    let product = product(task, &left, &right)?;
    let alpha = f64::from(task.attributes.float("alpha").unwrap_or(1.0));
    let beta = f64::from(task.attributes.float("beta").unwrap_or(1.0));
    let mut values: Vec<f64> = product.to_floats()?.into_iter().map(|value| alpha * value).collect();
    if let Some(bias) = task.input(2) {
        let places = repeated(bias.sizes(), product.sizes());
        broadcast(bias.sizes(), product.sizes()).filter(|sizes| sizes == product.sizes())?;
        let bias = converted(bias, product.element())?.to_floats()?;
        for (value, place) in values.iter_mut().zip(Offsets::new(product.sizes(), &places, 0)) {
            *value += beta * bias.get(place)?;
        }
    }
    Array::of_floats(product.element(), product.sizes().to_vec(), &values)
}
