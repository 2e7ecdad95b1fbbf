//! Bits of entropy-coded data, and Huffman codes (ITU-T T.81, annexes C and F.2.2).

use super::JpegError;

/// Bits that a code is looked up by at once; longer codes are rare.
const LOOK: u32 = 10;

/// A table of Huffman codes.
pub(super) struct Huffman {
    /// By the next bits: length and symbol of the code, or zero where it is longer than the bits.
    short: Box<[u16; 1 << LOOK]>,
    /// By the next bits: a whole coefficient, where its code and value are no longer than the bits; see [`Whole`].
    whole: Box<[u32; 1 << LOOK]>,
    /// By length: the end of the codes up to there, as if they had 16 bits.
    ends: [u32; 17],
    /// By length: what is added to a code to find its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Takes how many codes of each length there are, and their symbols.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, JpegError> {
        let mut table = Self {
            short: Box::new([0; 1 << LOOK]),
            whole: Box::new([0; 1 << LOOK]),
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let mut code = 0_u32;
        let mut rest = symbols.iter();
        let mut before = 0_i32;
        let places = table.ends.iter_mut().zip(&mut table.offsets).skip(1);
        for ((count, length), (end, offset)) in counts.iter().zip(1_u32..).zip(places) {
            *offset = before - code.cast_signed();
            for symbol in rest.by_ref().take(usize::from(*count)) {
                if length <= LOOK {
                    let first = code << (LOOK - length);
                    let entries = first as usize..(first + (1 << (LOOK - length))) as usize;
                    let short = table.short.get_mut(entries.clone()).ok_or(JpegError::CODES)?;
                    short.fill((length as u16) << 8 | u16::from(*symbol));
                    let whole = table.whole.get_mut(entries).ok_or(JpegError::CODES)?;
                    for (entry, bits) in whole.iter_mut().zip(first..) {
                        *entry = Whole::pack(*symbol, length, bits);
                    }
                }
                code += 1;
            }
            before += i32::from(*count);
            if code > 1 << length {
                return Err(JpegError::CODES);
            }
            *end = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }
}

/// A coefficient that a few bits say as a whole.
#[derive(Clone, Copy)]
pub(super) struct Whole(u32);

impl Whole {
    /// Packs what `bits` say, if code and value are no longer than they are; zero if they are longer.
    fn pack(symbol: u8, length: u32, bits: u32) -> u32 {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 || length + size > LOOK {
            return 0;
        }
        let value = extend((bits >> (LOOK - length - size)) & ((1 << size) - 1), size);
        u32::from(value.cast_unsigned()) << 16 | run << 8 | (length + size)
    }

    /// Returns how many coefficients of zero come first.
    pub(super) const fn run(self) -> usize {
        (self.0 >> 8 & 15) as usize
    }

    /// Returns the coefficient.
    pub(super) const fn value(self) -> i16 {
        ((self.0 >> 16) as u16).cast_signed()
    }
}

/// Returns the value that `bits` of this number stand for (T.81, figure F.12).
const fn extend(bits: u32, size: u32) -> i16 {
    let value = bits.cast_signed();
    (if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }) as i16
}

/// A walk over the bits of entropy-coded data. Stops before the first marker.
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    position: usize,
    /// The next bits, uppermost first. Those below `count` are either zero or what follows anyway.
    buffer: u64,
    /// How many bits of the buffer have been taken from the bytes.
    count: u32,
}

impl<'b> Bits<'b> {
    pub(super) const fn new(bytes: &'b [u8], position: usize) -> Self {
        Self { bytes, position, buffer: 0, count: 0 }
    }

    /// Returns where the first marker after what has been read stands, or the end.
    pub(super) fn end(&self) -> usize {
        self.position
    }

