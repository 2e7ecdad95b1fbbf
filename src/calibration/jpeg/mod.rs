//! JPEG (ITU-T T.81: baseline, extended and progressive, Huffman-coded, 8 bits) with the pixels that libjpeg makes.
//!
//! The standard leaves roundings to the decoder, and decoders differ by a few levels. Networks are trained on libjpeg's
//! pixels, so this one does the same arithmetic: its transform ([`idct`]), its stretching of colours and its conversion
//! ([`planes`]). It is stricter in one thing: what ends too soon or breaks the format is an error, never half a picture.
//! Not read: arithmetic coding, lossless and hierarchical pictures, 12 bits, ratios of components such as 3 to 2.

mod bits;
mod idct;
mod planes;
mod scan;

use thiserror::Error;

use self::bits::Huffman;
use self::planes::{Colours, Plane};
use self::scan::Scan;
use super::picture::{Picture, Size};

/// What starts every JPEG.
pub const MAGIC: &[u8] = &[0xff, 0xd8, 0xff];

/// The place in a row-major block of each coefficient in the order in which they are coded (T.81, figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];
/// Progressive pictures have about ten scans; a small file with thousands of them would take minutes.
const MOST_SCANS: usize = 100;

/// Bytes that are no whole JPEG of a kind that is read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JpegError {
    /// The bytes end before the picture does.
    #[error("it ends too soon")]
    End,
    /// The file breaks a rule of the format.
    #[error("{rule}")]
    Damaged {
        /// What is wrong.
        rule: &'static str,
    },
    /// The picture is of a kind that hardly anybody has.
    #[error("it is of a kind that is not read: {kind}")]
    Unsupported {
        /// The kind.
        kind: &'static str,
    },
    /// The picture is larger than anything sensible.
    #[error("it has {size} pixels")]
    TooLarge {
        /// Width and height.
        size: Size,
    },
}

impl JpegError {
    const CODES: Self = Self::Damaged { rule: "a Huffman code is invalid" };
    const SEGMENT: Self = Self::Damaged { rule: "a segment is shorter than its content" };
}

/// Reads a picture: gray as gray, everything else as red, green and blue.
///
/// # Errors
/// No whole JPEG of a kind that is read.
pub fn decode(bytes: &[u8]) -> Result<Picture, JpegError> {
    let mut decoder = Decoder { bytes, ..Decoder::default() };
    decoder.read()?;
    decoder.picture()
}

/// A picture's frame: its size and components.
struct Frame {
    size: Size,
    is_progressive: bool,
    components: Vec<Component>,
    /// How many groups of blocks there are across and down.
    groups: (usize, usize),
}

/// One component of a picture.
struct Component {
    id: u8,
    /// How many blocks a group has of it, across and down.
    sampling: (usize, usize),
    /// Which table of factors it uses.
    table: usize,
    /// The factors, as they were when its first scan began.
    factors: Option<[u16; 64]>,
    /// How many blocks it has across and down.
    blocks: (usize, usize),
    /// The same when groups are filled up.
    padded: (usize, usize),
    plane: Plane,
    /// The coefficients of all blocks, where several scans bring them together.
    coefficients: Vec<[i16; 64]>,
}

#[derive(Default)]
struct Decoder<'b> {
    bytes: &'b [u8],
    position: usize,
    factors: [Option<[u16; 64]>; 4],
    direct: [Option<Huffman>; 4],
    alternating: [Option<Huffman>; 4],
    /// How many groups stand between restart markers; 0 for no such markers.
    restart_interval: usize,
    is_jfif: bool,
    /// What Adobe's segment says about colours.
    adobe: Option<u8>,
    frame: Option<Frame>,
    scans: usize,
}

