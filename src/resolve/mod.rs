//! Which packages a recipe needs.