    /// Makes sure that there are the bits of one code and its value, or all that are left.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(word) = self.bytes.get(self.position..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(*word);
            // Eight bytes without one of all ones need no further look.
            const LOWEST: u64 = 0x0101_0101_0101_0101;
            if (!word).wrapping_sub(LOWEST) & word & (LOWEST << 7) == 0 {
                self.buffer |= word >> self.count;
                self.position += ((63 - self.count) / 8) as usize;
                self.count |= 56;
                return;
            }
        }
        self.fill_slowly();
    }

    #[cold]
    fn fill_slowly(&mut self) {
        self.buffer &= !u64::MAX.checked_shr(self.count).unwrap_or(0);
        while self.count <= 56 {
            let byte = match self.bytes.get(self.position..) {
                Some([0xff, 0, ..]) => {
                    self.position += 1;
                    0xff
                }
                // Any number of them may stand before a marker.
                Some([0xff, 0xff, ..]) => {
                    self.position += 1;
                    continue;
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => *byte,
            };
            self.position += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) -> Result<(), JpegError> {
        self.count = self.count.checked_sub(count).ok_or(JpegError::End)?;
        self.buffer <<= count;
        Ok(())
    }

    /// Takes a whole coefficient, if the next bits say one.
    #[inline(always)]
    pub(super) fn whole(&mut self, table: &Huffman) -> Result<Option<Whole>, JpegError> {
        self.fill();
        let whole = table.whole[(self.buffer >> (64 - LOOK)) as usize];
        if whole == 0 {
            return Ok(None);
        }
        self.drop(whole & 0xff)?;
        Ok(Some(Whole(whole)))
    }

    /// Takes the symbol of the next code.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, JpegError> {
        self.fill();
        let short = table.short[(self.buffer >> (64 - LOOK)) as usize];
        if short != 0 {
            self.drop(u32::from(short >> 8))?;
            return Ok(short as u8);
        }
        self.long_symbol(table)
    }

    fn long_symbol(&mut self, table: &Huffman) -> Result<u8, JpegError> {
        let bits = (self.buffer >> 48) as u32;
        for ((end, offset), length) in table.ends.iter().zip(&table.offsets).zip(0_u32..).skip(1) {
            if bits < *end {
                let place = usize::try_from((bits >> (16 - length)).cast_signed() + offset);
                let symbol = place.ok().and_then(|place| table.symbols.get(place)).ok_or(JpegError::CODES)?;
                self.drop(length)?;
                return Ok(*symbol);
            }
        }
        // Zeros follow the last bits, and a code may go on into them.
        Err(if self.count < 16 { JpegError::End } else { JpegError::CODES })
    }

    /// Takes bits as a number; at most 16 of them.
    #[inline(always)]
    pub(super) fn number(&mut self, size: u32) -> Result<u32, JpegError> {
        if self.count < size {
            self.fill();
        }
        let bits = (self.buffer >> 1 >> (63 - size)) as u32;
        self.drop(size)?;
        Ok(bits)
    }

    /// Takes a value of this many bits, at most 15.
    #[inline(always)]
    pub(super) fn value(&mut self, size: u32) -> Result<i16, JpegError> {
        match size {
            0 => Ok(0),
            1..=15 => Ok(extend(self.number(size)?, size)),
            _ => Err(JpegError::CODES),
        }
    }

    /// Goes on after the restart marker of this number, which must be the next thing.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), JpegError> {
        // What is left of the last byte is padding.
        (self.count, self.buffer) = (0, 0);
        while let Some([0xff, 0xff, ..]) = self.bytes.get(self.position..) {
            self.position += 1;
        }
        match self.bytes.get(self.position..) {
            Some([0xff, marker, ..]) if *marker == 0xd0 + number % 8 => {
                self.position += 2;
                Ok(())
            }
            Some([] | [0xff]) | None => Err(JpegError::End),
            Some(_) => Err(JpegError::Damaged { rule: "a restart marker is missing" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_bit_by_bit_up_to_a_marker() {
        // Codes 0, 10, 110, ... and one of 16 bits.
        let counts = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let table = Huffman::new(&counts, &[1, 2, 3, 4]).unwrap();
        // 0 10 110 | 1110 0000 0000 0000 | stuffed ones | then a marker.
        let bytes = [0b0101_1011, 0b1000_0000, 0b0000_0000, 0xff, 0, 0xff, 0xd9];
        let mut bits = Bits::new(&bytes, 0);
        for symbol in [1, 2, 3, 4] {
            assert_eq!(bits.symbol(&table).unwrap(), symbol);
        }
        assert_eq!(bits.number(2).unwrap(), 0);
        assert_eq!(bits.value(3).unwrap(), 7);
        assert_eq!(bits.number(5).unwrap(), 31);
        assert!(matches!(bits.number(1), Err(JpegError::End)));
        assert_eq!(bits.end(), 5);
        assert!(bits.restart(0).is_err());
    }

    #[test]
    fn more_codes_than_bits_allow_are_refused() {
        for counts in [[3, 0], [2, 1], [1, 3]] {
            let mut all = [0; 16];
            all[..2].copy_from_slice(&counts);
            assert!(Huffman::new(&all, &[0; 8]).is_err(), "{counts:?}");
        }
    }
}
