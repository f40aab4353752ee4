//! The login, between the legs: moves what the login's machine wants moved, and
//! fetches what it asks for.

use std::sync::Arc;

use super::carrying::Carrying;
use super::judge::Judge;
use super::opening::Stage;
use super::screening::Screening;
use super::words::{CONNECTION_FAILURE, Fatal};
use super::{Ask, Carriage, Fault, Question, Sought, Subject, Turn};
use crate::enforcer::catalogs::{Identity, certificate_hash};
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::Judged;
use crate::enforcer::relay::Io;
use crate::enforcer::tls::{Hello, has_postgres_alpn};
use crate::wire::postgres::login::{Chance, Facts, Left, Leg, Login, Over, Sends, Step};
use crate::wire::postgres::scram::{Salted, end_point_hash};
use crate::wire::postgres::session::Authenticating;
use crate::wire::postgres::{Opening, Side as WireSide, WireError};

/// A login that is under way.
#[derive(Debug)]
pub struct LoggingIn {
    login: Login,
    /// It waits for a word, and takes no frame before that.
    waits: bool,
    /// The client runs ahead of its session.
    early: bool,
}

impl LoggingIn {
    /// The client was asked, and hasn't answered.
    pub fn awaits_client(&self) -> bool {
        !self.waits && self.login.awaits_client()
    }
}

impl<I: Io> Carriage<I> {
    pub(super) fn begin_login(
        &mut self,
        machine: Authenticating,
        packet: &[u8],
        means: &Means,
    ) -> Result<(), Fault> {
        let limits = &means.shared.common.limits;
        let opening = Opening::decode(packet.get(4..).unwrap_or_default(), limits)
            .map_err(|fault| WireError::new(WireSide::Client, fault))?;
        let Opening::Startup(startup) = opening else { return Ok(()) };
        let server = match self.upstream.tls.as_ref() {
            None => Leg::Plain,
            Some(tls) => Leg::Tls(
                tls.peer_chain().and_then(<[_]>::first).and_then(|der| end_point_hash(der)),
            ),
        };
        let client = match self.client.tls {
            None => Leg::Plain,
            Some(_) => Leg::Tls(self.end_point.clone()),
        };
        let facts =
            Facts { client, server, clear_at_once: means.shared.askings.are_at_once(&self.flow) };
        let destination = Arc::clone(&self.destination);
        let terms = &destination.terms.auth;
        let given = destination.login(&self.flow);
        let role = given.map(|given| given.role.clone()).or_else(|| self.carried.role.clone());
        self.admit(&role.unwrap_or_default(), means)?;
        let chance = Chance::draw().ok_or_else(|| {
            Fault::fatal(Fatal::new(CONNECTION_FAILURE, "tidegate has no randomness for a login"))
        })?;
        let mut sends = Sends::default();
        let login = Login::begin(machine, &startup, facts, terms, given, chance, &mut sends)?;
        self.stage = Stage::Login(Box::new(LoggingIn { login, waits: false, early: false }));
        self.send(&mut sends)
    }

