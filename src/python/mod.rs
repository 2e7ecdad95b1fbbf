//! Python distribution formats as data.
