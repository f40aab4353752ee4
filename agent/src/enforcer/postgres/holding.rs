//! A statement that waits for an approval: what is asked, and what its client reads
//! meanwhile and afterwards.
//!
//! It waits where somebody is looking: on a terminal, with nothing under way at the
//! server that would keep locks. Its frame stays in the client's buffer and nothing
//! more is read, so that the client's end, a cancel and an answer all find it there.
//!
//! Never: lets a statement pass. What the keeper says is a list of policies to be
//! lifted; the policies that hold by then decide.

use std::sync::Arc;
use std::time::Duration;

use super::judge::{Judge, Judgement};
use super::{Ask, Carriage};
use crate::audit;
use crate::enforcer::postgres::carrying::Carrying;
use crate::enforcer::postgres::gate::{Judged, Understood};
use crate::enforcer::postgres::opening::Stage;
use crate::enforcer::relay::Io;
use crate::model::{
    HoldAnswer, HoldAsked, HoldEnd, HoldId, HoldLiteral, HoldParameter, HoldPass, MOST_ASKED,
    Timestamp, Withdrawal,
};
use crate::policy::{Ruling, Set, Verdict, Words};
use crate::sql::{Encoding, Lexer, LexingState, Strings, TokenKind};
use crate::wire::postgres::session::{CancelKey, Runs, Session};
use crate::wire::postgres::{Bind, Field, write_notice};

/// What is asked of the keeper.
#[derive(Debug)]
pub struct Asking {
    pub asked: HoldAsked,
    pub waits: bool,
    /// How long the session lets a statement take, where it says so.
    pub patience: Option<Duration>,
    /// By which the client may cancel it.
    pub cancel: Option<CancelKey>,
}

/// What it is told.
#[derive(Debug)]
pub enum HoldWord {
    Answer(HoldAnswer),
    End(HoldEnd),
    /// Nobody waits for it any more.
    Gone(Withdrawal),
}

/// How far the hold of a statement is.
#[derive(Clone, Debug)]
pub struct Holding {
    pub ruling: Arc<Ruling>,
    pub state: State,
    /// When its own session has had enough.
    until: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub enum State {
    Asked,
    Waits(HoldId),
    Passes(Arc<HoldPass>),
    Refused(Refused),
}

/// Why it doesn't pass.
#[derive(Clone, Debug)]
pub struct Refused {
    /// `None`: there is no such hold.
    pub id: Option<HoldId>,
    pub why: Why,
}

#[derive(Clone, Debug)]
pub enum Why {
    /// It passes when it comes again, once it is approved.
    Noted {
        until: Timestamp,
    },
    Denied {
        by: String,
        reason: String,
    },
    Expired,
    Gone(Withdrawal),
    Full(String),
}

impl Holding {
    pub fn asked(ruling: Arc<Ruling>, patience: Option<Duration>) -> Self {
        let until = patience.map(|patience| {
            let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
            Timestamp(Timestamp::now().0.saturating_add(patience))
        });
        Self { ruling, state: State::Asked, until }
    }

    pub fn waits(&self) -> bool {
        matches!(self.state, State::Asked | State::Waits(_))
    }

    pub fn passes(&self) -> Option<&Arc<HoldPass>> {
        match &self.state {
            State::Passes(pass) => Some(pass),
            _ => None,
        }
    }

