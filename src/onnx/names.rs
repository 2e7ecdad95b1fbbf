//! Collections by the names of values, which are hashed more than anything else here.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// What belongs to names.
pub(super) type ByName<'names, T> = HashMap<&'names str, T, RandomState>;

/// Some names.
pub(super) type Names<'names> = HashSet<&'names str, RandomState>;
