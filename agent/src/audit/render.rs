//! Records as JSON: what `docs/audit.md` describes.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::log::{BRIEF, IN_TRANSACTION};
use super::record::{
    Back, Body, Flow, Head, Intent, Outcome, RecordId, Standing, Summed, Transaction,
};
use super::{Ending, Reach, TransactionEnd, Verdict, Way};
use crate::model::{Confidence, Origin, Provenance, Timestamp};
use crate::sql::Effect;

/// Raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// What records refer to, as far as it is known.
pub trait Known {
    fn definition(&mut self, id: RecordId) -> Option<Body>;
}

/// The definitions of one segment, as it is read from its begin.
#[derive(Debug, Default)]
pub struct Definitions(HashMap<RecordId, Body>);

impl Definitions {
    pub fn learn(&mut self, id: RecordId, body: &Body) {
        if body.is_definition() {
            self.0.insert(id, body.clone());
        }
    }
}

impl Known for Definitions {
    fn definition(&mut self, id: RecordId) -> Option<Body> {
        self.0.get(&id).cloned()
    }
}

/// One record with all that it refers to.
pub fn render(id: RecordId, body: &Body, known: &mut dyn Known) -> Value {
    let mut scribe = Scribe { id, known };
    let mut out = Map::new();
    out.insert("schema".into(), SCHEMA.into());
    out.insert("record".into(), id.to_string().into());
    out.insert("kind".into(), body.word().into());
    if let Some(at) = body.at() {
        out.insert("at".into(), time(at).into());
    }
    if let Some(head) = body.head() {
        scribe.head(head, &mut out);
    }
    let facts = match body {
        Body::Opened(_) => None,
        Body::Process(json) | Body::Statement(json) | Body::Grounds(json) => Some(parsed(json)),
        Body::Flow(flow) => Some(parsed(&flow.json)),
        Body::Words(words) => Some(words.to_string().into()),
        Body::Session(event) | Body::Renamed(event) => {
            Some(claimed("application", parsed(&event.json)))
        }
        Body::Closed(event) | Body::Doubted(event) => Some(parsed(&event.json)),
        Body::Intent(intent) => Some(scribe.intent(intent)),
        Body::Standing(standing) => Some(scribe.standing(standing)),
        Body::Outcome(outcome) => Some(scribe.outcome(outcome)),
        Body::Summed(summed) => Some(scribe.summed(summed)),
        Body::Transaction(Transaction { ending, statements, .. }) => Some(json!({
            "ending": TransactionEnd::from_code(*ending).map(TransactionEnd::word),
            "statements": statements,
        })),
        Body::Agent(told)
        | Body::Changed(told)
        | Body::Read(told)
        | Body::Removed(told)
        | Body::Flood(told)
        | Body::Lost(told)
        | Body::Recovered(told)
        | Body::Observed(told)
        | Body::Enriched(told) => Some(parsed(&told.json)),
    };
    if let Some(facts) = facts {
        out.insert(body.word().into(), facts);
    }
    Value::Object(out)
}

pub fn time(micros: u64) -> String {
    Timestamp(micros.saturating_mul(1_000)).to_string()
}

pub fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// With the source of a fact that is the client's own word, whoever it says it is: told
/// beside it, and not kept with each record.
fn claimed(fact: &str, mut told: Value) -> Value {
    if let Some(fields) = told.as_object_mut()
        && fields.get(fact).is_some_and(|value| !value.is_null())
    {
        let (origin, confidence) = (Origin::Statement, Confidence::Claimed);
        let source = Provenance { facts: fact.to_owned(), origin, confidence };
        fields.insert("sources".into(), json!([source]));
    }
    told
}

/// The effects' words, by their bits.
pub fn effects(bits: u16) -> Vec<&'static str> {
    let set = |effect: &&Effect| bits & 1 << **effect as u16 != 0;
    Effect::ALL.iter().filter(set).map(|effect| effect.as_str()).collect()
}

/// The policies that a ruling's `why` or `flags` name.
pub fn names(grounds: &Value, which: &str) -> Vec<String> {
    let words = grounds.get(which).and_then(Value::as_array).into_iter().flatten();
    let named = words.filter_map(|word| word.get("policy")?.as_str());
    named.map(ToOwned::to_owned).collect()
}