    pub fn refused(&self) -> Option<&Refused> {
        match &self.state {
            State::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    fn refuse(&mut self, why: Why) {
        let id = match &self.state {
            State::Waits(id) => Some(id.clone()),
            _ => None,
        };
        self.state = State::Refused(Refused { id, why });
    }

    fn take(&mut self, word: HoldWord) {
        if !self.waits() {
            return;
        }
        match word {
            HoldWord::Answer(HoldAnswer::Passes(pass)) | HoldWord::End(HoldEnd::Approved(pass)) => {
                self.state = State::Passes(Arc::new(pass))
            }
            HoldWord::Answer(HoldAnswer::Waits { id, .. }) => self.state = State::Waits(id),
            HoldWord::Answer(HoldAnswer::Noted { id, until }) => {
                let id = Some(id);
                self.state = State::Refused(Refused { id, why: Why::Noted { until } });
            }
            HoldWord::Answer(HoldAnswer::Full { why }) => self.refuse(Why::Full(why)),
            HoldWord::End(HoldEnd::Denied { by, reason }) => {
                self.refuse(Why::Denied { by, reason });
            }
            HoldWord::End(HoldEnd::Expired) => self.refuse(Why::Expired),
            HoldWord::Gone(why) => self.refuse(Why::Gone(why)),
        }
    }

    /// What the client reads when its statement doesn't run.
    pub fn words(&self, refused: &Refused) -> Words {
        let Refused { id, why } = refused;
        let named = id.as_ref().map(|id| format!("hold {id}")).unwrap_or_default();
        let who = self.ruling.approvers().unwrap_or_default().join(" and ");
        let worded = |outcome: &str, hint: Option<String>| {
            let words = self.ruling.worded(outcome);
            Words { hint: hint.or(words.hint), ..words }
        };
        match why {
            Why::Noted { until } => {
                let advice = self.ruling.worded("").hint.map(|it| format!("; or {it}"));
                worded(
                    &format!("needs an approval ({named})"),
                    Some(format!(
                        "the same statement passes once {named} is approved by {who} (until {}): \
                         `tidegate approvals approve {} --reason …` on this host{}",
                        moment(*until),
                        id.as_ref().map_or("", |id| &id.0),
                        advice.unwrap_or_default()
                    )),
                )
            }
            Why::Denied { by, reason } => {
                worded("is denied", Some(format!("{by} has denied {named}: {reason}")))
            }
            Why::Expired => worded(
                "needs an approval, and nobody has given it in time",
                Some(format!("{named} waited for {who}: ask one of them, and run it again")),
            ),
            Why::Gone(Withdrawal::Cancelled) => Words {
                message: "canceling statement due to user request".into(),
                detail: Some(format!("it waited for an approval ({named}), and did not run")),
                hint: None,
            },
            Why::Gone(Withdrawal::TimedOut) => Words {
                message: "canceling statement due to statement timeout".into(),
                detail: Some(format!("it waited for an approval ({named}), and did not run")),
                hint: Some("set statement_timeout to as long as an approval may take".into()),
            },
            Why::Gone(why) => {
                worded("needs an approval", Some(format!("{}: run it again", why.word())))
            }
            Why::Full(why) => {
                worded("needs an approval", Some(format!("and it can't be held: {why}")))
            }
        }
    }

    /// What comes of one that doesn't pass. `record`: its name.
    pub fn judgement(&self, refused: &Refused, record: String) -> Judgement {
        let refusal = self.words(refused).refusal(record);
        match refused.why {
            Why::Gone(Withdrawal::Cancelled | Withdrawal::TimedOut) => Judgement::Cancel(refusal),
            _ => Judgement::Refuse(refusal),
        }
    }

    /// What the client is told at once.
    fn notice(&self, id: &HoldId, until: Timestamp, unicode: bool) -> Vec<u8> {
        let words = self.ruling.worded(&format!("waits for an approval (hold {id})"));
        let who = self.ruling.approvers().unwrap_or_default().join(" and ");
        let hint = format!(
            "{who} can approve it on this host until {}: `tidegate approvals approve {id} --reason \
             …`; a cancel (Ctrl-C) withdraws it",
            moment(until)
        );
        let plain = |text: String| {
            if unicode { text } else { text.replace(|sign: char| !sign.is_ascii(), "?") }
        };
        let fields = [
            Some((Field::SEVERITY, "NOTICE".to_owned())),
            Some((Field::PLAIN_SEVERITY, "NOTICE".to_owned())),
            Some((Field::SQLSTATE, "00000".to_owned())),
            Some((Field::MESSAGE, plain(words.message))),
            words.detail.map(|detail| (Field::DETAIL, plain(detail))),
            Some((Field::HINT, plain(hint))),
        ];
        let fields: Vec<(u8, String)> = fields.into_iter().flatten().collect();
        let mut out = Vec::new();
        let fields = fields.iter().map(|(code, text)| Field { code: *code, text: text.as_bytes() });
        // Only a text of more than a gigabyte can't be written.
        let _ = write_notice(fields, &mut out);
        out
    }
}

/// What was approved of a Bind before it came.
#[derive(Debug)]
pub struct Promise {
    pub asked: HoldAsked,
    pub pass: Arc<HoldPass>,
}

/// What the record of a statement says of its hold.
#[derive(Clone, Copy)]
pub struct Told<'t> {
    pub verdict: audit::Verdict,
    pub hold: Option<&'t str>,
    pub approver: Option<&'t str>,
}

impl<'t> Told<'t> {
    /// By what no approval lifts.
    pub fn refused() -> Self {
        Self { verdict: audit::Verdict::Refused, hold: None, approver: None }
    }

