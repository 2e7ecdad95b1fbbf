//! `Einsum` as transpositions and one matrix product for each pair of operands.

use std::collections::BTreeMap;

use super::super::draft::{Draft, Site};
use crate::onnx::element_count;

/// A value and the letter of each of its axes.
struct Operand {
    value: String,
    letters: Vec<char>,
}

/// The letters of the axes that `...` stands for; the notation has letters only, so digits cannot be meant otherwise.
const ELLIPSIS: [char; 8] = ['0', '1', '2', '3', '4', '5', '6', '7'];

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let equation: String = site.text("equation", "").chars().filter(|letter| !letter.is_whitespace()).collect();
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    if terms.len() != site.node.input.len() {
        return None;
    }
    let mut sizes = BTreeMap::new();
    let (mut operands, mut all) = (Vec::new(), Vec::new());
    for (place, term) in terms.iter().enumerate() {
        let shape = site.sizes(place)?;
        let letters = letters(term, Some(shape.len()))?;
        for (letter, size) in letters.iter().zip(&shape) {
            // Axes of size 1 that stretch are left alone.
            if *sizes.entry(*letter).or_insert(*size) != *size {
                return None;
            }
        }
        all.extend_from_slice(&letters);
        operands.push(diagonal(draft, Operand { value: site.input(place)?.to_owned(), letters }, &sizes)?);
    }
    let stretch = sizes.keys().filter(|letter| ELLIPSIS.contains(letter)).count();
    let wanted = match result {
        Some(result) => letters(&result.replace("...", &stretched(stretch).iter().collect::<String>()), None)?,
        None => implied(&all, stretch),
    };
    let mut operands = operands.into_iter();
    let mut whole = operands.next()?;
    let rest: Vec<Operand> = operands.collect();
    for (place, right) in rest.iter().enumerate() {
        let later = rest.iter().skip(place + 1).flat_map(|operand| &operand.letters);
        let needed: Vec<char> = wanted.iter().chain(later).copied().collect();
        whole = product(draft, whole, right, &needed, &sizes)?;
    }
    let whole = summed(draft, whole, &wanted);
    let result = ordered(draft, &whole, &wanted)?;
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// The longest diagonal that is looked up.
const LONGEST_DIAGONAL: i64 = 1 << 24;

/// Takes the diagonal of axes that have the same letter, until no two have.
fn diagonal(draft: &mut Draft, mut operand: Operand, sizes: &BTreeMap<char, i64>) -> Option<Operand> {
    let repeated = |letters: &[char]| {
        letters.iter().enumerate().find_map(|(place, letter)| {
            letters.iter().take(place).position(|it| it == letter).map(|first| [first, place])
        })
    };
    while let Some(pair) = repeated(&operand.letters) {
        let letter = *operand.letters.get(pair[0])?;
        let others: Vec<usize> = (0..operand.letters.len()).filter(|place| !pair.contains(place)).collect();
        let mut letters =
            others.iter().map(|place| operand.letters.get(*place).copied()).collect::<Option<Vec<_>>>()?;
        let size = *sizes.get(&letter).filter(|size| **size <= LONGEST_DIAGONAL)?;
        let mut dims = letters.iter().map(|letter| sizes.get(letter).copied()).collect::<Option<Vec<i64>>>()?;
        dims.push(size.checked_mul(size)?);
        let turned = draft.transpose(&operand.value, &[&others[..], &pair].concat());
        let flat = draft.reshape(&turned, &dims);
        let places: Vec<i64> = (0..size).map(|place| place * (size + 1)).collect();
        let value = draft.gather(&flat, others.len(), &places);
        letters.push(letter);
        operand = Operand { value, letters };
    }
    Some(operand)
}

/// Reads the letters of a term.
fn letters(term: &str, rank: Option<usize>) -> Option<Vec<char>> {
    let named = |text: &str| text.chars().all(|letter| letter.is_ascii_alphabetic() || ELLIPSIS.contains(&letter));
    let letters: Vec<char> = match (term.split_once("..."), rank) {
        (None, _) => Some(term).filter(|term| named(term))?.chars().collect(),
        (Some((before, behind)), Some(rank)) if named(before) && named(behind) => {
            let hidden = rank.checked_sub(before.len() + behind.len())?;
            if hidden > ELLIPSIS.len() {
                return None;
            }
            before.chars().chain(stretched(hidden)).chain(behind.chars()).collect()
        }
        _ => return None,
    };
    Some(letters).filter(|letters| rank.is_none_or(|rank| letters.len() == rank))
}

/// The result that is meant where none is written: what stands once, in alphabetical order.
fn implied(all: &[char], stretch: usize) -> Vec<char> {
    let mut once: Vec<char> =
        all.iter().copied().filter(|letter| all.iter().filter(|it| *it == letter).count() == 1).collect();
    once.retain(|letter| !ELLIPSIS.contains(letter));
    once.sort_unstable();
    stretched(stretch).into_iter().chain(once).collect()
}

