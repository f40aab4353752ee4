//! What the catalog adds to what is recorded of a text, for the texts that a session
//! sends again: asked once, until the catalog is another.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::audit::Subject;

/// INVARIANT: of one catalog. Who comes to know another forgets these.
#[derive(Debug, Default)]
pub(super) struct Knowing(VecDeque<(Arc<Subject>, Option<Arc<Subject>>)>);

impl Knowing {
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// `ask`: the same as the catalog knows it; `None`: it knows no more.
    pub fn of<'k>(
        &'k mut self,
        subject: &'k Arc<Subject>,
        ask: impl FnOnce() -> Option<Arc<Subject>>,
    ) -> &'k Subject {
        let place = match self.0.iter().position(|(one, _)| Arc::ptr_eq(one, subject)) {
            Some(place) => place,
            None => {
                if self.0.len() >= MOST {
                    self.0.pop_front();
                }
                self.0.push_back((Arc::clone(subject), ask()));
                self.0.len() - 1
            }
        };
        self.0.get(place).and_then(|(_, known)| known.as_ref()).unwrap_or(subject)
    }
}

/// What an application prepares is often fewer.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Log;
    use crate::sql::Strings;

    #[test]
    fn a_text_is_asked_about_once_until_it_is_forgotten_or_others_took_its_place() {
        let subject = |sql: &str| Arc::new(Log::off().subject(sql, Strings::Standard, None));
        let (one, better) = (subject("SELECT 1"), subject("SELECT 2"));
        let mut knowing = Knowing::default();
        assert_eq!(*knowing.of(&one, || Some(Arc::clone(&better))), *better);
        assert_eq!(*knowing.of(&one, || panic!("asked again")), *better);
        knowing.forget();
        assert_eq!(*knowing.of(&one, || None), *one);
        assert_eq!(*knowing.of(&one, || panic!("asked again")), *one);
        let others: Vec<_> = (0..MOST).map(|number| subject(&format!("SELECT {number}"))).collect();
        for other in &others {
            knowing.of(other, || None);
        }
        assert_eq!(*knowing.of(&one, || Some(Arc::clone(&better))), *better);
        assert_eq!(knowing.0.len(), MOST);
    }
}