    pub fn of(pass: &'t HoldPass) -> Self {
        Self { verdict: audit::Verdict::Approved, hold: Some(&pass.id.0), approver: Some(&pass.by) }
    }
}

impl Refused {
    pub fn told(&self) -> Told<'_> {
        let verdict = match self.why {
            Why::Noted { .. } => audit::Verdict::Held,
            _ => audit::Verdict::Refused,
        };
        let hold = self.id.as_ref().map(|id| &*id.0);
        Told { verdict, hold, approver: None }
    }
}

/// The approval of the Bind that made the portal: it was for that execution.
pub fn of_portal<'r>(runs: &'r Runs<'_, Judged>) -> Option<&'r Arc<HoldPass>> {
    match runs {
        Runs::Execute(_, Some(known)) if known.certain && known.value.certain => {
            known.value.permit.pass.as_ref()
        }
        _ => None,
    }
}

impl<I: Io> Carriage<I> {
    /// What became of the statement that is held.
    pub(super) fn take_hold(&mut self, word: HoldWord, asks: &mut Vec<Ask>) {
        let Stage::Session(carrying) = &mut self.stage else { return };
        let unicode = carrying.judge.is_unicode();
        let Some(holding) = carrying.holding_mut() else { return };
        if !holding.waits() {
            return;
        }
        if let HoldWord::Gone(why @ (Withdrawal::Cancelled | Withdrawal::TimedOut)) = &word {
            asks.push(Ask::Withdraw(*why));
        }
        let waits = match &word {
            HoldWord::Answer(HoldAnswer::Waits { id, until }) => {
                let until = holding.until.map_or(*until, |own| own.min(*until));
                Some((id.clone(), until))
            }
            _ => None,
        };
        holding.take(word);
        if let Some((id, until)) = waits {
            // Between frames: nothing is under way at the server.
            self.down.insert(&holding.notice(&id, until, unicode));
            self.client.leg.io.keep_alive();
            self.upstream.leg.io.keep_alive();
        }
    }
}

impl Carrying {
    /// The client has gone: nobody waits. True: something was held.
    pub(super) fn give_up(&mut self, asks: &mut Vec<Ask>) -> bool {
        let Some(holding) = self.holding_mut().filter(|holding| holding.waits()) else {
            return false;
        };
        holding.refuse(Why::Gone(Withdrawal::Disconnected));
        asks.push(Ask::Withdraw(Withdrawal::Disconnected));
        true
    }
}

impl Judge {
    /// What an approver is shown of a request, and what his word will be for; or why
    /// it can't be. `values`: of a Parse, the Bind behind it.
    pub(super) fn asking(
        &self,
        runs: &Runs<'_, Judged>,
        statement: &Understood,
        verdict: &Verdict,
        session: &Session<Judged>,
        values: Option<Bind<'_>>,
    ) -> Result<Asking, &'static str> {
        let asked = self.asked(runs, statement, verdict.ruling(), values)?;
        if asked.weight() > MOST_ASKED {
            return Err(TOO_LONG);
        }
        let waits =
            self.has_terminal() && matches!(verdict, Verdict::Hold(_)) && session.is_quiet();
        let patience = self.patience().flatten();
        Ok(Asking { asked, waits, patience, cancel: session.key().cloned() })
    }

    /// A Parse passes whose Bind was approved with it.
    pub(super) fn promise(
        &self,
        runs: &Runs<'_, Judged>,
        statement: &Understood,
        held: &Holding,
        pass: &Arc<HoldPass>,
        values: Option<Bind<'_>>,
    ) -> Option<Promise> {
        let asked = self.asked(runs, statement, &held.ruling, values).ok()?;
        Some(Promise { asked, pass: Arc::clone(pass) })
    }

