//! What an actor may see in the clear, by the policies: asked once, and kept for
//! a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::judge::Judge;
use crate::enforcer::means::Means;
use crate::mask::postgres::cell::Rules;
use crate::mask::postgres::plan::ColumnName;
use crate::mask::{Class, Mask, Reveal};
use crate::policy::{Generation, Stance};

/// Of one session.
#[derive(Debug, Default)]
pub struct Sights {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    generation: Generation,
    since: Instant,
    stance: Stance,
    /// No policy speaks of it: nothing may be seen.
    nothing: bool,
    /// Everything may be.
    open: bool,
    answers: RefCell<Answers>,
    rules: Arc<Rules>,
}

type Answers = HashMap<(Class, Option<[Box<str>; 3]>), Mask>;

impl Sights {
    /// Whether this actor may see everything.
    pub fn open(&mut self, judge: &Judge, means: &Means) -> bool {
        self.kept(judge, means).open
    }

    /// Whether nothing may be seen: so it is by the default policies.
    pub fn reveal_nothing(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.nothing)
    }

    /// What is done to what turns up outside of any column.
    pub fn rules(&mut self, judge: &Judge, means: &Means) -> Arc<Rules> {
        Arc::clone(&self.kept(judge, means).rules)
    }

    pub fn with<R>(
        &mut self,
        judge: &Judge,
        means: &Means,
        ask: impl FnOnce(&dyn Reveal) -> R,
    ) -> R {
        let kept = self.kept(judge, means);
        ask(&Asking { judge, means, kept })
    }

    fn kept(&mut self, judge: &Judge, means: &Means) -> &Kept {
        let generation = means.policies.set.generation();
        let stance = judge.stance(means);
        let fits = |kept: &Kept| {
            kept.generation == generation && kept.stance == stance && kept.since.elapsed() < LASTS
        };
        if !self.kept.as_ref().is_some_and(fits) {
            self.kept = None;
        }
        self.kept.get_or_insert_with(|| {
            let scope = judge.scope_of_reveal(means);
            let mut kept = Kept {
                generation,
                since: Instant::now(),
                stance,
                nothing: scope.nothing,
                open: false,
                answers: RefCell::default(),
                rules: Arc::default(),
            };
            if scope.nothing {
                return kept;
            }
            let mut rules = Rules::default();
            for (mask, class) in rules.masks.iter_mut().zip(Class::ALL) {
                *mask = Asking { judge, means, kept: &kept }.mask(*class, None);
            }
            kept.open = !scope.tells_names && rules.masks.iter().all(|mask| *mask == Mask::Keep);
            kept.rules = Arc::new(rules);
            kept
        })
    }
}

struct Asking<'a> {
    judge: &'a Judge,
    means: &'a Means,
    kept: &'a Kept,
}

impl Reveal for Asking<'_> {
    fn mask(&self, class: Class, column: Option<ColumnName<'_>>) -> Mask {
        if self.kept.nothing {
            return class.default_mask();
        }
        let names = column.map(|name| [name.schema, name.table, name.column].map(Box::from));
        let key = (class, names);
        if let Some(mask) = self.kept.answers.borrow().get(&key) {
            return *mask;
        }
        let mask = self.judge.mask(self.means, class, column.unwrap_or_default());
        let mut answers = self.kept.answers.borrow_mut();
        if answers.len() < MOST {
            answers.insert(key, mask);
        }
        mask
    }
}

/// Policies can tell one hour from another.
const LASTS: Duration = Duration::from_secs(60);
/// Columns that are remembered.
const MOST: usize = 4_096;