struct Scribe<'k> {
    id: RecordId,
    known: &'k mut dyn Known,
}

impl Scribe<'_> {
    fn at(&mut self, back: Back) -> Option<(RecordId, Body)> {
        let position = self.id.position.checked_sub(back).filter(|_| back > 0)?;
        let id = RecordId { writer: self.id.writer, position };
        Some((id, self.known.definition(id)?))
    }

    fn words(&mut self, back: Back) -> Option<Box<str>> {
        match self.at(back)? {
            (_, Body::Words(words)) => Some(words),
            _ => None,
        }
    }

    fn grounds(&mut self, back: Back) -> Value {
        match self.at(back) {
            Some((_, Body::Grounds(json))) => parsed(&json),
            // Once only names were told, one a line.
            Some((_, Body::Words(names))) => {
                let why = names.lines().map(|name| json!({ "policy": name }));
                json!({ "why": why.collect::<Vec<_>>() })
            }
            _ => json!({}),
        }
    }

    fn head(&mut self, head: &Head, out: &mut Map<String, Value>) {
        out.insert("sequence".into(), head.sequence.into());
        let Some((at, Body::Flow(Flow { process, json }))) = self.at(head.flow) else { return };
        let position = at.position.checked_sub(process);
        let process = position
            .and_then(|position| self.known.definition(RecordId { position, ..at }))
            .and_then(|body| match body {
                Body::Process(json) => Some(parsed(&json)),
                _ => None,
            });
        out.insert("process".into(), process.unwrap_or_default());
        out.insert("flow".into(), parsed(&json));
    }

    fn intent(&mut self, intent: &Intent) -> Value {
        let mut out = match self.at(intent.statement) {
            Some((_, Body::Statement(json))) => claimed("says", parsed(&json)),
            _ => json!({}),
        };
        let grounds = self.grounds(intent.grounds);
        let facts = json!({
            "serial": intent.serial,
            "way": Way::from_code(intent.way).map(Way::word),
            "effects": effects(intent.effects),
            "verdict": Verdict::from_code(intent.verdict).map(Verdict::word),
            "in_transaction": intent.flags & IN_TRANSACTION != 0,
            "brief": intent.flags & BRIEF != 0,
            "generation": grounds.get("generation"),
            "policies": names(&grounds, "why"),
            "why": grounds.get("why").cloned().unwrap_or_else(|| json!([])),
            "flags": grounds.get("flags").cloned().unwrap_or_else(|| json!([])),
            "hold": intent.hold,
            "approver": intent.approver,
            "parameters": intent.parameters,
        });
        if let (Some(out), Value::Object(facts)) = (out.as_object_mut(), facts) {
            out.extend(facts);
        }
        out
    }

    fn standing(&mut self, standing: &Standing) -> Value {
        let mut out = self.intent(&standing.intent);
        if let Some(out) = out.as_object_mut() {
            out.insert("until".into(), time(standing.until).into());
            let reach = Reach::from_code(standing.reach).map(Reach::word);
            out.insert("reach".into(), reach.into());
        }
        out
    }

    fn summed(&mut self, summed: &Summed) -> Value {
        let endings = counts(&summed.endings, |code| Ending::from_code(code).map(Ending::word));
        let transactions = counts(&summed.transactions, |code| {
            TransactionEnd::from_code(code).map(TransactionEnd::word)
        });
        let failures: Map<String, Value> = summed
            .failures
            .iter()
            .map(|(state, count)| (state.to_string(), (*count).into()))
            .collect();
        let (masked, seen) = (self.cells(&summed.masked), self.cells(&summed.seen));
        json!({
            "of": self.of(summed.intent),
            "times": summed.times,
            "endings": endings,
            "failures": failures,
            "rows": summed.rows,
            "bytes": summed.bytes,
            "latency_us": summed.latency_us,
            "masked": masked,
            "seen": seen,
            "would_mask": self.cells(&summed.would_mask),
            "transactions": transactions,
        })
    }

    fn of(&self, back: Back) -> Option<RecordId> {
        let position = self.id.position.checked_sub(back).filter(|_| back > 0)?;
        Some(RecordId { position, ..self.id })
    }

    fn cells(&mut self, all: &[(Back, u64)]) -> Map<String, Value> {
        let known = all.iter().filter_map(|(class, cells)| Some((self.words(*class)?, *cells)));
        known.map(|(class, cells)| (class.into(), cells.into())).collect()
    }

    fn outcome(&mut self, outcome: &Outcome) -> Value {
        let (masked, seen) = (self.cells(&outcome.masked), self.cells(&outcome.seen));
        let would_mask = self.cells(&outcome.would_mask);
        json!({
            "of": self.of(outcome.intent),
            "index": outcome.index,
            "ending": Ending::from_code(outcome.ending).map(Ending::word),
            "sqlstate": outcome.sqlstate,
            "tag": self.words(outcome.tag),
            "rows": outcome.rows,
            "bytes": outcome.bytes,
            "latency_us": outcome.latency_us,
            "masked": masked,
            "seen": seen,
            "would_mask": would_mask,
        })
    }
}

