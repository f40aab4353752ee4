//! Masking: what a client may see of an answer. Cells in, cells out.
//!
//! A column has a [`Class`] by its identity ([`names`], [`catalog`]), carried to
//! the result by the server's description and by [`lineage`]; what has none is
//! judged by its [`content`]. A [`postgres::plan::Plan`] says what is done to
//! each column of a result, a [`postgres::screen::Screen`] does it.
//!
//! INVARIANTS
//! - What is shown has been looked at: only this room makes a [`Screened`].
//! - A masked value is valid for its type, format and length.
//! - What isn't understood is masked or scanned, never waved through.
//! - Records get counts, never values.
//!
//! Never: I/O, a decision on who may see what (`policy`'s), a stored value.

pub mod catalog;
pub mod checks;
pub mod class;
pub mod content;
pub mod corrections;
pub mod filling;
pub mod functions;
pub mod learn;
pub mod lineage;
pub mod marks;
pub mod names;
pub mod postgres;
pub mod style;
pub mod value;
pub mod views;
pub mod written;

pub use catalog::{Catalog, FIRST_OWN};
pub use class::{Class, Tally};
pub use corrections::Corrections;
pub use lineage::Origins;
pub use marks::{Stream, holds_dots};
pub use postgres::plan::{Plan, Reveal, Revealed, Unrevealed};
pub use postgres::screen::{Made, Screen, Screened, Screening, Unshowable};
pub use style::Mask;
pub use value::{Hand, HashKey};
