//! LZMA2 chunks in which bytes stand as they are, or every byte is coded for itself.
//!
//! Weights do not repeat: what LZMA gains on them is that their bytes are not equally frequent. This coder looks for no
//! repetitions, which takes most of the time of others, and writes what any LZMA decoder reads. Owns the range coder and
//! the chunks (LZMA specification by Igor Pavlov, 2015; chunks as in the decoder of XZ Embedded).

/// What goes into one chunk: the most that can be stored in one.
pub(super) const CHUNK: usize = 1 << 16;

/// The first bytes of a coded chunk: one that resets dictionary, properties and probabilities, or only the last two, or
/// only the last, or nothing. The lowest five bits are of a length that is never so large here.
const ALL: u8 = 0xe0;
const PROPERTIES: u8 = 0xc0;
const PROBABILITIES: u8 = 0xa0;
const NOTHING: u8 = 0x80;
/// The first byte of a stored chunk: one that resets the dictionary, as the first of a stream must, and one that does not.
const STORED_FIRST: u8 = 1;
const STORED: u8 = 2;
/// The end of all chunks.
const END: u8 = 0;

/// Numbers of two and four bytes have few high bytes and random low ones, so a byte is coded by its place in four.
const PLACE_BITS: u8 = 2;
/// `(pb * 5 + lp) * 9 + lc`, with neither bits of position nor of literal context.
const ENCODED_PROPERTIES: u8 = PLACE_BITS * 9;

/// Returns chunks of `bytes` as they are, and the end of all chunks.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 16);
    let mut control = STORED_FIRST;
    for chunk in bytes.chunks(CHUNK) {
        store(control, chunk, &mut to);
        control = STORED;
    }
    to.push(END);
    to
}

fn store(control: u8, chunk: &[u8], to: &mut Vec<u8>) {
    to.push(control);
    to.extend(length(chunk));
    to.extend_from_slice(chunk);
}

/// A chunk has 1 to 65536 bytes, coded or not; lengths are told less one.
fn length(bytes: &[u8]) -> [u8; 2] {
    ((bytes.len() - 1) as u16).to_be_bytes()
}

/// Returns chunks of `bytes` with every byte coded, and the end of all chunks. A chunk that would not become shorter is
/// stored.
pub(super) fn coded(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 16);
    let mut model = Model::new();
    let mut control = ALL;
    for chunk in bytes.chunks(CHUNK) {
        let coded = model.code(chunk);
        if coded.len() < chunk.len() {
            to.push(control);
            to.extend(length(chunk));
            to.extend(length(&coded));
            if matches!(control, ALL | PROPERTIES) {
                to.push(ENCODED_PROPERTIES);
            }
            to.extend(coded);
            control = NOTHING;
        } else {
            store(if control == ALL { STORED_FIRST } else { STORED }, chunk, &mut to);
            model = Model::new();
            control = if matches!(control, ALL | PROPERTIES) { PROPERTIES } else { PROBABILITIES };
        }
    }
    to.push(END);
    to
}

/// How probable it is that a bit is 0, in 11 bits.
#[derive(Clone, Copy)]
struct Probability(u16);

impl Probability {
    const BITS: u32 = 11;
    const EVEN: Self = Self(1 << (Self::BITS - 1));
    /// It moves by a thirty-second of its distance.
    const RATE: u32 = 5;
}

/// What was learnt of the bytes so far.
struct Model {
    /// Whether a literal or a match comes, which is always a literal.
    is_match: Probability,
    /// For each place in four the bits of a byte, the highest first, by those before it.
    bits: [[Probability; 256]; 1 << PLACE_BITS],
}

impl Model {
    fn new() -> Self {
        Self { is_match: Probability::EVEN, bits: [[Probability::EVEN; 256]; 1 << PLACE_BITS] }
    }

    /// Codes the bytes of a chunk, which begins at a multiple of four.
    fn code(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut to = RangeCoder::new(chunk.len());
        let Self { is_match, bits } = self;
        for four in chunk.chunks(bits.len()) {
            for (byte, bits) in four.iter().zip(bits.iter_mut()) {
                to.code(is_match, 0);
                let mut before = 1_u8;
                for shift in (0..8).rev() {
                    let bit = byte >> shift & 1;
                    // There are as many as bytes.
                    if let Some(probability) = bits.get_mut(usize::from(before)) {
                        to.code(probability, bit);
                    }
                    before = before << 1 | bit;
                }
            }
        }
        to.finish()
    }
}

/// The range coder of LZMA.
struct RangeCoder {
    /// The lower end of the interval, with a carry above 32 bits.
    low: u64,
    range: u32,
    /// The byte that a carry may still change, and how many bytes of 0xff follow it.
    held: u8,
    full: usize,
    to: Vec<u8>,
}

impl RangeCoder {
    /// The interval is widened below this.
    const NARROW: u32 = 1 << 24;

    fn new(capacity: usize) -> Self {
        // The first byte that is held is written too: it is the 0 that every decoder expects first.
        Self { low: 0, range: u32::MAX, held: 0, full: 0, to: Vec::with_capacity(capacity + 16) }
    }

    /// Codes one bit. Which it is decides no jump: the bits of weights cannot be foreseen.
    #[inline]
    fn code(&mut self, probability: &mut Probability, bit: u8) {
        let Probability(zero) = *probability;
        let bound = (self.range >> Probability::BITS) * u32::from(zero);
        let is_one = 0_u32.wrapping_sub(u32::from(bit));
        self.low += u64::from(bound & is_one);
        self.range = (bound & !is_one) | ((self.range - bound) & is_one);
        // Towards 2048 after a 0, towards 0 after a 1.
        let up = ((1 << Probability::BITS) - zero) >> Probability::RATE;
        let down = zero >> Probability::RATE;
        let one = is_one as u16;
        probability.0 = zero + (up & !one) - (down & one);
        if self.range < Self::NARROW {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Moves the highest byte of the interval's end out.
    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry != 0 || top != 0xff {
            self.to.push(self.held.wrapping_add(carry));
            self.to.extend(std::iter::repeat_n(0xff_u8.wrapping_add(carry), self.full));
            self.full = 0;
            self.held = top;
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.to
    }
}