    pub(super) fn login(
        &mut self,
        mut under_way: Box<LoggingIn>,
        turn: &mut Turn<'_>,
    ) -> Result<bool, Fault> {
        let mut moved = false;
        let mut sends = Sends::default();
        while !under_way.waits {
            let LoggingIn { login, early, .. } = &mut *under_way;
            let step = if let Some(frame) = self.upstream.framer.frame()? {
                let (tag, span) = (frame.tag, frame.span);
                let step = login.server::<Judged>(&frame, &mut sends);
                if tag == b'R' {
                    self.upstream.framer.wipe(span);
                }
                step
            } else if *early || !login.awaits_client() {
                break;
            } else if let Some(frame) = self.client.framer.frame()? {
                let span = frame.span;
                let step = login.client::<Judged>(&frame, &mut sends);
                // Its bytes are lent to others next.
                match step {
                    Ok(Step::Early) => self.client.framer.put_back(span),
                    _ => self.client.framer.wipe(span),
                }
                step
            } else {
                break;
            };
            moved = true;
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    // What was to be said before stays said.
                    self.stage = Stage::Login(under_way);
                    self.send(&mut sends)?;
                    return Err(error.into());
                }
            };
            if self.step_login(step, &mut under_way, &mut sends, turn)? {
                return Ok(true);
            }
        }
        self.upstream.framer.consume_framed();
        self.client.framer.consume_framed();
        self.stage = Stage::Login(under_way);
        self.send(&mut sends)?;
        Ok(moved)
    }

    /// Which database the session is in, as far as is known before it says more.
    fn database(&self) -> Identity {
        let chain = self.upstream.tls.as_ref().and_then(|tls| tls.peer_chain());
        Identity {
            destination: self.destination.terms.name.as_str().into(),
            certificate: certificate_hash(chain),
            system: Box::default(),
            database: self.carried.database.as_deref().unwrap_or_default().into(),
        }
    }

    /// What a step asks for. `true`: the login is over.
    fn step_login(
        &mut self,
        step: Step<Judged>,
        under_way: &mut LoggingIn,
        sends: &mut Sends,
        turn: &mut Turn<'_>,
    ) -> Result<bool, Fault> {
        match step {
            Step::Going => {}
            Step::Early => under_way.early = true,
            Step::Verifier { role, again } => {
                under_way.waits = true;
                let sought = Sought::Verifier(role);
                turn.asks.push(Ask::Errand(Box::new(self.question(sought, again))));
            }
            Step::Derive(derivation) => {
                under_way.waits = true;
                turn.asks.push(Ask::Derive(derivation));
            }
            Step::Ready(session) => {
                self.note_login(under_way);
                self.upstream.framer.consume_framed();
                self.client.framer.consume_framed();
                let _ = self.log.session(&self.carried);
                self.told = true;
                let judge = Judge::new(
                    &self.flow,
                    &self.destination,
                    &self.carried,
                    &self.given,
                    &turn.means.shared.seats,
                );
                let screening = Screening::new(self.database(), turn.means);
                let account = self.destination.terms.catalog.as_ref().map(|_| {
                    let database = self.carried.database.as_deref().unwrap_or_default();
                    Box::new(self.question(Sought::Catalog(database.into()), false))
                });
                if let Some(key) = session.key() {
                    let question = self.question(Sought::Cancel(key.clone()), true);
                    turn.asks.push(Ask::List(Box::new(question)));
                }
                let carrying = Carrying::new(*session, judge, screening, account);
                self.stage = Stage::Session(Box::new(carrying));
                self.send(sends)?;
                return Ok(true);
            }
            Step::Over(over) => {
                self.note_login(under_way);
                self.upstream.framer.consume_framed();
                self.client.framer.consume_framed();
                match &over {
                    Over::Client => {}
                    Over::Server(sqlstate) => {
                        self.carried.refused_login = Some(sqlstate.to_string());
                    }
                    Over::Denied(denial) => {
                        self.carried.refused_login = Some(denial.sqlstate().into());
                        let role = self.carried.role.as_deref().unwrap_or_default();
                        self.carried.fault = Some(denial.message(role));
                    }
                }
                let _ = self.log.session(&self.carried);
                self.told = true;
                self.stage = Stage::Ending;
                self.send(sends)?;
                if !matches!(over, Over::Server(_)) {
                    self.upstream.finish();
                }
                if matches!(over, Over::Denied(_)) {
                    self.client.finish();
                    self.stage = Stage::Over;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The password is hashed.
    pub(super) fn take_derived(
        &mut self,
        salted: Option<Salted>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        let Some(mut under_way) = self.resumed() else { return Ok(()) };
        let Some(salted) = salted else {
            self.stage = Stage::Login(under_way);
            return Err(Fault::fatal(
                Fatal::new("53300", "tidegate has too many logins to do at the moment")
                    .hint("try again"),
            ));
        };
        let mut sends = Sends::default();
        let step = under_way.login.derived::<Judged>(&salted, &mut sends)?;
        self.resume(step, under_way, sends, turn)
    }

    /// The server was asked for a verifier.
    pub(super) fn take_verifier(
        &mut self,
        found: Option<&[u8]>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        let Some(mut under_way) = self.resumed() else { return Ok(()) };
        let mut sends = Sends::default();
        let step = under_way.login.verifier::<Judged>(found, &mut sends)?;
        self.resume(step, under_way, sends, turn)
    }

    /// The login that waited for a word, if there still is one.
    fn resumed(&mut self) -> Option<Box<LoggingIn>> {
        match std::mem::replace(&mut self.stage, Stage::Moving) {
            Stage::Login(mut under_way) if under_way.waits => {
                under_way.waits = false;
                Some(under_way)
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    fn resume(
        &mut self,
        step: Step<Judged>,
        mut under_way: Box<LoggingIn>,
        mut sends: Sends,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        if !self.step_login(step, &mut under_way, &mut sends, turn)? {
            self.stage = Stage::Login(under_way);
            self.send(&mut sends)?;
        }
        Ok(())
    }

    /// What is wanted of the server.
    fn question(&self, sought: Sought, again: bool) -> Question {
        let tls = self.upstream.tls.as_deref();
        let subject = Subject {
            rule: self.flow.rule.clone(),
            address: self.flow.destination.0,
            tls: tls.is_some() || self.destination.terms.tls.upstream_always,
            hello: Hello {
                name: self.carried.asked_name.clone(),
                postgres: tls.is_some_and(|tls| has_postgres_alpn(tls.common())),
                others: Vec::new(),
            },
            sought,
        };
        Question { subject, destination: Arc::clone(&self.destination), again }
    }

    /// The client has gone: because of what it was asked?
    pub(super) fn note_leaving(&mut self, means: &Means) {
        let Stage::Login(under_way) = &self.stage else { return };
        let askings = &means.shared.askings;
        match under_way.login.left() {
            Some(Left::Switched) => askings.left_when_asked(&self.flow),
            Some(Left::AtOnce) => askings.left_at_once(&self.flow),
            None => {}
        }
    }

    fn note_login(&mut self, under_way: &LoggingIn) {
        let account = under_way.login.account();
        let verifier = if account.broken { "; its verifier can't be read" } else { "" };
        self.carried.auth = Some(format!(
            "{} ({}): client {}, server {}{verifier}",
            account.way, account.why, account.client, account.server
        ));
        self.carried.role = Some(
            String::from_utf8_lossy(&account.role)
                .chars()
                .filter(|sign| !sign.is_control())
                .collect(),
        );
    }

    fn send(&mut self, sends: &mut Sends) -> Result<(), Fault> {
        let upstream = self.say_upstream(&sends.server);
        let client = self.say_client(&sends.client);
        sends.clear();
        upstream.and(client)
    }
}

#[cfg(test)]
mod tests;
