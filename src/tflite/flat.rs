//! Flatbuffers, read with every offset checked against the bytes.
//!
//! Owns the wire form: tables, their fields by number, vectors, text. Nothing is decoded before it is asked for, nothing
//! recurses, and vectors share the bytes they were read from. Follows the FlatBuffers internals document; fields are
//! counted from 0 in the order of the schema.

use std::marker::PhantomData;

use bytes::Bytes;

use super::TfliteError;

/// A number as flatbuffers store it, little-endian.
pub(super) trait Scalar: Sized + Copy {
    /// The size in bytes.
    const SIZE: usize;

    /// Decodes the first bytes; `None` if there are too few.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! scalars {
    ($($scalar:ty)*) => {
        $(impl Scalar for $scalar {
            const SIZE: usize = size_of::<$scalar>();

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(*bytes.first_chunk()?))
            }
        })*
    };
}

scalars!(u8 i8 u16 i32 u32 i64 u64 f32);

fn at<T: Scalar>(bytes: &Bytes, place: usize) -> Result<T, TfliteError> {
    bytes.get(place..).and_then(T::decode).ok_or(TfliteError::Malformed { offset: place })
}

/// Follows the offset that stands at `place`: it counts from there.
fn follow(bytes: &Bytes, place: usize) -> Result<usize, TfliteError> {
    let offset = at::<u32>(bytes, place)?;
    // No file of 32-bit offsets is longer than memory.
    place.checked_add(offset as usize).ok_or(TfliteError::Malformed { offset: place })
}

/// A table: fields that may each be absent.
#[derive(Clone, Debug)]
pub(super) struct Table {
    bytes: Bytes,
    place: usize,
    /// Where the offsets of the fields are, two bytes each.
    fields: usize,
    count: usize,
}

impl Table {
    /// Returns the table that the file is.
    pub(super) fn root(bytes: &Bytes) -> Result<Self, TfliteError> {
        Self::open(bytes, follow(bytes, 0)?)
    }

    fn open(bytes: &Bytes, place: usize) -> Result<Self, TfliteError> {
        let broken = TfliteError::Malformed { offset: place };
        let back = i64::from(at::<i32>(bytes, place)?);
        let description = i64::try_from(place).ok().and_then(|place| usize::try_from(place - back).ok());
        let Some(description) = description else { return Err(broken) };
        let length = usize::from(at::<u16>(bytes, description)?);
        if length < 4 || description + length > bytes.len() {
            return Err(broken);
        }
        Ok(Self { bytes: bytes.clone(), place, fields: description + 4, count: (length - 4) / 2 })
    }

    /// Returns where a field stands, if it is there.
    fn field(&self, number: usize) -> Result<Option<usize>, TfliteError> {
        if number >= self.count {
            return Ok(None);
        }
        let offset = usize::from(at::<u16>(&self.bytes, self.fields + 2 * number)?);
        Ok((offset != 0).then_some(self.place + offset))
    }

    /// Reads a number.
    pub(super) fn scalar<T: Scalar>(&self, number: usize, default: T) -> Result<T, TfliteError> {
        self.field(number)?.map_or(Ok(default), |place| at(&self.bytes, place))
    }

    /// Reads a truth value, false if absent.
    pub(super) fn flag(&self, number: usize) -> Result<bool, TfliteError> {
        Ok(self.scalar::<u8>(number, 0)? != 0)
    }

    /// Reads a table.
    pub(super) fn table(&self, number: usize) -> Result<Option<Self>, TfliteError> {
        let place = self.field(number)?;
        place.map(|place| Self::open(&self.bytes, follow(&self.bytes, place)?)).transpose()
    }

    /// Reads a vector of numbers, empty if absent.
    pub(super) fn vector<T: Scalar>(&self, number: usize) -> Result<Vector<T>, TfliteError> {
        let Some(place) = self.field(number)? else { return Ok(Vector::empty()) };
        let start = follow(&self.bytes, place)?;
        let count = at::<u32>(&self.bytes, start)? as usize;
        let first = start + 4;
        let end = count.checked_mul(T::SIZE).and_then(|length| first.checked_add(length));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => Ok(Vector { bytes: self.bytes.slice(first..end), kind: PhantomData }),
            None => Err(TfliteError::Malformed { offset: start }),
        }
    }

    /// Reads a text, empty if absent.
    pub(super) fn text(&self, number: usize) -> Result<String, TfliteError> {
        Ok(String::from_utf8_lossy(self.vector::<u8>(number)?.bytes()).into_owned())
    }

    /// Reads a vector of tables, one when it is asked for.
    pub(super) fn tables(&self, number: usize) -> Result<impl Iterator<Item = Result<Self, TfliteError>>, TfliteError> {
        let offsets: Vector<u32> = self.vector(number)?;
        let first = match self.field(number)? {
            Some(place) => follow(&self.bytes, place)? + 4,
            None => 0,
        };
        let places = (0..offsets.len()).map(move |index| first + 4 * index);
        let bytes = self.bytes.clone();
        Ok(places.map(move |place| Self::open(&bytes, follow(&bytes, place)?)))
    }
}

/// Numbers that lie one after another in the file.
#[derive(Clone, Debug)]
pub(super) struct Vector<T> {
    bytes: Bytes,
    kind: PhantomData<T>,
}

impl<T: Scalar> Vector<T> {
    const fn empty() -> Self {
        Self { bytes: Bytes::new(), kind: PhantomData }
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Returns the numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.bytes.chunks_exact(T::SIZE).filter_map(T::decode)
    }
}

impl Vector<u8> {
    /// Returns the bytes, shared with the file.
    pub(super) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
