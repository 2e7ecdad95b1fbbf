//! The scans of a JPEG: coefficients out of entropy-coded data (ITU-T T.81, annexes F and G).

use super::bits::{Bits, Huffman};
use super::{Component, Frame, JpegError, ZIGZAG};

/// One scan: which components it has, and what of them.
pub(super) struct Scan<'t> {
    parts: Vec<Part<'t>>,
    kind: Kind,
}

/// One component of a scan.
struct Part<'t> {
    component: usize,
    direct: Option<&'t Huffman>,
    alternating: Option<&'t Huffman>,
}

/// What a scan brings.
#[derive(Clone, Copy)]
enum Kind {
    /// Everything.
    Whole,
    /// The first bits of the first coefficients, times a power of two.
    DirectFirst(u32),
    /// One more bit of them.
    DirectMore(u32),
    /// The first bits of some of the others.
    AlternatingFirst(Band),
    /// One more bit of them.
    AlternatingMore(Band),
}

/// Coefficients of which a scan brings something.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    /// The power of two that values are multiplied with.
    low: u32,
}

/// What is carried from block to block.
#[derive(Default)]
struct State {
    /// The last first coefficient of each component.
    predictions: [i16; 4],
    /// How many more blocks have nothing new.
    empty_blocks: u32,
}

const MISSING: JpegError = JpegError::Damaged { rule: "a table of Huffman codes is missing" };
const HEADER: JpegError = JpegError::Damaged { rule: "a scan has an impossible header" };
const BEYOND: JpegError = JpegError::Damaged { rule: "a block has too many coefficients" };

