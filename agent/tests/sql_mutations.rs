//! 100,000 changes to known statements. Those that keep the meaning must keep the
//! facts; the others must give an answer and never turn a write into a read without
//! the text having lost it: what is understood does what its words say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corpus::{Case, cases};
use tidegate::sql::{
    Cache, Cell, Effect, Effects, Encoding, Facts, Lexer, LexingState, Strings, Token, TokenKind,
    cell, tokens,
};

/// A small generator with a fixed seed: failures come again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }
}

const GAPS: &[&str] =
    &[" ", "\n", "\t\r\n", "/**/", " /* x'; -- */ ", "-- '\n", "/* /* \" */ */", "\x0c"];

/// Case of letters, white space and comments between the words.
fn same_meaning(sql: &str, strings: Strings, dice: &mut Dice) -> String {
    let mut out = String::new();
    let mut before: Option<(TokenKind, &str)> = None;
    let mut copied = 0;
    for Token { kind, start, end } in Lexer::new(sql, strings) {
        let (gap, token) = (&sql[copied..start], &sql[start..end]);
        let bracket = |kind| matches!(kind, TokenKind::Open | TokenKind::Close | TokenKind::Comma);
        // Where a gap may stand without making two words of one: between a word and
        // a bracket, a comma, or where one is already. Never between strings, which
        // a line's end would join, nor within an operator.
        let free = bracket(kind)
            || kind == TokenKind::Semicolon
            || before.is_some_and(|(before, _)| bracket(before));
        let strings = is_string(kind) && before.is_some_and(|(before, _)| is_string(before));
        // An operator would become part of a comment.
        let sign = |token: &str| token.starts_with(|c: char| "~!@#^&|`?+-*/%<>=".contains(c));
        let beside = sign(token) || before.is_some_and(|(_, before)| sign(before));
        let kinds = if beside { &GAPS[..3] } else { GAPS };
        if !strings && (free || !gap.is_empty()) {
            out.push_str(kinds[dice.roll(kinds.len())]);
        } else {
            out.push_str(gap);
        }
        if kind == TokenKind::Word && token.is_ascii() {
            for c in token.chars() {
                out.push(if dice.roll(2) == 0 {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                });
            }
        } else {
            out.push_str(token);
        }
        before = Some((kind, token));
        copied = end;
    }
    out.push_str(&sql[copied..]);
    out
}

fn is_string(kind: TokenKind) -> bool {
    use TokenKind::{Bits, Dollar, Escape, National, Plain, Unicode};
    matches!(kind, Plain | National | Escape | Unicode | Bits | Dollar)
}

/// Whether everybody cuts it into the same words.
fn is_clear(case: &Case, facts: &Facts) -> bool {
    // What nobody reads is weighed by the words that it begins with, or by any in it.
    facts.is_parsed()
        && case.state.strings != Strings::Uncertain
        && (case.sql.is_ascii() || case.state.encoding == Encoding::Utf8)
}

/// What must not change. Not the parser's messages, which quote the text.
fn meaning(facts: &Facts) -> Vec<String> {
    facts
        .statements
        .iter()
        .map(|s| {
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
                s.verb,
                s.effects,
                s.bound,
                s.reads,
                s.parts,
                s.objects,
                s.columns,
                s.calls,
                s.session,
                s.doubts.len()
            )
        })
        .collect()
}

#[test]
fn what_keeps_the_meaning_keeps_the_facts() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let mut cases = cases();
    cases.retain(|case| is_clear(case, &cell.read(case.sql.as_bytes(), &case.state)));
    let of = |file: &str| cases.iter().filter(|case| case.place.starts_with(file)).count();
    assert!(of("lexing") >= 40 && cases.len() > 700, "{} of {}", of("lexing"), cases.len());
    let mut dice = Dice(0x7469_6465_6761_7465);
    for round in 0..50_000 {
        let case = &cases[round % cases.len()];
        let mutated = same_meaning(&case.sql, case.state.strings, &mut dice);
        let (one, other) = (
            cell.read(case.sql.as_bytes(), &case.state),
            cell.read(mutated.as_bytes(), &case.state),
        );
        assert_eq!(meaning(&one), meaning(&other), "{}\n{:?}\n{mutated:?}", case.place, case.sql);
    }
}

