//! What is put into the log of a request, before anything comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Judge, Judgement};
use crate::audit::{self, Connection, LogError, Way};
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::{Intent, Judged, Recorded, Understood};
use crate::enforcer::postgres::holding::Told;
use crate::enforcer::postgres::parameters;
use crate::policy::Verdict;
use crate::wire::postgres::session::{Runs, Session};

/// What a record is made of.
#[derive(Clone, Copy)]
pub(super) struct Request<'r, 'f> {
    pub runs: &'r Runs<'f, Judged>,
    pub serial: u64,
    pub statement: &'r Understood,
    pub session: &'r Session<Judged>,
    pub means: &'r Means,
    pub log: &'r Connection,
}

impl Judge {
    /// It doesn't run, whatever its verdict. `judgement`: of the record's name.
    pub(super) fn refuse(
        &mut self,
        request: &Request<'_, '_>,
        verdict: &Verdict,
        told: Told<'_>,
        judgement: impl FnOnce(String) -> Judgement,
    ) -> Judgement {
        match self.record(request, verdict, Some(told)) {
            Ok(intent) => {
                self.turn_away(request.serial, &intent);
                judgement(number(&intent))
            }
            Err(error) => Judgement::Unrecorded(error),
        }
    }

    /// Its end is to be told too, though nobody answers for it.
    pub(super) fn turn_away(&mut self, serial: u64, intent: &Intent) {
        if let Intent::Recorded(intent) = intent {
            self.turned_away.push_back((serial, Arc::clone(intent)));
        }
    }

    /// Puts the request into the log, before anything comes of it.
    pub(super) fn record(
        &mut self,
        request: &Request<'_, '_>,
        verdict: &Verdict,
        told: Option<Told<'_>>,
    ) -> Result<Intent, LogError> {
        let Request { runs, serial, statement, session, means, log } = *request;
        let (way, portal) = match runs {
            Runs::Query(_) => (Way::Query, None),
            Runs::Parse(_) => (Way::Parse, None),
            Runs::Bind(..) => (Way::Bind, None),
            Runs::Execute(_, portal) => (Way::Execute, portal.as_ref()),
            Runs::FunctionCall(_) => (Way::FunctionCall, None),
        };
        let refused = told.is_some_and(|told| told.verdict != audit::Verdict::Approved);
        let allowed = matches!(verdict, Verdict::Allow(_)) && !refused;
        if allowed && way == Way::Parse {
            return Ok(Intent::Prepares);
        }
        // The first Execute of a portal is what its Bind was recorded for.
        if let Some(Intent::Recorded(of_bind)) = portal.map(|known| &known.value.permit.intent)
            && allowed
            && !of_bind.used.swap(true, Ordering::Relaxed)
        {
            return Ok(Intent::Recorded(Arc::clone(of_bind)));
        }
        let decided = match verdict {
            Verdict::Allow(permit) => match permit.would() {
                None => audit::Verdict::Allowed,
                Some("would_hold") => audit::Verdict::WouldHold,
                Some(_) => audit::Verdict::WouldRefuse,
            },
            Verdict::Refuse(_) => audit::Verdict::Refused,
            Verdict::Hold(_) => audit::Verdict::Held,
        };
        let decided = told.map_or(decided, |told| told.verdict);
        let Self { knowing, catalog, .. } = self;
        let ask = |subject| means.shared.subjects.knowing(subject, &statement.facts, catalog);
        let known = statement.subject.as_ref();
        let subject = known.map(|subject| knowing.of(subject, || ask(subject)));
        let parameters = bound(runs, subject.is_some_and(|subject| subject.keeps_values()));
        let entry = audit::Statement {
            hold: told.and_then(|told| told.hold),
            approver: told.and_then(|told| told.approver),
            grounds: Some(verdict.ruling().grounds()),
            parameters: &parameters,
            in_transaction: session.in_transaction(),
            ..audit::Statement::new(serial, way, subject, decided)
        };
        let sealed = log.intent(&entry)?;
        let used = AtomicBool::new(way != Way::Bind);
        Ok(Intent::Recorded(Arc::new(Recorded { sealed, at: Instant::now(), used })))
    }

    /// What is recorded of a text, as it is known here.
    pub fn recorded_of(
        &self,
        statement: &Understood,
        means: &Means,
    ) -> Option<Arc<audit::Subject>> {
        let subject = statement.subject.as_ref()?;
        let known = means.shared.subjects.knowing(subject, &statement.facts, &self.catalog);
        Some(known.unwrap_or_else(|| Arc::clone(subject)))
    }

    /// The record of a request that was refused. They are asked for in order.
    pub fn turned_away(&mut self, serial: u64) -> Option<Arc<Recorded>> {
        while self.turned_away.front().is_some_and(|(earlier, _)| *earlier < serial) {
            self.turned_away.pop_front();
        }
        let (found, recorded) = self.turned_away.front()?;
        (*found == serial).then(|| Arc::clone(recorded))
    }
}

/// What is bound to a statement, or given to a function.
fn bound<'f>(runs: &Runs<'f, Judged>, kept: bool) -> Vec<audit::Parameter<'f>> {
    match runs {
        Runs::Bind(bind, known) => {
            let types = known.as_ref().map_or(&[][..], |known| known.value.parameters());
            parameters::told(bind.parameters, bind.formats, types, kept)
        }
        Runs::FunctionCall(call) => parameters::told(call.arguments, call.formats, &[], kept),
        _ => Vec::new(),
    }
}

/// The record's name, for who reads the refusal.
pub(super) fn number(intent: &Intent) -> String {
    match intent {
        Intent::Recorded(recorded) => {
            recorded.sealed.record().map_or_else(|| "none".into(), |record| record.to_string())
        }
        Intent::Prepares => "none".into(),
    }
}