fn counts(all: &[(u8, u64)], word: impl Fn(u8) -> Option<&'static str>) -> Map<String, Value> {
    let known = all.iter().filter_map(|(code, count)| Some((word(*code)?, *count)));
    known.map(|(word, count)| (word.to_owned(), count.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::OnFlow;

    #[test]
    fn what_a_client_says_of_itself_says_that_it_is_its_word() {
        let at = |position| RecordId { writer: 1, position };
        let mut known = Definitions::default();
        let claimed = |of: &str| {
            let source = json!({ "facts": of, "origin": "statement", "confidence": "claimed" });
            json!([source])
        };
        let head = || Head { at: 1, flow: 0, sequence: 0 };
        for made in [Body::Session, Body::Renamed] {
            let mut of = |json: Value| {
                let body = made(OnFlow { head: head(), json: json.to_string().into() });
                render(at(7), &body, &mut known)[body.word()]["sources"].take()
            };
            assert_eq!(of(json!({ "application": "psql" })), claimed("application"));
            assert_eq!(of(json!({ "application": null, "role": "app" })), Value::Null);
        }
        let told = |text: Value| {
            let mut known = Definitions::default();
            known.learn(at(5), &Body::Statement(text.to_string().into()));
            let intent = Intent { statement: 2, ..intent_of(0) };
            render(at(7), &Body::Intent(intent), &mut known)["statement"]["sources"].take()
        };
        assert_eq!(told(json!({ "text": "x", "says": { "trace": "4b" } })), claimed("says"));
        assert_eq!(told(json!({ "text": "x" })), Value::Null);
    }

    fn intent_of(grounds: Back) -> Intent {
        Intent {
            head: Head { at: 1, flow: 0, sequence: 0 },
            serial: 1,
            way: 0,
            statement: 0,
            effects: 0,
            verdict: 2,
            flags: 0,
            grounds,
            hold: None,
            approver: None,
            parameters: Vec::new(),
        }
    }

    fn intent(grounds: Body) -> Value {
        let at = |position| RecordId { writer: 1, position };
        let mut known = Definitions::default();
        known.learn(at(4), &grounds);
        render(at(7), &Body::Intent(intent_of(3)), &mut known)["statement"].take()
    }

    #[test]
    fn what_a_statement_was_judged_by_is_told_as_it_was_and_as_it_is() {
        let why = json!([{ "policy": "a", "severity": "high", "reason": "r" }, { "reason": "s" }]);
        let flags = json!([{ "policy": "b" }]);
        let grounds = json!({ "generation": "0f", "why": why, "flags": flags });
        let told = intent(Body::Grounds(grounds.to_string().into()));
        assert_eq!((&told["generation"], &told["policies"]), (&json!("0f"), &json!(["a"])));
        assert_eq!((&told["why"], &told["flags"]), (&why, &flags));
        // Before, only names were.
        let told = intent(Body::Words("a\nb".into()));
        assert_eq!((&told["generation"], &told["policies"]), (&Value::Null, &json!(["a", "b"])));
        assert_eq!((&told["why"][1]["policy"], &told["flags"]), (&json!("b"), &json!([])));
    }
}
