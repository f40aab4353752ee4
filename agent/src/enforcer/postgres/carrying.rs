//! A session's requests and answers, carried.

use super::{Carriage, Fault, Turn};
use crate::enforcer::postgres::opening::Stage;
use crate::enforcer::relay::{Io, Progress, SCRATCH};
use crate::wire::postgres::session::{ClientStep, ServerStep, SqlEffects};

/// What came of moving one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing to read.
    Idle,
    /// The reader takes no more.
    Blocked,
    /// The budget is spent.
    More,
    /// Its end was reached and all is written.
    Done,
}

/// What one direction may move in one turn.
const BUDGET: usize = 4 * SCRATCH;

impl<I: Io> Carriage<I> {
    pub(super) fn carry(&mut self, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        let down = self.carry_down(turn)?;
        if down == Pumped::Done {
            // The server has ended it: there is nobody to talk to.
            self.client.finish();
            self.upstream.finish();
            self.stage = Stage::Over;
            return Ok(if self.client.flush() { self.over() } else { Progress::Wait });
        }
        let up = self.carry_up(turn)?;
        if down == Pumped::More || up == Pumped::More {
            return Ok(Progress::More);
        }
        Ok(Progress::Wait)
    }

    pub(super) fn carry_down(&mut self, turn: &mut Turn<'_>) -> Result<Pumped, Fault> {
        let Stage::Session(session) = &mut self.stage else { return Ok(Pumped::Done) };
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let mut budget = BUDGET;
        loop {
            if !client.flush() {
                return Ok(Pumped::Blocked);
            }
            let passed = client
                .pass(&mut self.down, &mut upstream.framer, turn.buffers)
                .map_err(Fault::ClientTls)?;
            if !passed {
                return Ok(Pumped::Blocked);
            }
            let mut framed = Ok(());
            while let Some(frame) = upstream.framer.frame()? {
                match session.server(&frame) {
                    Ok(ServerStep::Plain(pass)) => self.down.pass(pass),
                    Ok(ServerStep::Refused(bytes)) => self.down.insert(&bytes),
                    Ok(ServerStep::Ours) => {}
                    Ok(ServerStep::Shows(shown)) => self.down.pass(shown.unchanged(&())),
                    Err(error) => {
                        framed = Err(error);
                        break;
                    }
                }
            }
            session.outcomes();
            if !self.down.is_empty() {
                let passed = client
                    .pass(&mut self.down, &mut upstream.framer, turn.buffers)
                    .map_err(Fault::ClientTls)?;
                framed?;
                if !passed {
                    return Ok(Pumped::Blocked);
                }
            } else {
                framed?;
                upstream.framer.consume_framed();
            }
            if upstream.has_ended() {
                return Ok(Pumped::Done);
            }
            if !upstream.leg.readable {
                upstream.rest(turn.buffers);
                return Ok(Pumped::Idle);
            }
            if budget == 0 {
                return Ok(Pumped::More);
            }
            let read = upstream.read(turn.buffers).map_err(Fault::UpstreamTls)?;
            budget = budget.saturating_sub(read);
        }
    }

    pub(super) fn carry_up(&mut self, turn: &mut Turn<'_>) -> Result<Pumped, Fault> {
        let Stage::Session(session) = &mut self.stage else { return Ok(Pumped::Done) };
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let mut budget = BUDGET;
        loop {
            if !upstream.flush() {
                return Ok(Pumped::Blocked);
            }
            let passed = upstream
                .pass(&mut self.up, &mut client.framer, turn.buffers)
                .map_err(Fault::UpstreamTls)?;
            if !passed {
                return Ok(Pumped::Blocked);
            }
            let mut waits = false;
            let mut framed = Ok(());
            loop {
                if !session.takes_client() {
                    waits = true;
                    break;
                }
                let Some(frame) = client.framer.frame()? else { break };
                let span = frame.span;
                match session.client(&frame) {
                    Ok(ClientStep::Plain(pass)) => self.up.pass(pass),
                    Ok(ClientStep::Wait) => {
                        client.framer.put_back(span);
                        waits = true;
                        break;
                    }
                    Ok(ClientStep::Runs(request)) => {
                        let effects = SqlEffects::unknown();
                        match session.release(request.ticket, (), effects) {
                            Ok(pass) => self.up.pass(pass),
                            Err(error) => {
                                framed = Err(error);
                                break;
                            }
                        }
                    }
                    Err(error) => {
                        framed = Err(error);
                        break;
                    }
                }
            }
            if !self.up.is_empty() {
                let passed = upstream
                    .pass(&mut self.up, &mut client.framer, turn.buffers)
                    .map_err(Fault::UpstreamTls)?;
                framed?;
                if !passed {
                    return Ok(Pumped::Blocked);
                }
            } else {
                framed?;
                client.framer.consume_framed();
            }
            if waits {
                return Ok(Pumped::Blocked);
            }
            if client.has_ended() {
                upstream.finish();
                return Ok(Pumped::Idle);
            }
            if !client.leg.readable {
                client.rest(turn.buffers);
                return Ok(Pumped::Idle);
            }
            if budget == 0 {
                return Ok(Pumped::More);
            }
            let read = client.read(turn.buffers).map_err(Fault::ClientTls)?;
            budget = budget.saturating_sub(read);
        }
    }
}
