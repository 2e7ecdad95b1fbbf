//! Elements that are put in places, and diagonals.

use super::indices::{LONGEST, places};
use super::network::{Attribute, Network};
use super::operators::{input, output};
use super::{Order, Trouble, refused};
use crate::onnx::{ElementType, element_count};
use crate::tflite::{Activation, Constant, Operator, Values};

/// The most elements of a matrix that sums what goes to one place.
const LARGEST: i64 = 1 << 22;

/// Which operands are the places and what goes there. Places of segments have one part, without a dimension for it.
pub(super) struct Scattered {
    pub(super) indices: usize,
    pub(super) updates: usize,
}

/// What goes to one place is added up there; what nothing goes to is zero.
pub(super) fn points(network: &mut Network<'_>, operator: &Operator, operands: &Scattered) -> Result<(), Trouble> {
    let (indices, updates) = (input(operator, operands.indices)?, input(operator, operands.updates)?);
    let to = output(operator, 0)?;
    let sizes = &network.tensor(to)?.shape;
    let given = network.constant(indices)?;
    let mut given = given.ok_or_else(|| refused("adds up what goes to places that are computed"))?;
    if operator.name != "SCATTER_ND" {
        given.shape.push(1);
    }
    let Some((&parts, shape)) = given.shape.split_last() else {
        return Err(refused("has a single number as indices"));
    };
    let parts = usize::try_from(parts).ok().filter(|parts| (1..=sizes.len()).contains(parts));
    let parts = parts.ok_or_else(|| refused("has indices with another number of parts than dimensions"))?;
    let (through, kept) = sizes.split_at(parts);
    let places = places(&given, through).ok_or_else(|| refused("has indices that name no elements"))?;
    let product = |sizes: &[i64]| sizes.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
    let (Some(rows), Some(width), Some(count)) = (product(through), product(kept), product(shape)) else {
        return Err(refused("goes through more elements than can be counted"));
    };
    if rows > LONGEST || rows.checked_mul(count).is_none_or(|elements| elements > LARGEST) {
        return Err(refused(format!("puts elements in {rows} places, which are too many")));
    }
    let element = network.element(to)?;
    let name = &network.tensor(to)?.name;
    let mut operand = network.take(updates, Order::AsStored)?;
    let flat = network.fresh(&format!("{name}/flat"));
    network.reshape(&operand, &[count, width], &flat);
    operand = flat;
    // Which update each place gets; the one behind the last is zero.
    let mut sources = vec![count; usize::try_from(rows).unwrap_or(0)];
    let mut is_alone = true;
    for (source, place) in places.iter().enumerate() {
        let slot = usize::try_from(*place).ok().and_then(|place| sources.get_mut(place));
        if let Some(slot) = slot {
            is_alone &= *slot == count;
            *slot = source as i64;
        }
    }
    let result = if is_alone {
        if sources.contains(&count) {
            let zeros = Constant { shape: vec![1, width], values: zeros(element, width) };
            let zeros = network.initializer(&format!("{name}/zeros"), &zeros);
            let along = [Attribute::Integer("axis", 0)];
            operand = network.inner("Concat", &[&operand, &zeros], &format!("{name}/with_zeros"), &along);
        }
        let sources = network.list(&format!("{name}/sources"), &sources);
        network.inner("Gather", &[&operand, &sources], &format!("{name}/rows"), &[Attribute::Integer("axis", 0)])
    } else {
        if element != ElementType::Float32 {
            return Err(refused("adds up integers that go to one place"));
        }
        let row = |row: i64| places.iter().map(move |place| f32::from(u8::from(*place == row)));
        let values = Values::Real((0..rows).flat_map(row).collect());
        let matrix = network.initializer(&format!("{name}/places"), &Constant { shape: vec![rows, count], values });
        network.inner("MatMul", &[&matrix, &operand], &format!("{name}/rows"), &[])
    };
    let pending = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&result, sizes, &pending.raw);
    Ok(())
}

