//! The block `verification`.

use super::value::{Fields, Reader};
use crate::config::keys;
use crate::config::tree::Tree;
use crate::config::verification::Verification;

impl Reader {
    /// Reads the block of a stage; without one, everything is as by default.
    pub(super) fn verification(&mut self, fields: Fields<'_>, place: &str) -> Verification {
        let mut block = Verification::default();
        let key = format!("{place}verification");
        let Some(tree) = fields.some("verification") else { return block };
        let Some(fields) = self.mapping(tree, &key, &keys::names(keys::VERIFICATION)) else { return block };
        let at = |name: &str| format!("{key}.{name}");
        for (name, value) in [("enabled", &mut block.enabled), ("device", &mut block.device)] {
            if let Some(tree) = fields.get(name) {
                *value = self.boolean(tree, &at(name)).unwrap_or(*value);
            }
        }
        let most = i64::from(Verification::MOST_SAMPLES);
        for (name, value, least, most) in
            [("samples", &mut block.samples, 1, most), ("seed", &mut block.seed, 0, i64::from(u32::MAX))]
        {
            if let Some(tree) = fields.get(name) {
                let number = self.integer(tree, &at(name), least, most);
                *value = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(*value);
            }
        }
        let tolerance = &mut block.tolerance;
        for (name, value, most) in [
            ("cosine", &mut tolerance.cosine, 1.0),
            ("relative", &mut tolerance.relative, f64::MAX),
            ("absolute", &mut tolerance.absolute, f64::MAX),
            ("differing", &mut tolerance.differing, 1.0),
        ] {
            if let Some(tree) = fields.get(name) {
                *value = self.number_within(tree, &at(name), most).unwrap_or(*value);
            }
        }
        block
    }

    /// Reads a number from 0 to `most`.
    fn number_within(&mut self, tree: &Tree, key: &str, most: f64) -> Option<f64> {
        let number = self.number(tree, key)?;
        if (0.0..=most).contains(&number) {
            return Some(number);
        }
        let range = if most == f64::MAX { "at least 0".to_owned() } else { format!("from 0 to {most}") };
        self.rule(&tree.origin, format!("`{key}` must be {range}, found {number}"));
        None
    }
}
