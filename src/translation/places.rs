//! Elements that are taken from constant places of a tensor, or put there, whatever their dimensions: as lists of places
//! among all elements. Follows `gather` and `scatter` of the StableHLO specification.

use super::indices::LONGEST;
use super::network::{Attribute, Network};
use super::operators::{constant, input, output};
use super::windows::Join;
use super::{Order, Trouble, refused};
use crate::onnx::element_count;
use crate::tflite::{Activation, Operator, Pieces};

/// The sizes of a tensor, and how its indices count its elements.
struct Grid(Vec<usize>);

impl Grid {
    fn new(sizes: &[i64], most: i64) -> Result<Self, Trouble> {
        let count = element_count(sizes).filter(|count| i64::try_from(*count).is_ok_and(|count| count <= most));
        count.ok_or_else(|| refused("lists the places of more elements than can be counted"))?;
        Ok(Self(sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect()))
    }

    fn count(&self) -> usize {
        self.0.iter().product()
    }

    /// Returns the index of an element.
    fn index(&self, mut place: usize) -> Vec<usize> {
        let mut index: Vec<usize> = Vec::new();
        for size in self.0.iter().rev() {
            index.push(place % size);
            place /= size;
        }
        index.reverse();
        index
    }

    /// Returns where the element of an index is; `None` if it is outside.
    fn place(&self, index: &[i64]) -> Option<usize> {
        index.iter().zip(&self.0).try_fold(0, |place, (part, size)| {
            let part = usize::try_from(*part).ok().filter(|part| part < size)?;
            Some(place * size + part)
        })
    }
}

/// Returns, for each element of the pieces laid out in a grid, its place among the elements of `whole`; `None` where it is
/// outside. `lengths` are those of a piece, which then moves inside.
fn places(
    pieces: &Pieces,
    starts: (&Grid, &[i64]),
    [laid, whole]: [&Grid; 2],
    lengths: Option<&[i64]>,
) -> Result<Vec<Option<usize>>, Trouble> {
    let odd = || refused("has pieces of other dimensions than it says");
    let rank = whole.0.len();
    let within =
        |axes: &[i64], rank: usize| axes.iter().all(|axis| usize::try_from(*axis).is_ok_and(|axis| axis < rank));
    let has = |axes: &[i64], axis: usize| axes.iter().any(|named| usize::try_from(*named) == Ok(axis));
    let moving: Vec<usize> = (0..rank).filter(|axis| !has(&pieces.single, *axis)).collect();
    let vector = usize::try_from(pieces.vector).map_err(|_| odd())?;
    let batches = laid.0.len().checked_sub(pieces.inner.len()).ok_or_else(odd)?;
    let is_listed = vector < starts.0.0.len();
    let parts = if is_listed { starts.0.0.get(vector).copied().unwrap_or(1) } else { 1 };
    if moving.len() != pieces.inner.len()
        || parts != pieces.along.len()
        || starts.0.0.len() != batches + usize::from(is_listed)
        || !within(&pieces.along, rank)
        || lengths.is_some_and(|lengths| lengths.len() != rank)
    {
        return Err(odd());
    }
    let place = |element: usize| {
        let index = laid.index(element);
        let outer =
            index.iter().enumerate().filter(|(axis, _)| !has(&pieces.inner, *axis)).map(|(_, part)| *part as i64);
        let outer: Vec<i64> = outer.collect();
        let mut found = vec![0_i64; rank];
        for (part, axis) in pieces.along.iter().enumerate() {
            let mut of_start = outer.clone();
            if is_listed {
                of_start.insert(vector.min(of_start.len()), part as i64);
            }
            let start = starts.1.get(starts.0.place(&of_start)?).copied()?;
            let axis = usize::try_from(*axis).ok()?;
            let room =
                lengths.and_then(|lengths| Some((*whole.0.get(axis)? as i64).saturating_sub(*lengths.get(axis)?)));
            *found.get_mut(axis)? = room.map_or(start, |room| start.clamp(0, room.max(0)));
        }
        let inner =
            index.iter().enumerate().filter(|(axis, _)| has(&pieces.inner, *axis)).map(|(_, part)| *part as i64);
        for (axis, part) in moving.iter().zip(inner) {
            let slot = found.get_mut(*axis)?;
            *slot = slot.checked_add(part)?;
        }
        whole.place(&found)
    };
    Ok((0..laid.count()).map(place).collect())
}