impl<'b> Decoder<'b> {
    /// Reads all segments up to the end of the picture.
    fn read(&mut self) -> Result<(), JpegError> {
        let unsupported = |kind| Err(JpegError::Unsupported { kind });
        self.position = 2;
        loop {
            match self.marker()? {
                // The beginning again, fillers, restarts that nobody waits for.
                0xd8 | 0x01 | 0xd0..=0xd7 => {}
                0xd9 => return Ok(()),
                marker @ 0xc0..=0xc2 => {
                    let segment = self.segment()?;
                    if self.frame.is_some() {
                        return Err(JpegError::Damaged { rule: "it has two frames" });
                    }
                    self.frame = Some(Frame::new(segment, marker == 0xc2)?);
                }
                0xc4 => self.huffman_tables()?,
                0xdb => self.factor_tables()?,
                0xdd => match *self.segment()? {
                    [high, low, ..] => self.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                    _ => return Err(JpegError::SEGMENT),
                },
                0xe0 => self.is_jfif |= self.segment()?.starts_with(b"JFIF\0"),
                0xee => {
                    let segment = self.segment()?;
                    if segment.starts_with(b"Adobe") {
                        self.adobe = segment.get(11).copied().or(self.adobe);
                    }
                }
                0xda => {
                    self.scan()?;
                    if self.frame.as_ref().is_some_and(|frame| !frame.is_progressive && frame.is_complete()) {
                        return Ok(());
                    }
                }
                0xc9..=0xcf => return unsupported("arithmetic coding"),
                0xc3 | 0xc7 => return unsupported("lossless"),
                0xc5 | 0xc6 => return unsupported("hierarchical"),
                _ => drop(self.segment()?),
            }
        }
    }

    /// Returns the next marker. Bytes before it are skipped: some writers leave a few.
    fn marker(&mut self) -> Result<u8, JpegError> {
        let mut rest = self.bytes.get(self.position..).unwrap_or_default().iter();
        let mut last = 0;
        for byte in rest.by_ref() {
            if last == 0xff && !matches!(byte, 0 | 0xff) {
                self.position = self.bytes.len() - rest.len();
                return Ok(*byte);
            }
            last = *byte;
        }
        Err(JpegError::End)
    }

    /// Returns the content of the segment that follows its marker.
    fn segment(&mut self) -> Result<&'b [u8], JpegError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(([high, low], _)) = rest.split_first_chunk() else { return Err(JpegError::End) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (segment, _) = rest.split_at_checked(length).ok_or(JpegError::End)?;
        self.position += length;
        segment.get(2..).ok_or(JpegError::SEGMENT)
    }

    fn huffman_tables(&mut self) -> Result<(), JpegError> {
        let mut rest = self.segment()?;
        while let [place, after @ ..] = rest {
            let (counts, after) = after.split_first_chunk::<16>().ok_or(JpegError::SEGMENT)?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, after) = after.split_at_checked(count).ok_or(JpegError::SEGMENT)?;
            let tables = if place >> 4 == 0 { &mut self.direct } else { &mut self.alternating };
            let table = tables.get_mut(usize::from(place & 15)).ok_or(JpegError::CODES)?;
            *table = Some(Huffman::new(counts, symbols)?);
            rest = after;
        }
        Ok(())
    }

    fn factor_tables(&mut self) -> Result<(), JpegError> {
        let mut rest = self.segment()?;
        while let [place, after @ ..] = rest {
            let is_wide = place >> 4 != 0;
            let (values, after) = after.split_at_checked(if is_wide { 128 } else { 64 }).ok_or(JpegError::SEGMENT)?;
            let mut factors = [0; 64];
            let mut values = values.iter().map(|value| u16::from(*value));
            for at in ZIGZAG {
                let high = if is_wide { values.next().unwrap_or(0) << 8 } else { 0 };
                factors[usize::from(at & 63)] = high | values.next().unwrap_or(0);
            }
            let table = self.factors.get_mut(usize::from(place & 15));
            *table.ok_or(JpegError::Damaged { rule: "a table of factors has no such place" })? = Some(factors);
            rest = after;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), JpegError> {
        let segment = self.segment()?;
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(JpegError::Damaged { rule: "it has more scans than any picture needs" });
        }
        let frame = self.frame.as_mut().ok_or(JpegError::Damaged { rule: "a scan stands before the frame" })?;
        let scan = Scan::new(segment, frame, &self.direct, &self.alternating)?;
        for component in scan.components() {
            let component = frame.components.get_mut(component);
            let component = component.ok_or(JpegError::Damaged { rule: "a scan names an unknown component" })?;
            if component.factors.is_none() {
                let factors = self.factors.get(component.table).copied().flatten();
                component.factors = Some(factors.ok_or(JpegError::Damaged { rule: "a table of factors is missing" })?);
            }
        }
        self.position = scan.read(frame, self.bytes, self.position, self.restart_interval)?;
        Ok(())
    }

    fn picture(self) -> Result<Picture, JpegError> {
        let (is_jfif, adobe) = (self.is_jfif, self.adobe);
        let frame = self.frame.ok_or(JpegError::Damaged { rule: "it has no frame" })?;
        if !frame.is_complete() {
            return Err(JpegError::Damaged { rule: "a component is missing" });
        }
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        let colours = match (frame.components.len(), adobe) {
            (1, _) => Colours::Gray,
            (3, _) if is_jfif => Colours::YCbCr,
            (3, Some(0)) => Colours::Rgb,
            (3, None) if ids == *b"RGB" => Colours::Rgb,
            (3, _) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Inks,
            _ => Colours::TurnedInks,
        };
        let planes: Vec<Plane> = frame.components.into_iter().map(Component::into_plane).collect();
        planes::picture(&planes, frame.size, colours)
    }
}

