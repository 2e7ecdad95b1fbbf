//! Advice that travels beside an error.
//!
//! Owns the trait [`Hint`]. An error says what failed; a hint says what to do next, in the imperative, naming an exact
//! command or key. It must not repeat the message.

/// An error that may know the next step.
pub trait Hint {
    /// Returns one line of advice for each thing the reader can do, most useful first.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Returns ", did you mean ...?" material: the candidate nearest to `word`, if one is near enough to be a typing error.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_nearest_word_or_none() {
        let keys = ["mean_values", "scale_values", "encoding"];
        assert_eq!(nearest("mean_value", keys), Some("mean_values"));
        assert_eq!(nearest("encodings", keys), Some("encoding"));
        assert_eq!(nearest("zzz", keys), None);
    }
}
