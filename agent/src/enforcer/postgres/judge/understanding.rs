//! What a request would run: its text's facts, or those of what was prepared.

use std::sync::Arc;

use super::Judge;
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::{Judged, Understood};
use crate::enforcer::postgres::numbered::large_object;
use crate::sql::{Cell, Encoding, LexingState};
use crate::wire::postgres::session::Runs;

impl Judge {
    /// `None`: the text is too long to be read here. `read`: what it was understood as
    /// elsewhere.
    pub(super) fn statement(
        &self,
        runs: &Runs<'_, Judged>,
        means: &Means,
        read: Option<Arc<Understood>>,
    ) -> Option<Arc<Understood>> {
        Some(match runs {
            Runs::Query(text) => self.understand(text, means, read)?,
            Runs::Parse(parse) => {
                let understood = self.understand(parse.query, means, read)?;
                // What is bound is read by the types that are told here.
                let types = parse.types.iter().filter_map(|oid| self.catalog.running(oid));
                let types: Vec<(&str, &str)> = types.collect();
                match types.is_empty() {
                    true => understood,
                    false => Arc::new(understood.with_types(&types, &means.shared.alike)),
                }
            }
            Runs::Bind(_, known) => match known {
                Some(known) if known.certain => Arc::clone(&known.value.permit.statement),
                _ => unknown("which statement is bound can't be told"),
            },
            Runs::Execute(_, known) => match known {
                Some(known) if known.certain && known.value.certain => {
                    Arc::clone(&known.value.permit.statement)
                }
                _ => unknown("which portal is executed can't be told"),
            },
            Runs::FunctionCall(call) => match large_object(call.function) {
                Some(text) => self.understand(text, means, None)?,
                None => unknown("a function is called by its number"),
            },
        })
    }

    fn understand(
        &self,
        text: &[u8],
        means: &Means,
        read: Option<Arc<Understood>>,
    ) -> Option<Arc<Understood>> {
        let uncertain;
        let reading = if self.unsaid.anything() {
            uncertain = self.reading();
            &uncertain
        } else {
            &self.reading
        };
        let cache = &means.shared.texts;
        let understood = match read {
            Some(read) => read,
            None => {
                let kept = means.shared.log.text_kept();
                let current = |known: &Arc<Understood>| known.is_kept_as(kept);
                if let Some(known) = cache.get(text, reading).filter(current) {
                    return Some(known);
                }
                let facts = Cell::quick(text, reading)?;
                let known = means.shared.known();
                Arc::new(Understood::new(text, reading, facts, known, &means.marks))
            }
        };
        cache.put(text, reading, &understood);
        Some(understood)
    }

    /// How the text is to be read by whoever reads it elsewhere.
    pub fn reading(&self) -> LexingState {
        let mut reading = self.reading.clone();
        self.unsaid.put_into(&mut reading);
        reading
    }

    /// Whether the client reads UTF-8.
    pub fn is_unicode(&self) -> bool {
        self.reading.encoding == Encoding::Utf8
    }
}

fn unknown(why: &str) -> Arc<Understood> {
    Arc::new(Understood::unknown(why))
}
