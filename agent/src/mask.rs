//! Masking: what a client may see of an answer.
mod checks;
pub mod class;
pub mod content;
pub mod names;
pub mod style;
