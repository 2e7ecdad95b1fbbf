//! Layouts: one letter per dimension of a tensor.
//!
//! Owns [`Layout`], the default layout of a shape, and the relabelling of a shape whose dimensions moved. Letters have no
//! meaning beyond the conventional `N` batch, `C` channels, `H` height, `W` width. Must not know what uses a layout.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::hint::Hint;

/// The letters of a tensor's dimensions, outermost first.
///
/// Accepted in any case, kept in upper case: `NCHW`, `nhwc`, `CDE`, the empty text for a scalar. Refused: `NCH1`, `NCC`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout(String);

/// Letters that are no layout, or that do not fit a shape.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Not one letter for each dimension.
    #[error("`{text}` is no layout: expected one letter per dimension, each once")]
    Letters {
        /// The text.
        text: String,
    },
    /// Too many dimensions to have a letter each.
    #[error("a shape of {rank} dimensions has no layout: there are 26 letters")]
    Rank {
        /// How many dimensions there are.
        rank: usize,
    },
    /// A shape with another number of dimensions.
    #[error("the length of the new shape must be the same as the old one: {old:?} with layout {layout}, {new:?}")]
    Length {
        /// The letters of the old shape.
        layout: Layout,
        /// The old shape.
        old: Vec<u64>,
        /// The new shape.
        new: Vec<u64>,
    },
    /// A shape that is no permutation of the other.
    #[error("the new shape must contain the same elements as the old one: {old:?} with layout {layout}, {new:?}")]
    Elements {
        /// The letters of the old shape.
        layout: Layout,
        /// The old shape.
        old: Vec<u64>,
        /// The new shape.
        new: Vec<u64>,
    },
}

impl Hint for LayoutError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Letters { .. } => vec!["write for example `NCHW` or `NHWC`".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Layout {
    /// Returns the letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the position of `letter`, outermost dimension first.
    pub fn position(&self, letter: char) -> Option<usize> {
        self.0.find(letter)
    }

    /// Returns whether dimensions for channels, height and width are all there.
    pub fn is_picture(&self) -> bool {
        ['C', 'H', 'W'].into_iter().all(|letter| self.0.contains(letter))
    }

    /// Returns whether channels are the innermost dimension, as in `NHWC`.
    pub fn is_interleaved(&self) -> bool {
        self.0.len() > 1 && self.0.ends_with('C')
    }

    /// Returns the layout that a shape has when nobody says otherwise.
    ///
    /// A leading 1 is `N`, and so is a leading 0, which stands for a batch of any size. If exactly three dimensions
    /// remain, the first smaller than both others makes `CHW`, the last smaller than both others makes `HWC`. Otherwise
    /// the remaining dimensions are `C`, `D`, `E` and so on.
    ///
    /// # Errors
    /// More dimensions than letters.
    pub fn default_for(shape: &[u64]) -> Result<Self, LayoutError> {
        if shape.len() > 26 {
            return Err(LayoutError::Rank { rank: shape.len() });
        }
        let (batch, rest) = match shape.split_first() {
            Some((0 | 1, rest)) => ("N", rest),
            _ => ("", shape),
        };
        let letters = match *rest {
            [first, second, third] if first < second && first < third => "CHW".to_owned(),
            [first, second, third] if third < first && third < second => "HWC".to_owned(),
            _ => (b'C'..=b'Z')
                .chain([b'A', b'B'])
                .map(char::from)
                .filter(|letter| !batch.contains(*letter))
                .take(rest.len())
                .collect(),
        };
        Ok(Self(format!("{batch}{letters}")))
    }

    /// Returns the layout of `new`, a permutation of the shape `old` that this layout belongs to.
    ///
    /// Each new dimension takes the first unused letter of an old dimension of equal size.
    ///
    /// # Errors
    /// `new` has other dimensions than `old`, or this layout has another length than `old`.
    pub fn relabel(&self, old: &[u64], new: &[u64]) -> Result<Self, LayoutError> {
        let shapes = || (self.clone(), old.to_vec(), new.to_vec());
        if old.len() != new.len() || self.rank() != old.len() {
            let (layout, old, new) = shapes();
            return Err(LayoutError::Length { layout, old, new });
        }
        let mut unused: Vec<(u64, char)> = old.iter().copied().zip(self.0.chars()).collect();
        let mut letters = String::with_capacity(new.len());
        for dimension in new {
            let Some(position) = unused.iter().position(|(size, _)| size == dimension) else {
                let (layout, old, new) = shapes();
                return Err(LayoutError::Elements { layout, old, new });
            };
            letters.push(unused.remove(position).1);
        }
        Ok(Self(letters))
    }
}

impl Layout {
    /// Returns the letters of a tensor whose dimensions were moved: the new ones are the old ones at these places, each
    /// of which comes once.
    pub fn permuted(&self, axes: &[usize]) -> Option<Self> {
        let letters = axes.iter().map(|axis| self.0.chars().nth(*axis)).collect::<Option<String>>()?;
        if letters.len() == self.0.len() { letters.parse().ok() } else { None }
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let letters = text.to_ascii_uppercase();
        let unique = letters.bytes().enumerate().all(|(at, letter)| {
            letter.is_ascii_uppercase() && !letters.bytes().take(at).any(|earlier| earlier == letter)
        });
        if unique { Ok(Self(letters)) } else { Err(LayoutError::Letters { text: text.to_owned() }) }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Layout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_default_layouts() {
        for (shape, layout) in [
            (&[1, 3, 256, 256][..], "NCHW"),
            (&[1, 256, 256, 3], "NHWC"),
            (&[0, 3, 224, 224], "NCHW"),
            (&[1, 10], "NC"),
            (&[1, 19, 7, 8], "NCDE"),
            (&[3, 4, 5], "CHW"),
            (&[8], "C"),
            (&[1, 4, 5], "NCD"),
            (&[1], "N"),
            (&[], ""),
        ] {
            assert_eq!(Layout::default_for(shape).unwrap().as_str(), layout, "{shape:?}");
        }
        let long = Layout::default_for(&[2; 26]).unwrap();
        assert_eq!(long.as_str(), "CDEFGHIJKLMNOPQRSTUVWXYZAB");
        assert_eq!(Layout::default_for(&[2; 27]), Err(LayoutError::Rank { rank: 27 }));
        let batch = Layout::default_for(&[1; 26]).unwrap();
        assert_eq!(batch.as_str(), "NCDEFGHIJKLMOPQRSTUVWXYZAB");
    }

    #[test]
    fn permuted_shapes_keep_their_letters() {
        let nchw: Layout = "nchw".parse().unwrap();
        assert_eq!(nchw.relabel(&[1, 3, 256, 256], &[1, 256, 256, 3]).unwrap().as_str(), "NHWC");
        assert_eq!(nchw.relabel(&[1, 3, 3, 4], &[1, 3, 4, 3]).unwrap().as_str(), "NCWH");
        assert_eq!(nchw.permuted(&[0, 2, 3, 1]).unwrap().as_str(), "NHWC");
        for wrong in [&[0, 1, 2][..], &[0, 0, 1, 2], &[1, 2, 3, 4]] {
            assert_eq!(nchw.permuted(wrong), None);
        }
        assert!(nchw.relabel(&[1, 3, 4, 5], &[1, 3, 4]).unwrap_err().to_string().contains("same as the old one"));
        assert!(nchw.relabel(&[1, 3, 4, 5], &[1, 3, 4, 6]).unwrap_err().to_string().contains("same elements"));
    }

    #[test]
    fn texts_that_are_no_layout_are_refused() {
        for text in ["NCC", "N C", "NC1", "NÄ"] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
    }
}