/// The letters of as many axes that `...` stands for; they are counted from the last one, which all operands share.
fn stretched(axes: usize) -> Vec<char> {
    ELLIPSIS.iter().take(axes).rev().copied().collect()
}

/// Sums the axes that are not wanted.
fn summed(draft: &mut Draft, operand: Operand, wanted: &[char]) -> Operand {
    let places = operand.letters.iter().enumerate().filter(|(_, letter)| !wanted.contains(letter));
    let axes: Vec<usize> = places.map(|(place, _)| place).collect();
    if axes.is_empty() {
        return operand;
    }
    let value = draft.reduce("ReduceSum", &operand.value, &axes, false);
    Operand { value, letters: operand.letters.into_iter().filter(|letter| wanted.contains(letter)).collect() }
}

/// Brings the axes into an order; returns the value.
fn ordered(draft: &mut Draft, operand: &Operand, wanted: &[char]) -> Option<String> {
    let place = |letter: &char| operand.letters.iter().position(|it| it == letter);
    let order = wanted.iter().map(place).collect::<Option<Vec<_>>>()?;
    if order.len() != operand.letters.len() {
        return None;
    }
    let is_sorted = order.iter().enumerate().all(|(place, axis)| place == *axis);
    Some(if is_sorted { operand.value.clone() } else { draft.transpose(&operand.value, &order) })
}

/// Multiplies two operands; what is not `needed` is summed.
fn product(
    draft: &mut Draft,
    left: Operand,
    right: &Operand,
    needed: &[char],
    sizes: &BTreeMap<char, i64>,
) -> Option<Operand> {
    let kept_left: Vec<char> = needed.iter().chain(&right.letters).copied().collect();
    let kept_right: Vec<char> = needed.iter().chain(&left.letters).copied().collect();
    let right = Operand { value: right.value.clone(), letters: right.letters.clone() };
    let (left, right) = (summed(draft, left, &kept_left), summed(draft, right, &kept_right));
    let of = |operand: &Operand, wanted: &dyn Fn(&char) -> bool| -> Vec<char> {
        operand.letters.iter().copied().filter(|letter| wanted(letter)).collect()
    };
    let batch = of(&left, &|letter| right.letters.contains(letter) && needed.contains(letter));
    let inner = of(&left, &|letter| right.letters.contains(letter) && !needed.contains(letter));
    let rows = of(&left, &|letter| !right.letters.contains(letter));
    let columns = of(&right, &|letter| !left.letters.contains(letter));
    let count = |letters: &[char]| {
        let sizes = letters.iter().map(|letter| sizes.get(letter).copied()).collect::<Option<Vec<i64>>>()?;
        i64::try_from(element_count(&sizes)?).ok()
    };
    if inner.is_empty() {
        // Nothing is summed: one factor for each element.
        let ones = |letters: &[char]| vec![1; letters.len()];
        let lengths =
            |letters: &[char]| letters.iter().map(|letter| sizes.get(letter).copied()).collect::<Option<Vec<i64>>>();
        let mut factor = |operand: &Operand, order: [&[char]; 2], shape: Vec<i64>, apart: bool| {
            let value = ordered(draft, operand, &order.concat())?;
            Some(if apart { draft.reshape(&value, &shape) } else { value })
        };
        let left_shape = [lengths(&batch)?, lengths(&rows)?, ones(&columns)].concat();
        let right_shape = [lengths(&batch)?, ones(&rows), lengths(&columns)?].concat();
        let left = factor(&left, [&batch, &rows], left_shape, !columns.is_empty())?;
        let right = factor(&right, [&batch, &columns], right_shape, !rows.is_empty())?;
        let value = draft.binary("Mul", &left, &right);
        return Some(Operand { value, letters: [batch, rows, columns].concat() });
    }
    let (batches, inners) = (count(&batch)?, count(&inner)?);
    let mut matrix = |operand: &Operand, order: [&[char]; 3], shape: [i64; 3]| {
        let value = ordered(draft, operand, &order.concat())?;
        Some(if order.iter().all(|letters| letters.len() == 1) { value } else { draft.reshape(&value, &shape) })
    };
    let left = matrix(&left, [&batch, &rows, &inner], [batches, count(&rows)?, inners])?;
    let right = matrix(&right, [&batch, &inner, &columns], [batches, inners, count(&columns)?])?;
    let result = draft.apply("MatMul", &[&left, &right]);
    let letters = [batch, rows, columns];
    let is_matrix = letters.iter().all(|letters| letters.len() == 1);
    let letters = letters.concat();
    let shape = letters.iter().map(|letter| sizes.get(letter).copied()).collect::<Option<Vec<i64>>>()?;
    let value = if is_matrix { result } else { draft.reshape(&result, &shape) };
    Some(Operand { value, letters })
}
