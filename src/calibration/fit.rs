//! How pictures of another size become an input's.

use thiserror::Error;

use super::bicubic;
use super::picture::{Channels, Picture, Size};
use crate::config::ResizeMethod;
use crate::hint::Hint;

/// The most bytes that stand between the two passes of the filter.
const MOST_BETWEEN: usize = 1 << 30;

/// A picture that cannot become so large.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a picture of {from} pixels cannot become {to}: that needs more than 1 GiB of memory")]
pub struct FitError {
    from: Size,
    to: Size,
}

impl Hint for FitError {
    fn hints(&self) -> Vec<String> {
        vec!["make the picture smaller beforehand".to_owned()]
    }
}

/// Returns the picture in the size of an input.
///
/// - `RESIZE` changes both sides as needed.
/// - `CROP` takes the middle; where the picture is smaller, black fills the rest.
/// - `PAD` keeps the ratio of the sides and sets the picture in the middle of black.
///
/// # Errors
/// The picture is extremely long in one direction and the input large.
pub fn fit(picture: Picture, size: Size, method: ResizeMethod) -> Result<Picture, FitError> {
    match method {
        ResizeMethod::Resize => resized(picture, size),
        ResizeMethod::Crop => Ok(cropped(&picture, size)),
        ResizeMethod::Pad => padded(picture, size),
    }
}

/// Changes the size by the filter. Colours count by their opacity, as in Pillow.
fn resized(picture: Picture, size: Size) -> Result<Picture, FitError> {
    if picture.size() == size {
        return Ok(picture);
    }
    if bicubic::between(&picture, size).is_none_or(|bytes| bytes > MOST_BETWEEN) {
        return Err(FitError { from: picture.size(), to: size });
    }
    Ok(unmultiplied(bicubic::resize(multiplied(picture), size)))
}

fn cropped(picture: &Picture, size: Size) -> Picture {
    // Half pixels go towards zero, so to the left of a larger picture and to the right of a smaller one.
    let offset =
        |from: usize, to: usize| if from >= to { -(((from - to) / 2) as isize) } else { ((to - from) / 2) as isize };
    let from = picture.size();
    let at = (offset(from.width, size.width), offset(from.height, size.height));
    on_canvas(picture, size, at, 0)
}

fn padded(picture: Picture, size: Size) -> Result<Picture, FitError> {
    let from = picture.size();
    let (width, height) = (size.width as f64, size.height as f64);
    let (from_width, from_height) = (from.width as f64, from.height as f64);
    // Halves become even numbers; a side never vanishes.
    let side = |length: f64| (length.round_ties_even() as usize).max(1);
    let inner = if from_width / from_height > width / height {
        Size { width: size.width, height: side(from_height * (width / from_width)) }
    } else {
        Size { width: side(from_width * (height / from_height)), height: size.height }
    };
    let picture = resized(picture, inner)?;
    let middle = |outer: usize, inner: usize| (outer.saturating_sub(inner) / 2) as isize;
    let at = (middle(size.width, inner.width), middle(size.height, inner.height));
    Ok(on_canvas(&picture, size, at, u8::MAX))
}

/// Sets the picture on a canvas of black, its upper left corner at `at`; the opacity of black is `opacity`.
fn on_canvas(picture: &Picture, size: Size, (left, top): (isize, isize), opacity: u8) -> Picture {
    let channels = picture.channels().count();
    let black: &[u8] = match picture.channels() {
        Channels::Gray => &[0],
        Channels::GrayAlpha => &[0, opacity],
        Channels::Rgb => &[0; 3],
        Channels::Rgba => &[0, 0, 0, opacity],
    };
    let mut canvas = black.repeat(size.width * size.height);
    let before = |offset: isize| usize::try_from(offset).unwrap_or(0);
    let hidden = |offset: isize| usize::try_from(-offset).unwrap_or(0);
    let shown = canvas.chunks_exact_mut(size.width * channels).skip(before(top));
    for (to, from) in shown.zip(picture.rows().skip(hidden(top))) {
        let to = to.get_mut(before(left) * channels..).unwrap_or_default();
        let from = from.get(hidden(left) * channels..).unwrap_or_default();
        let length = to.len().min(from.len());
        if let (Some(to), Some(from)) = (to.get_mut(..length), from.get(..length)) {
            to.copy_from_slice(from);
        }
    }
    // As many samples as the size says, by construction.
    Picture::new(size, picture.channels(), canvas).unwrap_or_else(|| picture.clone())
}

/// Multiplies colours by their opacity.
fn multiplied(picture: Picture) -> Picture {
    by_opacity(picture, |sample, alpha| {
        // The nearest of sample * alpha / 255.
        let product = u32::from(sample) * u32::from(alpha) + 128;
        ((product + (product >> 8)) >> 8) as u8
    })
}

/// Divides colours by their opacity.
fn unmultiplied(picture: Picture) -> Picture {
    by_opacity(picture, |sample, alpha| match alpha {
        0 | u8::MAX => sample,
        _ => (255 * u32::from(sample) / u32::from(alpha)).min(255) as u8,
    })
}

fn by_opacity(picture: Picture, change: impl Fn(u8, u8) -> u8) -> Picture {
    let (size, channels) = (picture.size(), picture.channels());
    if !channels.has_alpha() {
        return picture;
    }
    let mut samples = picture.samples().to_vec();
    for pixel in samples.chunks_exact_mut(channels.count()) {
        if let [colours @ .., alpha] = pixel {
            colours.iter_mut().for_each(|colour| *colour = change(*colour, *alpha));
        }
    }
    Picture::new(size, channels, samples).unwrap_or(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Picture {
        let samples = (1..=width * height).map(|sample| sample as u8).collect();
        Picture::new(Size { width, height }, Channels::Gray, samples).unwrap()
    }

    #[test]
    fn crops_are_the_middle_and_black_around() {
        for (picture, (width, height), expected) in [
            (numbered(4, 1), (2, 1), &[2, 3][..]),
            (numbered(5, 1), (2, 1), &[2, 3]),
            (numbered(2, 1), (5, 1), &[0, 1, 2, 0, 0]),
            (numbered(1, 3), (1, 1), &[2]),
            (numbered(3, 1), (1, 3), &[0, 2, 0]),
        ] {
            let cropped = fit(picture, Size { width, height }, ResizeMethod::Crop).unwrap();
            assert_eq!(cropped.samples(), expected);
        }
    }

    #[test]
    fn pads_keep_the_ratio_and_every_side() {
        let padded = fit(numbered(4, 2), Size { width: 4, height: 4 }, ResizeMethod::Pad).unwrap();
        assert_eq!(padded.samples(), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
        let thin = fit(numbered(1, 200), Size { width: 4, height: 4 }, ResizeMethod::Pad).unwrap();
        assert_eq!(thin.size(), Size { width: 4, height: 4 });
        let colour = Picture::new(Size { width: 1, height: 1 }, Channels::Rgba, vec![9, 9, 9, 255]).unwrap();
        let padded = fit(colour, Size { width: 3, height: 1 }, ResizeMethod::Pad).unwrap();
        assert_eq!(padded.samples(), [0, 0, 0, 255, 9, 9, 9, 255, 0, 0, 0, 255]);
    }

    #[test]
    fn what_no_memory_holds_is_refused() {
        let long = numbered(1, 200_000);
        let size = Size { width: 100_000, height: 1 };
        assert!(fit(long, size, ResizeMethod::Resize).unwrap_err().to_string().contains("1x200000"));
    }
}