/// Values at constant places, and one number everywhere else. Operands: places, sizes, values, the number. One value goes to
/// all places; the last one that goes to a place stays there.
pub(super) fn from_sparse(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (indices, values, rest) = (input(operator, 0)?, input(operator, 2)?, input(operator, 3)?);
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let given = network.constant(indices)?.ok_or_else(|| refused("puts values in places that are computed"))?;
    let parts = if given.shape.len() < 2 { 1 } else { given.shape.last().copied().unwrap_or(0) };
    if parts != tensor.shape.len() as i64 {
        return Err(refused("has indices with another number of parts than dimensions"));
    }
    let places = places(&given, &tensor.shape).ok_or_else(|| refused("has indices that name no elements"))?;
    let is_one = network.tensor(values)?.shape.is_empty();
    let count = if is_one { 1 } else { places.len() as i64 };
    if element_count(&network.tensor(values)?.shape) != u64::try_from(count).ok() {
        return Err(refused("has another number of values than of places"));
    }
    let rows = element_count(&tensor.shape).and_then(|rows| i64::try_from(rows).ok()).filter(|rows| *rows <= LONGEST);
    let rows = rows.and_then(|rows| usize::try_from(rows).ok());
    let rows = rows.ok_or_else(|| refused(format!("puts values among more than {LONGEST} elements")))?;
    // Which value each place gets; the one behind the last is the rest.
    let mut sources = vec![count; rows];
    for (source, place) in places.iter().enumerate() {
        if let Some(slot) = usize::try_from(*place).ok().and_then(|place| sources.get_mut(place)) {
            *slot = if is_one { 0 } else { source as i64 };
        }
    }
    if let (Some(values), Some(rest)) = (network.constant(values)?, network.constant(rest)?) {
        let values = values
            .values
            .picked(&rest.values, &sources)
            .ok_or_else(|| refused("puts values of one type among those of another"))?;
        network.fold(to, Constant { shape: tensor.shape.clone(), values });
        return Ok(());
    }
    let mut all = Vec::new();
    for (id, length) in [(values, count), (rest, 1)] {
        let operand = network.take(id, Order::AsStored)?;
        let flat = network.fresh(&format!("{}/flat", tensor.name));
        network.reshape(&operand, &[length], &flat);
        all.push(flat);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let along = [Attribute::Integer("axis", 0)];
    let all = network.inner("Concat", &all, &format!("{}/values", tensor.name), &along);
    let sources = network.list(&format!("{}/sources", tensor.name), &sources);
    let dense = network.inner("Gather", &[&all, &sources], &format!("{}/dense", tensor.name), &along);
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&dense, &tensor.shape, &result.raw);
    Ok(())
}

fn zeros(element: ElementType, count: i64) -> Values {
    let count = usize::try_from(count).unwrap_or(0);
    match element {
        ElementType::Float32 => Values::Real(vec![0.0; count]),
        element => Values::Integer(vec![0; count], element),
    }
}

/// Adds a matrix that is true on its diagonal.
fn mask(network: &mut Network<'_>, name: &str, [rows, columns]: [i64; 2]) -> Result<String, Trouble> {
    if rows.checked_mul(columns).is_none_or(|elements| elements > LARGEST) {
        return Err(refused(format!("has a matrix of {rows} rows and {columns} columns, which is too large")));
    }
    let row = |row: i64| (0..columns).map(move |column| i64::from(row == column));
    let values = Values::Integer((0..rows).flat_map(row).collect(), ElementType::Boolean);
    Ok(network.initializer(&format!("{name}/diagonal"), &Constant { shape: vec![rows, columns], values }))
}

/// Writes lists as the diagonals of matrices.
pub(super) fn diagonal(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let zero = Constant { shape: Vec::new(), values: zeros(network.element(to)?, 1) };
    let rest = network.initializer(&format!("{}/zero", tensor.name), &zero);
    put(network, operator, 0, &rest)
}

pub(super) fn with_diagonal(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let rest = network.take(input(operator, 0)?, Order::AsStored)?;
    put(network, operator, 1, &rest)
}

/// Puts the operand at `place` on the diagonal of `rest`.
fn put(network: &mut Network<'_>, operator: &Operator, place: usize, rest: &str) -> Result<(), Trouble> {
    let (from, to) = (input(operator, place)?, output(operator, 0)?);
    let tensor = network.tensor(to)?;
    let &[ref before @ .., rows, columns] = tensor.shape.as_slice() else {
        return Err(refused("has a result of less than two dimensions"));
    };
    let list = network.take(from, Order::AsStored)?;
    let mask = mask(network, &tensor.name, [rows, columns])?;
    // Each list goes below each row; the mask takes one element of each.
    let (shape, fits) = ([before, &[1, columns]].concat(), rows >= columns);
    let shape = if fits { shape } else { [before, &[rows, 1]].concat() };
    let wide = network.fresh(&format!("{}/lists", tensor.name));
    network.reshape(&list, &shape, &wide);
    network.write(to, Order::AsStored, "Where", &[&mask, &wide, rest], &[])
}