/// Numbers in every place where one may make a difference.
const NUMBERED: &[&str] = &[
    "select a from t where id = 5 order by 1 limit 10 offset 3",
    "select a from t where id = 5 order by 2 fetch first 7 rows only",
    "select a from t limit 2 for update",
    "select a, b from t group by 1, 2 having sum(c) > 10",
    "select a::float(24), b::numeric(10, 2), c::varchar(3), d::interval(3) from t where e[1:2] = 5",
    "select cast(a as float(53)), cast(b as bit(3)), cast(4 as money) from t where f = 6.5e3",
    "select substring(a from 1 for 3) from t tablesample system (10) repeatable (5)",
    "select count(*) filter (where a > 3) over (order by b rows between 2 preceding and 1 following) \
     from t",
    "select nth_value(a, 2) over w from t window w as (order by 1)",
    "select case when 1 = 1 then a else b end from t where c = 3",
    "select case 1 when 2 then a end from t",
    "select generate_series(1, 10), pg_sleep(10), lo_unlink(123), pg_terminate_backend(123)",
    "select * from t where id % 10 = 3 and 1 = 1",
    "values (1, 2), (3, -4)",
    "insert into t values (1, 2), (3, - 4)",
    "insert into t (a) values (1) on conflict (b) do update set a = 5 where t.c = 6",
    "insert into t select 1 from u where v = 2",
    "update t set a = -5, b[2] = 7 where id in (1, 2, 3)",
    "update t set a = a + 1 where id <> 0",
    "update t set a = 1 where id = id + 0",
    "delete from t where 1 = 1",
    "delete from t where 1 = 0 or id = 3",
    "delete from t where id = 1 or 2 = 3",
    "delete from t where 5",
    "delete from t where not (1 = 0)",
    "delete from t where 1 < 2 and id = 4",
    "delete from t where id = 1 and 0 = 0",
    "delete from t where (id, 1) = (id, 1)",
    "delete from t where id > 0 and id < 100",
    "delete from t where id between 0 and 999999999",
    "delete from t where id > 0 or id <= 0",
    "delete from t where id = 1 or id <> 1",
    "delete from t where id = any(array[1, 2])",
    "delete from t where exists (select 1) or id in (select 2)",
    "delete from t where id in (select id from t limit 1000000)",
    "delete from t where coalesce(id, 0) = 0 and mod(id, 2) = 1",
    "delete from t where case when 1 = 1 then true else id = 2 end",
    "delete from t where id = 5 + 0 * 3 and nullif(1, 2) = 1",
    "delete from t where (select 1) = 1 or id = 8",
    "with x as (delete from t where id = 5 returning *) select * from x limit 3",
];

/// Each number replaced, with those that mean something to somebody among them.
fn other_numbers(sql: &str, strings: Strings, dice: &mut Dice) -> String {
    const OTHERS: &[&str] = &[
        "0",
        "1",
        "2",
        "3",
        "24",
        "25",
        "53",
        "64",
        "007",
        "100",
        "1000000",
        "1000001",
        "123456789",
        "999999999",
        "2147483648",
        "1.5",
    ];
    let (mut out, mut copied) = (String::new(), 0);
    let same = (dice.roll(4) == 0).then(|| OTHERS[dice.roll(OTHERS.len())]);
    for token in Lexer::new(sql, strings).filter(|token| token.kind == TokenKind::Number) {
        out.push_str(&sql[copied..token.start]);
        match dice.roll(4) {
            0 => out.push_str(&sql[token.start..token.end]),
            _ => out.push_str(same.unwrap_or_else(|| OTHERS[dice.roll(OTHERS.len())])),
        }
        copied = token.end;
    }
    out + &sql[copied..]
}

/// Without what others than itself may have.
fn bare(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.free = Box::default();
    if let [statement] = facts.statements.as_mut_slice() {
        statement.span = None;
    }
    facts
}

