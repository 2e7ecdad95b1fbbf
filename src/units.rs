//! Quantities with their units: sizes in bytes and shave counts.
//!
//! Owns parsing and printing of quantities. Must not know what is measured.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hint::Hint;

/// A number of bytes.
///
/// Accepted text: a number, an optional binary multiple and an optional `B`, in any case: `4g`, `4GiB`, `4096m`, `512`
/// (all multiples are binary; fractions are cut off). Refused: `big`, `-1`, `1 GB please`, `GiB`, `1.2.3M`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

/// A text that is no size.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a valid size")]
pub struct ByteSizeError {
    text: String,
}

impl Hint for ByteSizeError {
    fn hints(&self) -> Vec<String> {
        vec!["write a number and a unit, for example `4GiB`, `512m` or `1073741824`".to_owned()]
    }
}

impl ByteSize {
    /// Returns `bytes` as a size.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let refused = || ByteSizeError { text: text.to_owned() };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(refused());
        }
        let unit = unit.trim_start();
        let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
        let shift = match unit {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(refused()),
        };
        let whole: u64 = whole.parse().map_err(|_| refused())?;
        let fraction: f64 = format!("0.{fraction}").parse().map_err(|_| refused())?;
        let multiple = 1_u64 << shift;
        let bytes = whole.checked_mul(multiple).ok_or_else(refused)?;
        bytes.checked_add((fraction * multiple as f64) as u64).map(Self).ok_or_else(refused)
    }
}

/// Prints one decimal and a binary unit: `512 B`, `1.5 KiB`, `27.6 MiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = larger;
        }
        if unit == "B" { write!(formatter, "{} B", self.0) } else { write!(formatter, "{value:.1} {unit}") }
    }
}

impl Add for ByteSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for ByteSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self(0), Add::add)
    }
}

/// How many SHAVE cores of a MyriadX a blob is compiled for: 1 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct ShaveCount(u8);

/// A number of shaves that no MyriadX has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{count} shaves: a MyriadX blob uses 1 to 16")]
pub struct ShaveCountError {
    count: i64,
}

impl Hint for ShaveCountError {}

impl ShaveCount {
    /// The count that superblob patches start from, and the default of single blobs.
    pub const EIGHT: Self = Self(8);

    /// Returns all counts, 1 to 16, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=16).map(Self)
    }

    /// Returns the number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for ShaveCount {
    type Error = ShaveCountError;

    fn try_from(count: i64) -> Result<Self, ShaveCountError> {
        match u8::try_from(count) {
            Ok(value @ 1..=16) => Ok(Self(value)),
            _ => Err(ShaveCountError { count }),
        }
    }
}

impl From<ShaveCount> for i64 {
    fn from(count: ShaveCount) -> Self {
        Self::from(count.0)
    }
}

impl fmt::Display for ShaveCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_binary_multiples() {
        let four = ByteSize::new(4 << 30);
        for text in ["4g", "4GiB", "4096m", "4294967296", " 4 GB ", "4.0G"] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), four, "{text}");
        }
        assert_eq!("1.5k".parse::<ByteSize>().unwrap(), ByteSize::new(1536));
        for text in ["", "big", "-1", "1 GB please", "GiB", "1.2.3M", ".5g", "1.", "99999999999T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_for_people() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (28_896_050, "27.6 MiB")] {
            assert_eq!(ByteSize::new(bytes).to_string(), text);
        }
    }

    #[test]
    fn shave_counts_are_one_to_sixteen() {
        assert_eq!(ShaveCount::all().count(), 16);
        for refused in [0, 17, -1] {
            assert!(ShaveCount::try_from(refused).is_err());
        }
    }
}