impl Frame {
    fn new(segment: &[u8], is_progressive: bool) -> Result<Self, JpegError> {
        let [bits, h1, h0, w1, w0, count, ref rest @ ..] = *segment else { return Err(JpegError::SEGMENT) };
        if bits != 8 {
            return Err(JpegError::Unsupported { kind: "other than 8 bits a sample" });
        }
        let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let size = Size { width: side(w1, w0), height: side(h1, h0) };
        if size.width == 0 || size.height == 0 {
            return Err(JpegError::Damaged { rule: "it has no pixels" });
        }
        if !size.is_readable() {
            return Err(JpegError::TooLarge { size });
        }
        let described = rest.as_chunks::<3>().0.get(..usize::from(count)).ok_or(JpegError::SEGMENT)?;
        if !matches!(described.len(), 1 | 3 | 4) {
            return Err(JpegError::Unsupported { kind: "two or more than four components" });
        }
        let sampling = |byte: u8| (usize::from(byte >> 4), usize::from(byte & 15));
        let (mut most_across, mut most_down) = (1, 1);
        for [_, byte, _] in described {
            let (across, down) = sampling(*byte);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(JpegError::Damaged { rule: "a component has no samples" });
            }
            (most_across, most_down) = (most_across.max(across), most_down.max(down));
        }
        let groups = (size.width.div_ceil(8 * most_across), size.height.div_ceil(8 * most_down));
        let mut components = Vec::with_capacity(described.len());
        for [id, byte, table] in described {
            let (across, down) = sampling(*byte);
            if most_across % across != 0 || most_down % down != 0 {
                return Err(JpegError::Unsupported { kind: "components of which none is a multiple of the others" });
            }
            let of_component = Size {
                width: (size.width * across).div_ceil(most_across),
                height: (size.height * down).div_ceil(most_down),
            };
            let padded = (groups.0 * across, groups.1 * down);
            let mut component = Component {
                id: *id,
                sampling: (across, down),
                table: usize::from(*table),
                factors: None,
                blocks: (of_component.width.div_ceil(8), of_component.height.div_ceil(8)),
                padded,
                plane: Plane {
                    size: of_component,
                    stride: padded.0 * 8,
                    samples: Vec::new(),
                    ratio: (most_across / across, most_down / down),
                },
                coefficients: Vec::new(),
            };
            if is_progressive {
                component.coefficients = vec![[0; 64]; padded.0 * padded.1];
            } else {
                component.plane.samples = vec![0; padded.0 * padded.1 * 64];
            }
            components.push(component);
        }
        Ok(Self { size, is_progressive, components, groups })
    }

    /// Returns whether every component has had a scan.
    fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.factors.is_some())
    }
}

impl Component {
    /// Turns the coefficients of a block into samples.
    #[inline(always)]
    fn place(&mut self, block: &[i16; 64], (across, down): (usize, usize), is_plain: bool) {
        let Plane { samples, stride, .. } = &mut self.plane;
        let start = (down * *stride + across) * 8;
        if let (Some(factors), Some(samples)) = (&self.factors, samples.get_mut(start..)) {
            if is_plain {
                idct::plain(block[0], factors[0], samples, *stride);
            } else {
                idct::idct(block, factors, samples, *stride);
            }
        }
    }

    /// Returns the samples, transformed if that has not been done.
    fn into_plane(mut self) -> Plane {
        let coefficients = std::mem::take(&mut self.coefficients);
        if !coefficients.is_empty() {
            self.plane.samples = vec![0; self.padded.0 * self.padded.1 * 64];
        }
        for (number, block) in coefficients.iter().enumerate() {
            let is_plain = block.iter().skip(1).all(|coefficient| *coefficient == 0);
            self.place(block, (number % self.padded.0, number / self.padded.0), is_plain);
        }
        self.plane
    }
}
