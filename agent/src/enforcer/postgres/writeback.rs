//! What a client brings back that a mask wrote: in a statement's text, in its values,
//! or in the data of a COPY.
//!
//! The text is looked at once, the values each time. A COPY's data are looked at only
//! where the policies would say otherwise with a mask among them; then the first one
//! ends the COPY at the server, as a client's giving up would.
//!
//! Never: decides what follows from it. That is asked of the policies.

use std::sync::Arc;

use super::carrying::Carrying;
use super::gate::{Granted, Judged, Understood};
use super::judge::{Judge, Named, Passing, is_fetch};
use crate::audit::{self, Connection, Way};
use crate::enforcer::means::Means;
use crate::mask::{Hand, Stream};
use crate::model::Trace;
use crate::policy::{Set, Verdict};
use crate::sql::Effect;
use crate::sql::facts::{Statement, Verb};
use crate::wire::postgres::session::{Refusal, Runs, Session};
use crate::wire::postgres::{Frame, Part, Pass, Splice, WireError};

/// Whether something that a mask wrote comes with a request.
pub fn brings(
    hand: &Hand,
    runs: &Runs<'_, Judged>,
    statement: &Understood,
    session: &Session<Judged>,
) -> Trace {
    let values = match runs {
        Runs::Bind(bind, _) => bind.parameters,
        Runs::FunctionCall(call) => call.arguments,
        // Its Bind brought them.
        Runs::Execute(_, Some(portal)) => return portal.value.permit.carries,
        _ => Default::default(),
    };
    let prepared = Set::executes(&statement.facts)
        .filter(|one| !is_fetch(one))
        .filter_map(|one| session.executed(one.handle.as_deref()?.as_bytes()))
        .map(|found| found.permit.statement.carries);
    let values = values.iter().flatten().map(|value| hand.wrote(value));
    values.chain(prepared).max().unwrap_or_default().max(statement.carries)
}

/// A COPY whose data are looked at.
#[derive(Debug)]
pub struct Watch {
    serial: u64,
    /// What is recorded of its text.
    subject: Option<Arc<audit::Subject>>,
    /// What is decided once there is a mask among them.
    verdict: Verdict,
    hand: Hand,
    stream: Stream,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Looks,
    /// One was found in a message that isn't whole yet.
    Ends,
    Ended,
}

/// What becomes of a message of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Passes,
    IsDropped,
    /// The COPY is to be ended: behind this message, or in its place.
    Ends {
        with_it: bool,
    },
    /// The same, for who is in shadow.
    WouldEnd,
}

impl Judge {
    /// How the data of what is let through are to be looked at, if they are at all.
    pub fn watch(
        &self,
        runs: &Runs<'_, Judged>,
        granted: &Granted,
        serial: u64,
        session: &Session<Judged>,
        means: &Means,
    ) -> Option<Box<Watch>> {
        let Granted { statement, pass, permit, .. } = granted;
        if !matches!(runs, Runs::Query(_) | Runs::Execute(..)) || !statement.writes {
            return None;
        }
        if !statement.facts.running().any(takes_data) {
            return None;
        }
        let lifted = pass.as_ref().map_or(&[][..], |pass| &pass.policies);
        // Where nothing says what a column holds, its data are not looked at.
        let values = granted.values.as_deref();
        let named = Named::of(runs);
        let passing = Passing { lifted, carries: Trace::Likely, values, named };
        let verdict = self.decide(statement, session, means, passing);
        let without = permit.ruling().policies();
        let with = verdict.ruling().policies();
        if with.iter().all(|policy| without.iter().any(|known| known.id == policy.id)) {
            return None;
        }
        Some(Box::new(Watch {
            serial,
            subject: self.recorded_of(statement, means),
            verdict,
            hand: self.hand(means),
            stream: Stream::default(),
            state: State::Looks,
        }))
    }
}

impl Carrying {
    /// What may be data of a COPY goes up, if it may.
    pub fn pass_copied(
        &mut self,
        frame: &Frame<'_>,
        pass: Pass,
        up: &mut Splice,
        log: &Connection,
    ) -> Result<(), WireError> {
        let Self { watch: Some(watch), session, .. } = self else {
            up.pass(pass);
            return Ok(());
        };
        let seen = watch.see(frame);
        if !matches!(seen, Seen::IsDropped | Seen::Ends { with_it: false }) {
            up.pass(pass);
        }
        // Else the server has ended it already, and passes over what still comes.
        let goes_on = session.may_copy(watch.serial);
        match seen {
            Seen::Ends { .. } if goes_on => {
                let refusal = watch.record(session, log);
                let mut made = Vec::new();
                session.end_copy(watch.serial, refusal, &mut made)?;
                up.insert(&made);
            }
            Seen::WouldEnd => {
                if goes_on {
                    watch.record(session, log);
                }
                self.watch = None;
            }
            _ => {}
        }
        Ok(())
    }
}

/// COPY … FROM STDIN
fn takes_data(statement: &Statement) -> bool {
    statement.verb == Verb::Copy
        && statement.effects.contains(Effect::Import)
        && !statement.effects.contains(Effect::UnsafeIo)
}

impl Watch {
    fn see(&mut self, frame: &Frame<'_>) -> Seen {
        if frame.tag != b'd' {
            // Another COPY of the same text may follow this one's end. Flush and Sync stand
            // between data that the server joins.
            if matches!(frame.tag, b'c' | b'f') {
                self.stream = Stream::default();
            }
            return Seen::Passes;
        }
        let ends = matches!(frame.part, Part::Whole | Part::Last);
        match self.state {
            State::Ended => return Seen::IsDropped,
            State::Looks if self.stream.wrote(&self.hand, frame.body()) == Trace::None => {
                return Seen::Passes;
            }
            State::Looks | State::Ends => {}
        }
        if matches!(self.verdict, Verdict::Allow(_)) {
            return Seen::WouldEnd;
        }
        // Nothing may stand within a message; the server forgets its rows all the same.
        self.state = if ends { State::Ended } else { State::Ends };
        match frame.part {
            Part::Whole => Seen::Ends { with_it: false },
            Part::Last => Seen::Ends { with_it: true },
            Part::First | Part::Middle => Seen::Passes,
        }
    }

    /// Puts it into the log, and says what the client reads.
    fn record(&self, session: &Session<Judged>, log: &Connection) -> Refusal {
        let ruling = self.verdict.ruling();
        let (verdict, ending, sqlstate) = match self.verdict {
            Verdict::Allow(_) => (audit::Verdict::WouldRefuse, audit::Ending::Accepted, None),
            Verdict::Refuse(_) | Verdict::Hold(_) => {
                (audit::Verdict::Refused, audit::Ending::Refused, Some(Refusal::SQLSTATE))
            }
        };
        let subject = self.subject.as_deref();
        let entry = audit::Statement {
            grounds: Some(ruling.grounds()),
            in_transaction: session.in_transaction(),
            ..audit::Statement::new(self.serial, Way::Copy, subject, verdict)
        };
        // What can't be recorded is refused all the same.
        let sealed = log.intent(&entry).ok();
        if let Some(sealed) = &sealed {
            log.outcome(sealed, &audit::Outcome { sqlstate, ..audit::Outcome::new(ending) });
        }
        let record = sealed.and_then(|sealed| sealed.record());
        let record = record.map_or_else(|| "none".into(), |record| record.to_string());
        // Rows that stream by can't wait for an approval.
        ruling.words().refusal(record)
    }
}