impl<'t> Scan<'t> {
    /// Reads the header of a scan.
    pub(super) fn new(
        segment: &[u8],
        frame: &Frame,
        direct: &'t [Option<Huffman>; 4],
        alternating: &'t [Option<Huffman>; 4],
    ) -> Result<Self, JpegError> {
        let (count, rest) = segment.split_first().ok_or(JpegError::SEGMENT)?;
        let (described, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(JpegError::SEGMENT)?;
        let mut parts: Vec<Part<'t>> = Vec::new();
        for [id, tables] in described.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|component| component.id == *id).ok_or(HEADER)?;
            if parts.iter().any(|part| part.component == component) {
                return Err(HEADER);
            }
            let table = |all: &'t [Option<Huffman>; 4], place: u8| all.get(usize::from(place)).and_then(Option::as_ref);
            let (direct, alternating) = (table(direct, tables >> 4), table(alternating, tables & 15));
            parts.push(Part { component, direct, alternating });
        }
        let [first, last, bits, ..] = *rest else { return Err(JpegError::SEGMENT) };
        let (high, low) = (bits >> 4, u32::from(bits & 15));
        let band = Band { first: usize::from(first), last: usize::from(last), low };
        let kind = match (frame.is_progressive, first, high) {
            (false, ..) => Kind::Whole,
            _ if low > 13 => return Err(HEADER),
            (true, 0, _) if last != 0 => return Err(HEADER),
            (true, 0, 0) => Kind::DirectFirst(low),
            (true, 0, _) => Kind::DirectMore(low),
            _ if band.last < band.first || last > 63 || parts.len() != 1 => return Err(HEADER),
            (true, _, 0) => Kind::AlternatingFirst(band),
            (true, _, _) => Kind::AlternatingMore(band),
        };
        if parts.is_empty() || parts.len() > 4 {
            return Err(HEADER);
        }
        Ok(Self { parts, kind })
    }

    /// Returns which components the scan has.
    pub(super) fn components(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.component)
    }

    /// Reads the blocks of the scan, and returns where they end.
    pub(super) fn read(
        &self,
        frame: &mut Frame,
        bytes: &[u8],
        start: usize,
        restart_interval: usize,
    ) -> Result<usize, JpegError> {
        let mut bits = Bits::new(bytes, start);
        match self.kind {
            Kind::Whole => self.walk(frame, &mut bits, restart_interval, |bits, prediction, _, part, block| {
                whole(bits, part, prediction, block)
            }),
            Kind::DirectFirst(low) => {
                self.walk(frame, &mut bits, restart_interval, |bits, prediction, _, part, block| {
                    direct(bits, part, prediction)?;
                    block[0] = prediction.wrapping_shl(low);
                    Ok(false)
                })
            }
            Kind::DirectMore(low) => self.walk(frame, &mut bits, restart_interval, |bits, _, _, _, block| {
                block[0] |= (bits.number(1)? as i16).wrapping_shl(low);
                Ok(false)
            }),
            Kind::AlternatingFirst(band) => {
                self.walk(frame, &mut bits, restart_interval, |bits, _, empty_blocks, part, block| {
                    alternating_first(bits, part, empty_blocks, band, block).map(|()| false)
                })
            }
            Kind::AlternatingMore(band) => {
                self.walk(frame, &mut bits, restart_interval, |bits, _, empty_blocks, part, block| {
                    alternating_more(bits, part, empty_blocks, band, block).map(|()| false)
                })
            }
        }?;
        Ok(bits.end())
    }

    /// Calls `unit` for all blocks in the order of the scan: with the bits, the component's prediction, the number of empty
    /// blocks, the component's tables and the block, which is empty where the scan brings everything; it returns whether
    /// the block is plain.
    #[inline(always)]
    fn walk(
        &self,
        frame: &mut Frame,
        bits: &mut Bits<'_>,
        restart_interval: usize,
        unit: impl Fn(&mut Bits<'_>, &mut i16, &mut u32, &Part<'_>, &mut [i16; 64]) -> Result<bool, JpegError>,
    ) -> Result<(), JpegError> {
        let mut state = State::default();
        // A component alone is not grouped, and its padding is left out.
        let is_alone = self.parts.len() == 1;
        let (across, down) = match self.components().next().and_then(|only| frame.components.get(only)) {
            Some(component) if is_alone => component.blocks,
            _ => frame.groups,
        };
        let mut until_restart = restart_interval;
        let mut restarts = 0_u8;
        for group_down in 0..down {
            for group_across in 0..across {
                if restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart(restarts)?;
                        restarts = restarts.wrapping_add(1);
                        until_restart = restart_interval;
                        state = State::default();
                    }
                    until_restart -= 1;
                }
                for (part, prediction) in self.parts.iter().zip(&mut state.predictions) {
                    let Some(component) = frame.components.get_mut(part.component) else { continue };
                    let (of_group_across, of_group_down) = if is_alone { (1, 1) } else { component.sampling };
                    for block_down in 0..of_group_down {
                        for block_across in 0..of_group_across {
                            let at = (
                                group_across * of_group_across + block_across,
                                group_down * of_group_down + block_down,
                            );
                            let unit =
                                |block: &mut [i16; 64]| unit(bits, prediction, &mut state.empty_blocks, part, block);
                            on_block(component, at, unit)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Finds the block that a scan brings something of, or makes it and turns it into samples.
#[inline(always)]
fn on_block(
    component: &mut Component,
    (across, down): (usize, usize),
    unit: impl FnOnce(&mut [i16; 64]) -> Result<bool, JpegError>,
) -> Result<(), JpegError> {
    if let Some(block) = component.coefficients.get_mut(down * component.padded.0 + across) {
        return unit(block).map(drop);
    }
    let mut block = [0; 64];
    let is_plain = unit(&mut block)?;
    component.place(&block, (across, down), is_plain);
    Ok(())
}

/// Reads the difference of the first coefficient.
#[inline(always)]
fn direct(bits: &mut Bits<'_>, part: &Part<'_>, prediction: &mut i16) -> Result<(), JpegError> {
    let size = bits.symbol(part.direct.ok_or(MISSING)?)?;
    *prediction = prediction.wrapping_add(bits.value(u32::from(size))?);
    Ok(())
}

/// Reads all coefficients of a block, and returns whether only the first one says something.
#[inline(always)]
fn whole(bits: &mut Bits<'_>, part: &Part<'_>, prediction: &mut i16, block: &mut [i16; 64]) -> Result<bool, JpegError> {
    direct(bits, part, prediction)?;
    block[0] = *prediction;
    let table = part.alternating.ok_or(MISSING)?;
    let mut place = 1;
    let mut is_plain = true;
    while place < 64 {
        let (run, value) = match bits.whole(table)? {
            Some(whole) => (whole.run(), whole.value()),
            None => {
                let symbol = bits.symbol(table)?;
                let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                match (run, size) {
                    (15, 0) => {
                        place += 16;
                        continue;
                    }
                    (_, 0) => break,
                    _ => (run, bits.value(size)?),
                }
            }
        };
        place += run;
        *coefficient(block, place)? = value;
        is_plain = false;
        place += 1;
    }
    Ok(is_plain)
}

/// Returns the coefficient at this place of the coded order.
#[inline(always)]
fn coefficient(block: &mut [i16; 64], place: usize) -> Result<&mut i16, JpegError> {
    let at = ZIGZAG.get(place).ok_or(BEYOND)?;
    Ok(&mut block[usize::from(at & 63)])
}

/// Reads for how many blocks there is nothing more, this one included.
fn empty_blocks(bits: &mut Bits<'_>, size: u32) -> Result<u32, JpegError> {
    Ok((1 << size) + bits.number(size)?)
}

fn alternating_first(
    bits: &mut Bits<'_>,
    part: &Part<'_>,
    empty: &mut u32,
    band: Band,
    block: &mut [i16; 64],
) -> Result<(), JpegError> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(());
    }
    let table = part.alternating.ok_or(MISSING)?;
    let mut place = band.first;
    while place <= band.last {
        let symbol = bits.symbol(table)?;
        let (run, size) = (symbol >> 4, u32::from(symbol & 15));
        match (run, size) {
            (15, 0) => place += 16,
            (_, 0) => {
                *empty = empty_blocks(bits, u32::from(run))? - 1;
                return Ok(());
            }
            _ => {
                place += usize::from(run);
                *coefficient(block, place)? = bits.value(size)?.wrapping_shl(band.low);
                place += 1;
            }
        }
    }
    Ok(())
}

fn alternating_more(
    bits: &mut Bits<'_>,
    part: &Part<'_>,
    empty: &mut u32,
    band: Band,
    block: &mut [i16; 64],
) -> Result<(), JpegError> {
    let one = 1_i16 << band.low;
    // One more bit of a coefficient that is no longer zero moves it away from zero.
    let refine = |bits: &mut Bits<'_>, coefficient: &mut i16| -> Result<(), JpegError> {
        if bits.number(1)? == 1 && *coefficient & one == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { one } else { -one });
        }
        Ok(())
    };
    let table = part.alternating.ok_or(MISSING)?;
    let mut place = band.first;
    while *empty == 0 && place <= band.last {
        let symbol = bits.symbol(table)?;
        let mut run = symbol >> 4;
        let new = match (run, symbol & 15) {
            (15, 0) => 0,
            (_, 0) => {
                *empty = empty_blocks(bits, u32::from(run))?;
                break;
            }
            _ if bits.number(1)? == 1 => one,
            _ => -one,
        };
        // Passes as many zeros as the run says, and everything between them.
        while place <= band.last {
            let coefficient = coefficient(block, place)?;
            if *coefficient != 0 {
                refine(bits, coefficient)?;
            } else if run == 0 {
                *coefficient = new;
                break;
            } else {
                run -= 1;
            }
            place += 1;
        }
        place += 1;
    }
    if *empty > 0 {
        for place in place..=band.last {
            let coefficient = coefficient(block, place)?;
            if *coefficient != 0 {
                refine(bits, coefficient)?;
            }
        }
        *empty -= 1;
    }
    Ok(())
}
