//! What equal sessions hold together: the sessions of a host are many, and of few kinds.
//!
//! INVARIANT: only what is equal, compared, not only hashed, is one; and nothing is kept
//! that no session holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

#[derive(Debug)]
pub struct Held<T>(Mutex<Table<T>>);

#[derive(Debug)]
struct Table<T> {
    all: HashMap<u64, Weak<T>>,
    /// From so many on it is looked for those that nobody holds any more.
    many: usize,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(Mutex::new(Table { all: HashMap::new(), many: FEW }))
    }
}

impl<T> Held<T> {
    /// The one of this hash that somebody holds and that `is` it, or a new one.
    pub fn one(&self, hash: u64, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Arc<T> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = table.all.get(&hash).and_then(Weak::upgrade);
        if let Some(held) = held.filter(|held| is(held)) {
            return held;
        }
        let made = Arc::new(make());
        table.all.insert(hash, Arc::downgrade(&made));
        if table.all.len() > table.many {
            table.all.retain(|_, held| held.strong_count() > 0);
            table.many = FEW.max(2 * table.all.len());
        }
        made
    }
}

const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_one_for_as_long_as_somebody_holds_it() {
        let held = Held::default();
        let of = |text: &'static str| held.one(7, |known: &&str| *known == text, || text);
        let one = of("a");
        assert!(Arc::ptr_eq(&one, &of("a")));
        let other = of("b");
        assert!(!Arc::ptr_eq(&one, &other) && *other == "b", "an equal hash is no equal thing");
        drop(other);
        assert_eq!(*of("a"), "a");
    }

    #[test]
    fn what_nobody_holds_goes() {
        let held = Held::default();
        let kept: Vec<_> = (0..10).map(|hash| held.one(hash, |_| true, || hash)).collect();
        for hash in 10..10_000 {
            drop(held.one(hash, |_| true, || hash));
        }
        assert!(held.0.lock().unwrap().all.len() <= FEW + 1);
        for one in kept {
            assert!(Arc::ptr_eq(&one, &held.one(*one, |_| true, || 0)));
        }
    }
}