#[test]
fn what_is_taken_for_the_reading_of_another_text_is_its_own() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let numbered = NUMBERED.iter().chain(WRITES);
    let own = numbered.map(|sql| ((*sql).to_owned(), LexingState::default()));
    let texts: Vec<_> = own.chain(cases().into_iter().map(|case| (case.sql, case.state))).collect();
    let mut dice = Dice(0x6e75_6d62_6572_7321);
    let (mut taken, mut own) = (0, 0);
    for round in 0..100_000 {
        // Those that have numbers wherever they may stand come as often as all others.
        let among = if round % 2 == 0 { NUMBERED.len() } else { texts.len() };
        let (sql, state) = &texts[dice.roll(among)];
        let cache = Cache::new(1 << 20);
        cache.put(sql.as_bytes(), state, &Arc::new(cell.read(sql.as_bytes(), state)));
        let other = other_numbers(sql, state.strings, &mut dice);
        let read = cell.read(other.as_bytes(), state);
        match cache.get(other.as_bytes(), state) {
            _ if other == *sql => {}
            Some(found) => {
                assert_eq!(bare(&found), bare(&read), "{sql} / {other}");
                taken += 1;
            }
            None => own += 1,
        }
    }
    // Both happen, or nothing was tried.
    assert!(taken > 10_000 && own > 10_000, "{taken}, {own}");
}

/// Writes of every kind, beside those of the corpus.
const WRITES: &[&str] = &[
    "merge into a using b on a.id = b.id when matched then delete",
    "merge into only a as x using (select 1 as id) b on x.id = b.id when not matched then \
     insert values (1)",
    "copy a from stdin",
    "copy (select * from a where id = 1) to stdout with (format csv)",
    "copy a (id, name) to program 'cat'",
    "with d as (delete from a where id = 1 returning *) select * from d",
    "with recursive d (x) as not materialized (update a set id = 1 returning id), e as (select 1) \
     select x from d, e",
    "with i as (insert into a values (1) returning id) delete from b using i where b.id = i.id",
    "explain analyze delete from a where id = 1",
    "explain analyze verbose insert into a select * from b",
    "explain analyze with d as (delete from a returning *) select 1",
    "call p(1, 'x', (select max(id) from a))",
    "call s.p()",
    "grant select, update on a to bob with grant option",
    "grant admins to bob",
    "revoke all on schema s from public cascade",
    "prepare p (int) as delete from a where id = $1",
    "create table x as select * from a",
    "alter table a add column x int default 7",
    "refresh materialized view m",
    "lock table a in exclusive mode",
    "select 1; merge into a using b on a.id = b.id when matched then update set id = 1",
];

