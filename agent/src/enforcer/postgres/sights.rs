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
use crate::policy::vocabulary::Fact;
use crate::policy::{Generation, Role, Stance};

/// Who looks, and the terms in force.
#[derive(Clone, Copy)]
pub struct Viewer<'t> {
    pub judge: &'t Judge,
    pub means: &'t Means,
}

/// Of one session.
#[derive(Debug, Default)]
pub struct Sights {
    kept: Option<Kept>,
    /// How often the policies were asked anew.
    epoch: u64,
}

#[derive(Debug)]
struct Kept {
    generation: Generation,
    since: Instant,
    stance: Stance,
    /// The session's, where a policy asks for it.
    role: Option<Role>,
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
    pub fn open(&mut self, viewer: Viewer<'_>) -> bool {
        self.kept(viewer).open
    }

    /// Changes with what was answered until now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nothing may be seen: so it is by the default policies.
    pub fn reveal_nothing(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.nothing)
    }

    /// What is done to what turns up outside of any column.
    pub fn rules(&mut self, viewer: Viewer<'_>) -> Arc<Rules> {
        Arc::clone(&self.kept(viewer).rules)
    }

    pub fn with<R>(&mut self, viewer: Viewer<'_>, ask: impl FnOnce(&dyn Reveal) -> R) -> R {
        let kept = self.kept(viewer);
        ask(&Asking { viewer, kept })
    }

    fn kept(&mut self, viewer: Viewer<'_>) -> &Kept {
        let Viewer { judge, means } = viewer;
        let generation = means.policies.set.generation();
        let stance = judge.stance(means);
        let role = Some(&judge.target().role).filter(|_| means.policies.set.reads_any(Fact::Role));
        let fits = |kept: &Kept| {
            kept.generation == generation
                && kept.stance == stance
                && kept.role.as_ref() == role
                && kept.since.elapsed() < LASTS
        };
        if !self.kept.as_ref().is_some_and(fits) {
            self.kept = None;
            self.epoch += 1;
        }
        self.kept.get_or_insert_with(|| {
            let scope = judge.scope_of_reveal(means);
            let mut kept = Kept {
                generation,
                since: Instant::now(),
                stance,
                role: role.cloned(),
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
                *mask = Asking { viewer, kept: &kept }.mask(*class, None);
            }
            kept.open = !scope.tells_names && rules.masks.iter().all(|mask| *mask == Mask::Keep);
            kept.rules = Arc::new(rules);
            kept
        })
    }
}

struct Asking<'a> {
    viewer: Viewer<'a>,
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
        let mask = self.viewer.judge.mask(self.viewer.means, class, column.unwrap_or_default());
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
