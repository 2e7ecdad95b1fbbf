//! A model with what is found out about it, once for all who look at the same model.

use std::ops::Deref;

use super::{Facts, Model, Reads};

/// A model, what is known of its values, and who reads them. Stands for the model wherever that is all that is asked for.
#[derive(Debug)]
pub struct Known<'model> {
    model: &'model Model,
    facts: Facts<'model>,
    reads: Reads<'model>,
}

impl<'model> Known<'model> {
    /// Prepares to find out about a model.
    pub fn of(model: &'model Model) -> Self {
        Self { model, facts: Facts::of(model), reads: Reads::of(model.graph()) }
    }

    /// Returns the model, for as long as it is there.
    pub const fn model(&self) -> &'model Model {
        self.model
    }

    /// Returns what is known of the values of the main graph.
    pub const fn facts(&self) -> &Facts<'model> {
        &self.facts
    }

    /// Returns who reads the values of the main graph.
    pub const fn reads(&self) -> &Reads<'model> {
        &self.reads
    }
}

impl Deref for Known<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        self.model
    }
}