/// What an understood text must do by its words, and by which of them. Names in quotes
/// and strings are none of these.
fn promised(sql: &str) -> Vec<(&'static str, Effects)> {
    let owned: Vec<String> = tokens(sql).map(|(token, _)| token.to_lowercase()).collect();
    let words: Vec<&str> = owned.iter().map(String::as_str).collect();
    // What stands behind a `;` within ATOMIC … END runs when the function does.
    if words.contains(&"atomic") {
        return Vec::new();
    }
    let writes = Effects::of(Effect::Insert).with(Effect::Update).with(Effect::Delete);
    let changes = |at: &[&str]| match at {
        ["delete", "from", ..] | ["insert", "into", ..] | ["update", _, "set", ..] => Some(writes),
        // It may do nothing at all.
        ["merge", "into", ..] if !words.contains(&"nothing") => Some(writes),
        _ => None,
    };
    // What is only planned, or kept for later, changes nothing yet.
    let keeps = |word: &&str| matches!(*word, "view" | "rule" | "function" | "procedure");
    let plans = |pair: &[&str]| pair[0] == "explain" && pair[1] != "analyze";
    let runs = !words.iter().any(keeps) && !words.windows(2).any(plans);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut begins = true;
    for (at, word) in words.iter().enumerate() {
        let here = &words[at..];
        let mut promise = |what, effects: Option<Effects>| {
            found.extend(effects.map(|effects| (what, effects)));
        };
        if begins && depth == 0 {
            promise("change", changes(here));
            match here {
                ["explain", "analyze", "verbose", rest @ ..]
                | ["explain", "analyze", rest @ ..] => {
                    promise("explain", changes(rest));
                }
                ["copy", ..] => {
                    let moved = Effects::of(Effect::Import).with(Effect::Export);
                    promise("copy", Some(moved));
                }
                ["call", ..] => promise("call", Some(Effects::of(Effect::Execute))),
                ["grant" | "revoke", ..] => promise("grant", Some(Effects::of(Effect::Grant))),
                ["truncate", ..] => promise("change", Some(Effects::of(Effect::Truncate))),
                ["drop", ..] => promise("change", Some(Effects::of(Effect::Drop))),
                _ => {}
            }
        }
        if let ["as", "(", rest @ ..] | ["materialized", "(", rest @ ..] = here
            && runs
        {
            promise("cte", changes(rest));
        }
        match *word {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        begins = *word == ";";
    }
    found
}

#[test]
fn nothing_turns_a_write_into_a_read_or_stops_the_reader() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let cases = cases();
    let mut dice = Dice(0x6e6f_7468_696e_6721);
    let bits: &[&[u8]] = &[
        b"'",
        b"\"",
        b"$$",
        b"/*",
        b"*/",
        b"--",
        b"\\",
        b"\n",
        b";",
        b"(",
        b")",
        b"\0",
        b"\xff",
        b"E'",
        b"U&'",
        b" select ",
        b" not ",
        b"::int",
        b",",
        b"$a$",
        b"1",
        b".",
        b"\xc3\xa9",
    ];
    let mut longest = Duration::ZERO;
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    let standard = LexingState::default();
    for round in 0..50_000 {
        // Each third one is of a kind that the corpus has few of.
        let few = round % 3 == 0;
        let (sql, state) = if few {
            (WRITES[round / 3 % WRITES.len()], &standard)
        } else {
            let case = &cases[round % cases.len()];
            (&*case.sql, &case.state)
        };
        let mut text = sql.as_bytes().to_vec();
        // Of these more are still understood than of what is cut and put together.
        let (edits, kinds) = if few { (1, 2) } else { (1 + dice.roll(3), 4) };
        for _ in 0..edits {
            let at = dice.roll(text.len() + 1);
            match dice.roll(kinds) {
                0 => drop(text.splice(at..at, bits[dice.roll(bits.len())].iter().copied())),
                1 => drop(text.drain(at..(at + dice.roll(4)).min(text.len()))),
                2 => text.truncate(at),
                _ => {
                    let other = cases[dice.roll(cases.len())].sql.as_bytes();
                    text.splice(at..at, other.iter().copied());
                }
            }
        }
        let begun = Instant::now();
        let facts = cell.read(&text, state);
        longest = longest.max(begun.elapsed());
        // What begins as a write and isn't understood is still no read.
        if !facts.understood() {
            assert!(!facts.effects().is_pure_read(), "{:?}", String::from_utf8_lossy(&text));
        }
        // A word that the text still begins with, as a word, can't lose its effect.
        let shown = String::from_utf8_lossy(&text).into_owned();
        let mut words = tokens(&shown).map(|(token, _)| token.to_lowercase());
        if let (Some(first), Some(_)) = (words.next(), words.next())
            && state.strings == Strings::Standard
            && matches!(first.as_str(), "delete" | "update" | "insert" | "drop" | "truncate")
        {
            assert!(facts.effects().writes(), "{shown:?}: {:?}", facts.effects());
        }
        // What is understood does what its words say.
        if facts.understood() && state.strings == Strings::Standard {
            for (what, promised) in promised(&shown) {
                let done = facts.effects().iter().any(|effect| promised.contains(effect));
                assert!(done, "{what}: {shown:?}: {:?}", facts.effects());
                *kept.entry(what).or_default() += 1;
            }
        }
    }
    for what in ["call", "change", "copy", "cte", "explain", "grant"] {
        assert!(kept.get(what).is_some_and(|times| *times > 200), "{what}: {kept:?}");
    }
    assert!(longest < Duration::from_secs(5), "one text took {longest:?}");
}