    fn asked(
        &self,
        runs: &Runs<'_, Judged>,
        statement: &Understood,
        ruling: &Ruling,
        values: Option<Bind<'_>>,
    ) -> Result<HoldAsked, &'static str> {
        let text = match runs {
            Runs::Query(text) => text.len(),
            Runs::Parse(parse) => parse.query.len(),
            Runs::Bind(_, Some(known)) => known.value.text().map_or(0, |text| text.len()),
            _ => 0,
        };
        let bound = match runs {
            Runs::Bind(bind, _) => Some(bind),
            _ => values.as_ref(),
        };
        let bound = bound.into_iter().flat_map(|bind| bind.parameters.iter().flatten());
        let length = bound.fold(text, |sum, value| sum.saturating_add(value.len()));
        // Not even looked at: that takes as long as it is long, and others wait.
        if length > MOST_ASKED {
            return Err(TOO_LONG);
        }
        let (text, bind, types): (Arc<[u8]>, _, _) = match (runs, values) {
            (Runs::Query(text), _) => (Arc::from(*text), None, Vec::new()),
            (Runs::Parse(parse), Some(bind)) if parse.name == bind.statement => {
                (Arc::from(parse.query), Some(bind), parse.types.iter().collect())
            }
            (Runs::Bind(bind, Some(known)), _) if known.certain => {
                let text = known.value.text().ok_or("its text isn't kept: prepare it again")?;
                (Arc::clone(text), Some(*bind), known.value.declared.to_vec())
            }
            _ => return Err("what it was bound to isn't known any more: bind it again"),
        };
        if Set::executes(&statement.facts).next().is_some() {
            return Err(
                "it runs what was prepared before, by its name: run that statement's own text",
            );
        }
        let reading = self.reading();
        let text = readable(&text, &reading)?;
        let path =
            self.known_path().ok_or("its search_path isn't known: set it by itself first")?;
        let settings = format!(
            "search_path {}, standard_conforming_strings {}",
            path,
            if reading.strings == Strings::Standard { "on" } else { "off" }
        );
        let target = self.target();
        let role = target.role.known().ok_or("its role isn't known: set it by itself first")?;
        Ok(HoldAsked {
            database: target.database.clone(),
            role: role.to_owned(),
            literals: literals(text, reading.strings),
            text: text.to_owned(),
            parameters: bind.as_ref().map(parameters).unwrap_or_default(),
            types,
            settings,
            why: ruling.worded("needs an approval").message,
            policies: ruling.policies().iter().map(|policy| policy.id.to_string()).collect(),
            approvers: (ruling.approvers().unwrap_or_default().into_iter())
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The text, if everybody reads the same in it.
fn readable<'t>(text: &'t [u8], reading: &LexingState) -> Result<&'t str, &'static str> {
    let text = str::from_utf8(text).map_err(|_| "only a text in UTF-8 can be shown")?;
    if !text.is_ascii() && reading.encoding != Encoding::Utf8 {
        return Err("only a text in UTF-8 can be shown: set client_encoding to UTF8");
    }
    if reading.strings == Strings::Uncertain {
        return Err(
            "how its strings are read isn't certain: set standard_conforming_strings first",
        );
    }
    Ok(text)
}

/// Numbers and quoted strings. What stands between dollars is mostly code, and stays
/// as it is.
fn literals(text: &str, strings: Strings) -> Vec<HoldLiteral> {
    let mut found: Vec<HoldLiteral> = Vec::new();
    let mut from = 0;
    for token in Lexer::new(text, strings) {
        if token.start < from {
            continue;
        }
        let end = match token.kind {
            TokenKind::Plain
            | TokenKind::National
            | TokenKind::Escape
            | TokenKind::Unicode
            | TokenKind::Bits => token.end,
            TokenKind::Number => {
                let end = number_end(text.as_bytes(), token.end);
                from = end;
                // `1AND` is two tokens for some servers, and no number for others.
                let behind = text.as_bytes().get(end);
                if behind.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    continue;
                }
                end
            }
            _ => continue,
        };
        from = end;
        if let (Ok(start), Ok(end)) = (u32::try_from(token.start), u32::try_from(end)) {
            found.push(HoldLiteral { start, end });
        }
    }
    found
}

/// `1.5e3` is one number.
fn number_end(text: &[u8], from: usize) -> usize {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = from;
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

fn parameters(bind: &Bind<'_>) -> Vec<HoldParameter> {
    let formats: Vec<u16> = bind.formats.iter().collect();
    let format = |index: usize| match formats.as_slice() {
        [] => 0,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(0),
    };
    let shown = |(index, value): (usize, Option<&[u8]>)| match (value, format(index)) {
        (None, _) => HoldParameter::Null,
        (Some(value), 0) => match str::from_utf8(value) {
            Ok(text) => HoldParameter::Text(text.into()),
            Err(_) => HoldParameter::Binary(hex(value)),
        },
        (Some(value), _) => HoldParameter::Binary(hex(value)),
    };
    bind.parameters.iter().enumerate().map(shown).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `15:42 UTC`
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let clock = text.split_once('T').and_then(|(_, clock)| clock.get(..5));
    clock.map_or(text.clone(), |clock| format!("{clock} UTC"))
}

const TOO_LONG: &str = "it is too long to be shown to an approver";

#[cfg(test)]
mod tests;
