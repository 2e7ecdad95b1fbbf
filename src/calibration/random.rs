//! Random samples that are the same everywhere and for ever.
//!
//! The generator is xoshiro256** (Blackman and Vigna), seeded by a SHA-256; normal numbers come by Marsaglia's polar
//! method, with a logarithm whose last bit does not depend on the machine. The bytes of a sample follow from the seed,
//! the input's name and the sample's number alone.

use sha2::{Digest as _, Sha256};

use super::element::Element;

/// What random numbers are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// The middle.
    pub mean: f64,
    /// The spread.
    pub standard_deviation: f64,
    /// What is smaller becomes this.
    pub least: f64,
    /// What is larger becomes this.
    pub most: f64,
    /// Numbers become this type first.
    pub element: Element,
}

/// Where random numbers begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64);

/// Returns the elements of one sample in the type `to`: drawn, cut to the range, cast to the distribution's type.
pub fn sample(distribution: Distribution, count: usize, to: Element, mut generator: Generator) -> Vec<u8> {
    let Distribution { mean, standard_deviation, least, most, element } = distribution;
    let mut bytes = Vec::with_capacity(count.saturating_mul(to.size()));
    let mut cast = Vec::with_capacity(element.size());
    for _ in 0..count {
        let value = (mean + standard_deviation * generator.normal()).max(least).min(most);
        cast.clear();
        element.push(value, &mut cast);
        element.values(&cast).for_each(|value| to.push(value, &mut bytes));
    }
    bytes
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Generator {
    state: [u64; 4],
    /// The polar method makes two at a time.
    spare: Option<f64>,
}

impl Generator {
    /// Returns the stream of one sample of one input.
    pub fn new(seed: Seed, input: &str, sample: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.0.to_le_bytes());
        hasher.update(sample.to_le_bytes());
        hasher.update(input.as_bytes());
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(hasher.finalize().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { state, spare: None }
    }

    fn word(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let word = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        word
    }

    /// Returns a number from -1 to 1, every one of 2^53 alike.
    fn uniform(&mut self) -> f64 {
        let unit = (self.word() >> 11) as f64 / (1_u64 << 53) as f64;
        2.0 * unit - 1.0
    }

    /// Returns a number of the standard normal distribution.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.uniform(), self.uniform());
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let factor = (-2.0 * libm::log(square) / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const PIXELS: Distribution =
        Distribution { mean: 127.5, standard_deviation: 35.0, least: 0.0, most: 255.0, element: Element::Float32 };

    #[test]
    fn samples_are_the_same_for_ever_and_differ_from_each_other() {
        let bytes = |input, number| sample(PIXELS, 1000, Element::Uint8, Generator::new(Seed(0), input, number));
        assert_eq!(
            Digest::of(&bytes("images", 0)).to_string(),
            "sha256:2de0c1fa10f455d5be078929bc7bc8e9d411ff0b8eca0dc03ca30e283293f319"
        );
        assert_ne!(bytes("images", 0), bytes("images", 1));
        assert_ne!(bytes("images", 0), bytes("image", 0));
    }

    #[test]
    fn numbers_are_distributed_as_asked() {
        let wide = Distribution { least: -1e9, most: 1e9, ..PIXELS };
        let count = 100_000;
        let bytes = sample(wide, count, Element::Float64, Generator::new(Seed(1), "x", 0));
        let values: Vec<f64> = Element::Float64.values(&bytes).collect();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        assert!((mean - 127.5).abs() < 0.5, "{mean}");
        assert!((variance.sqrt() - 35.0).abs() < 0.5, "{variance}");
        let within = values.iter().filter(|value| (**value - 127.5).abs() < 35.0).count();
        assert!((within as f64 / count as f64 - 0.6827).abs() < 0.01, "{within}");
        let cut = sample(
            Distribution { least: 100.0, most: 101.0, ..PIXELS },
            99,
            Element::Float32,
            Generator::new(Seed(1), "x", 0),
        );
        assert!(Element::Float32.values(&cut).all(|value| (100.0..=101.0).contains(&value)));
    }
}
