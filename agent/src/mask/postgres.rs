//! Masking of what PostgreSQL's protocol shows: rows, COPY, errors, notices.

pub mod cell;
pub mod copy;
mod encoded;
pub mod form;
mod json;
pub mod messages;
mod nested;
pub mod plan;
mod scalar;
pub mod screen;
#[cfg(test)]
mod tests;
mod xml;