/// Returns a tensor as a list of its elements.
fn flat(network: &mut Network<'_>, operator: &Operator, place: usize, count: usize) -> Result<String, Trouble> {
    let operand = network.take(input(operator, place)?, Order::AsStored)?;
    let name = network.fresh(&format!("{}/flat", network.tensor(output(operator, 0)?)?.name));
    network.reshape(&operand, &[count as i64], &name);
    Ok(name)
}

fn gather(network: &mut Network<'_>, stem: &str, list: &str, places: &[usize]) -> String {
    let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
    let places = network.list(&format!("{stem}/places"), &places);
    network.inner("Gather", &[list, &places], &format!("{stem}/elements"), &[Attribute::Integer("axis", 0)])
}

/// Takes pieces of a tensor. Operands: data, where each piece begins.
pub(super) fn take(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (pieces, lengths) = operator.taken_pieces()?;
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let begins = constant(network, operator, 1)?;
    let starts = begins.integers().ok_or_else(|| refused("begins pieces at what is no whole number"))?;
    // Only what is taken is listed.
    let whole = Grid::new(&network.tensor(input(operator, 0)?)?.shape, i32::MAX.into())?;
    let [laid, listed] = [&tensor.shape, &begins.shape].map(|sizes| Grid::new(sizes, LONGEST));
    let found = places(&pieces, (&listed?, starts), [&laid?, &whole], Some(&lengths))?;
    let found: Option<Vec<usize>> = found.into_iter().collect();
    let found = found.ok_or_else(|| refused("has pieces of other dimensions than it says"))?;
    let list = flat(network, operator, 0, whole.count())?;
    let elements = gather(network, &tensor.name, &list, &found);
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&elements, &tensor.shape, &result.raw);
    Ok(())
}

/// Puts pieces into a tensor. Operands: data, where each piece begins, pieces. What is outside is left out.
pub(super) fn put(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let pieces = operator.put_pieces()?;
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let begins = constant(network, operator, 1)?;
    let starts = begins.integers().ok_or_else(|| refused("begins pieces at what is no whole number"))?;
    let [whole, laid] = [0, 2].map(|place| Grid::new(&network.tensor(input(operator, place)?)?.shape, LONGEST));
    let (whole, laid) = (whole?, laid?);
    let found = places(&pieces, (&Grid::new(&begins.shape, LONGEST)?, starts), [&laid, &whole], None)?;
    let (list, mut new) = (flat(network, operator, 0, whole.count())?, flat(network, operator, 2, laid.count())?);
    // Which element each place gets: its own, or a new one from behind them.
    let mut sources: Vec<usize> = (0..whole.count()).collect();
    let mut is_alone = true;
    for (source, place) in found.iter().enumerate() {
        if let Some(slot) = place.and_then(|place| sources.get_mut(place)) {
            is_alone &= *slot < whole.count();
            *slot = whole.count() + source;
        }
    }
    match network.joins_with(operator)? {
        // What is said last stays.
        Some("") => {}
        name => {
            let join = name.and_then(Join::named).filter(|_| is_alone);
            let join = join.ok_or_else(|| refused("joins what goes to one place, or by more than one operation"))?;
            let inside: Vec<usize> = found.iter().map(|place| place.unwrap_or(0)).collect();
            let old = gather(network, &tensor.name, &list, &inside);
            new = join.all(network, network.element(to)?, &[old, new], &tensor.name)?;
        }
    }
    let along = [Attribute::Integer("axis", 0)];
    let all = network.inner("Concat", &[&list, &new], &format!("{}/all", tensor.name), &along);
    let elements = gather(network, &tensor.name, &all, &sources);
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&elements, &tensor.shape, &result.raw);
    Ok(())
}
