//! What takes minutes by the product's own clock: they pass for all at once.

#[path = "by_the_clock/keep.rs"]
mod keep;
#[path = "by_the_clock/patience.rs"]
mod patience;
