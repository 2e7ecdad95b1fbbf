//! Products and sums along axes.

use super::super::build::text;
use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use super::whole::{floating, is_whole};
use crate::onnx::{ElementType, element_count, read_floats, transposed};

/// The compiler multiplies matrices with at most two axes before them.
const MATRIX_RANK: usize = 4;

/// Multiplies matrices with many axes before them as matrices with one axis before them.
pub(super) fn high_rank(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (left, right, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let (left_sizes, right_sizes) = (site.sizes(0)?, site.sizes(1)?);
    if left_sizes.len().max(right_sizes.len()) <= MATRIX_RANK {
        return None;
    }
    let (left_batch, &[rows, inner]) = left_sizes.split_last_chunk()?;
    let (right_batch, &[_, columns]) = right_sizes.split_last_chunk()?;
    let count = |sizes: &[i64]| element_count(sizes).and_then(|count| i64::try_from(count).ok());
    let (left, right) = match (left_batch, right_batch) {
        (batch, []) => (draft.reshape(left, &[1, count(batch)?.checked_mul(rows)?, inner]), right.to_owned()),
        (batch, other) if batch == other => {
            let batch = count(batch)?;
            (draft.reshape(left, &[batch, rows, inner]), draft.reshape(right, &[batch, inner, columns]))
        }
        _ => return spread(site, draft),
    };
    let product = draft.apply("MatMul", &[&left, &right]);
    let result = draft.reshape(&product, &[left_batch, &[rows, columns]].concat());
    draft.yields(&result, output);
    Some(())
}

/// The names of the axes before matrices.
const LETTERS: &str = "abcdefghijklmnop";

/// Multiplies matrices of which not each has all axes before them, as a sum over named axes: what one has alone becomes
/// further rows or columns there.
fn spread(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (left, right, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let (left_sizes, right_sizes) = (site.sizes(0)?, site.sizes(1)?);
    let (left_batch, &[rows, inner]) = left_sizes.split_last_chunk()?;
    let (right_batch, &[_, columns]) = right_sizes.split_last_chunk()?;
    let count = left_batch.len().max(right_batch.len());
    if LETTERS.len() < count {
        return None;
    }
    let padded = |batch: &[i64]| [vec![1; count - batch.len()], batch.to_vec()].concat();
    let (left_batch, right_batch) = (padded(left_batch), padded(right_batch));
    let whole: Vec<i64> =
        left_batch.iter().zip(&right_batch).map(|(one, other)| if *one == 1 { *other } else { *one }).collect();
    // Axes of size 1 stretch, so they get no letter.
    let letters = |batch: &[i64]| -> String {
        LETTERS.chars().zip(batch).filter(|(_, size)| **size != 1).map(|(letter, _)| letter).collect()
    };
    let held = |batch: &[i64], matrix: [i64; 2]| -> Vec<i64> {
        batch.iter().copied().filter(|size| *size != 1).chain(matrix).collect()
    };
    let one = draft.reshape(left, &held(&left_batch, [rows, inner]));
    let other = draft.reshape(right, &held(&right_batch, [inner, columns]));
    let equation = format!("{}xy,{}yz->{}xz", letters(&left_batch), letters(&right_batch), letters(&whole));
    let product = draft.apply_with("Einsum", &[&one, &other], vec![text("equation", &equation)]);
    let result = draft.reshape(&product, &[whole, vec![rows, columns]].concat());
    draft.yields(&result, output);
    Some(())
}

/// Multiplies with constant matrices of a single row or column otherwise: OpenVINO leaves axes of one element out when it
/// counts the axes of a constant, and takes a batch of rows or columns for one matrix.
pub(super) fn batch_of_vectors(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (left, right, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let weights = site.constant(1)?;
    let (batch, &[rows, columns]) = weights.dims.split_last_chunk()?;
    if site.rank(0)? < 2 || batch.iter().all(|size| *size == 1) || !site.facts.element(left)?.is_float() {
        return None;
    }
    let result = match (rows, columns) {
        (1, _) => draft.binary("Mul", left, right),
        (_, 1) => {
            let numbers: Vec<f64> = read_floats(weights).ok()?.into_iter().flat_map(|number| [number, 0.0]).collect();
            let more = draft.floats(&[batch, &[rows, 2]].concat(), &numbers);
            let products = draft.apply("MatMul", &[left, &more]);
            draft.slice(&products, &[-1], &[0], &[1])
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

/// The most rows of a product with a constant matrix that the compiler makes a fully connected layer of in little time.
/// The time grows with the square of the rows: four products of 32 and 128 columns in turn took it less than a second with
/// 32 rows, 3 seconds with 128, and the two of one block of a Swin transformer with 256 rows 30 seconds; one of 257 columns
/// had not come to an end with 2048 rows after 400 seconds. A convolution of the same took half a second.
const MOST_ROWS: i64 = 32;

/// Writes the product of many rows with a constant matrix as a convolution of a single pixel. The rows become the pixels
/// of one picture: the compiler takes a picture of a batch for a convolution of its own, and time that grows with the
/// square of those. Two axes of rows are its height and width.
pub(super) fn many_rows(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (left, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let (batch, &[rows, inner]) = sizes.split_last_chunk()?;
    let weights = site.constant(1)?;
    // Some exporters write products of sizes that do not fit, which the tools then refuse by name.
    let &[_, columns] = weights.dims.as_slice() else { return None };
    let fits = weights.dims.first() == Some(&inner);
    let count = |sizes: &[i64]| element_count(sizes).and_then(|count| i64::try_from(count).ok());
    let all_rows = count(batch)?.checked_mul(rows)?;
    if !fits || all_rows <= MOST_ROWS || sizes.len() > MATRIX_RANK || !site.facts.element(left)?.is_float() {
        return None;
    }
    let kernel = draft.transposed(&[columns, inner, 1, 1], weights)?;
    // The order of the axes that makes channels of the columns, the one that undoes it, and the axes that a picture has more.
    let (to, fro, added): (&[usize], &[usize], &[i64]) = match batch {
        [] => (&[1, 0], &[1, 0], &[0, 2]),
        // As a column, which keeps more of a superblob the same: measured, 12.8 MB instead of 18.3 for a recognizer of text.
        [1] => (&[0, 2, 1], &[0, 2, 1], &[3]),
        [_] => (&[2, 0, 1], &[1, 2, 0], &[0]),
        [1, _] => (&[0, 3, 1, 2], &[0, 2, 3, 1], &[]),
        _ => (&[2, 0, 1], &[1, 2, 0], &[0]),
    };
    let is_formed = to.len() != sizes.len();
    let apart = if is_formed { draft.reshape(left, &[count(batch)?, rows, inner]) } else { left.to_owned() };
    let mut picture = draft.transpose(&apart, to);
    if !added.is_empty() {
        picture = draft.squeezing("Unsqueeze", &picture, added);
    }
    let mut products = draft.apply("Conv", &[&picture, &kernel]);
    if !added.is_empty() {
        products = draft.squeezing("Squeeze", &products, added);
    }
    let mut result = draft.transpose(&products, fro);
    if is_formed {
        result = draft.reshape(&result, &[batch, &[rows, columns]].concat());
    }
    draft.yields(&result, output);
    Some(())
}

/// Writes the product of many rows with a constant matrix and the sum of it apart, as that product is written otherwise.
pub(super) fn many_rows_and_sum(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let (sizes, weights) = (site.sizes(0)?, site.constant(1)?);
    let (&[first, second], &[columns, width]) = (sizes.as_slice(), weights.dims.as_slice()) else { return None };
    let flag = |name: &str| site.integer(name).is_some_and(|value| value != 0);
    let rows = if flag("transA") { second } else { first };
    if rows <= MOST_ROWS || site.opset() < SUM_OF_ANY_SHAPE || !site.facts.element(input)?.is_float() {
        return None;
    }
    let left = if flag("transA") { draft.transpose(input, &[1, 0]) } else { input.to_owned() };
    let alpha = site.float("alpha", 1.0);
    let turned = if flag("transB") { Some(transposed("", &[width, columns], weights).ok()?) } else { None };
    let right = match &turned {
        None if alpha == 1.0 => site.input(1)?.to_owned(),
        turned => {
            let (matrix, row) = (turned.as_ref().unwrap_or(weights), usize::try_from(columns).ok()?);
            draft.changed(matrix, row, |numbers| numbers.iter_mut().for_each(|number| *number *= alpha))?
        }
    };
    let mut result = draft.apply("MatMul", &[&left, &right]);
    if let Some(shift) = site.input(2) {
        let beta = site.float("beta", 1.0);
        let shift = if beta == 1.0 { shift.to_owned() } else { draft.with_number("Mul", shift, beta) };
        result = draft.binary("Add", &result, &shift);
    }
    draft.yields(&result, output);
    Some(())
}

/// The first operator set whose `Gemm` takes a summand of any shape that fits.
const SUM_OF_ANY_SHAPE: i64 = 7;

/// The longest axis whose running sum is written as a product with a triangle of ones: the triangle has the square of
/// its elements.
const LONGEST_RUNNING_SUM: i64 = 4096;

pub(super) fn cumulative_sum(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let &[axis] = site.constant_integers(1)?.as_slice() else { return None };
    let sizes = site.sizes(0)?;
    let axis = Site::axis(axis, sizes.len())?;
    let length = sizes.get(axis).copied().filter(|length| (0..=LONGEST_RUNNING_SUM).contains(length))?;
    let element = site.facts.element(input)?;
    if !element.is_float() && !is_whole(element) {
        return None;
    }
    if is_whole(element) {
        draft.begin(output, ElementType::Float32);
    }
    let input = &floating(site, draft, 0)?;
    let (reverse, exclusive) = (site.integer("reverse") == Some(1), site.integer("exclusive") == Some(1));
    let counts = |from: i64, to: i64| {
        let (first, second) = if reverse { (to, from) } else { (from, to) };
        first < second || (first == second && !exclusive)
    };
    let ones = (0..length).flat_map(|from| (0..length).map(move |to| (from, to)));
    let ones: Vec<f64> = ones.map(|(from, to)| if counts(from, to) { 1.0 } else { 0.0 }).collect();
    let triangle = draft.floats(&[length, length], &ones);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.swap(axis, sizes.len() - 1);
    let is_last = axis == sizes.len() - 1;
    let turned = if is_last { input.to_owned() } else { draft.transpose(input, &order) };
    let sums = draft.apply("MatMul", &[&turned, &triangle]);
    let mut result = if is_last { sums } else { draft.transpose(&sums, &order) };
    if is_whole(element) {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}

/// The longest axis along which a product is written out.
const LONGEST_PRODUCT: i64 = 32;

/// Leaves out what reduces nothing.
pub(super) fn of_no_axes(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let is_empty = match (site.integers("axes"), site.input(1)) {
        (Some(axes), _) => axes.is_empty(),
        (None, Some(_)) => site.constant_integers(1)?.is_empty(),
        (None, None) => true,
    };
    if !is_empty || site.integer("noop_with_empty_axes") != Some(1) {
        return None;
    }
    draft.yields(site.input(0)?, site.output(0)?);
    Some(())
}

pub(super) fn reduction(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if !site.facts.element(input)?.is_float() {
        return None;
    }
    let axes = site.axes(site.rank(0)?)?;
    let keep = site.integer("keepdims") != Some(0);
    let result = match site.node.op_type() {
        "ReduceL1" => {
            let size = magnitude(draft, input);
            draft.reduce("ReduceSum", &size, &axes, keep)
        }
        "ReduceProd" => {
            let sizes = site.sizes(0)?;
            let mut result = input.to_owned();
            for &axis in &axes {
                let length = sizes.get(axis).copied().filter(|length| (1..=LONGEST_PRODUCT).contains(length))?;
                let lengths = vec![1; usize::try_from(length).ok()?];
                let parts = draft.split(&result, axis, &lengths);
                result = parts.into_iter().reduce(|product, part| draft.binary("Mul", &product, &part))?;
            }
            let removed: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
            if keep || removed.is_empty() { result } else { draft.squeezing("Squeeze", &result, &removed) }
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

/// The largest matrix whose determinant is written out: a row more is as many times the products.
const LARGEST_DETERMINANT: usize = 4;

/// Writes determinants of small matrices (ONNX operator sets 11 and 22) by Laplace's expansion.
pub(super) fn determinant(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let sizes = site.sizes(0)?;
    let [batch @ .., rows, columns] = sizes.as_slice() else { return None };
    let count = usize::try_from(*rows).ok().filter(|count| (1..=LARGEST_DETERMINANT).contains(count))?;
    if rows != columns || batch.contains(&0) {
        return None;
    }
    let flat = draft.reshape(site.input(0)?, &[-1, rows * columns]);
    let cells = draft.split(&flat, 1, &vec![1; count * count]);
    let rows: Vec<Vec<&str>> = cells.chunks(count).map(|row| row.iter().map(String::as_str).collect()).collect();
    let result = expanded(draft, &rows)?;
    let shaped = draft.reshape(&result, batch);
    draft.yields(&shaped, site.output(0)?);
    Some(())
}

/// The determinant of some rows and as many columns.
fn expanded(draft: &mut Draft, rows: &[Vec<&str>]) -> Option<String> {
    let (first, below) = rows.split_first()?;
    if below.is_empty() {
        return first.first().map(|cell| (*cell).to_owned());
    }
    let mut sum: Option<String> = None;
    for (column, cell) in first.iter().enumerate() {
        let minor: Vec<Vec<&str>> = below
            .iter()
            .map(|row| row.iter().enumerate().filter(|(place, _)| *place != column).map(|(_, cell)| *cell).collect())
            .collect();
        let minor = expanded(draft, &minor)?;
        let product = draft.binary("Mul", cell, &minor);
        sum = Some(match sum {
            None => product,
            Some(sum) => draft.binary(if column % 2 == 0 { "Add" } else { "Sub" }, &sum, &product),
        });
    }
    sum
}
