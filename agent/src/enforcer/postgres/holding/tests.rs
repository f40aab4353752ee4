use super::*;
use crate::model::{ActorKind, HoldId};
use crate::policy::Layers;
use crate::policy::testing::Asker;

fn marked(text: &str) -> Vec<&str> {
    let found = literals(text, Strings::Standard);
    found.iter().map(|one| &text[one.start as usize..one.end as usize]).collect()
}

#[test]
fn literals_are_what_a_reader_takes_for_one() {
    for (text, expected) in [
        ("SELECT 1, 2.5, .5e3, 1.5e-3, 7.", &["1", "2.5", "5e3", "1.5e-3", "7."][..]),
        (
            "SELECT 'it''s', E'\\'', N'n', U&'u', B'01', X'ff'",
            &["'it''s'", "E'\\''", "N'n'", "U&'u'", "B'01'", "X'ff'"],
        ),
        ("SELECT a1, \"2\", $1, c_3 FROM t4", &[]),
        ("SELECT $$1$$, $x$'2'$x$ /* 3 '4' */ -- 5", &[]),
        // A number for some servers, two words for others: none to be varied.
        ("SELECT 1AND 2, 0x1f, 1_000, 1e, 1e5x", &["2"]),
        ("DO 'begin end'", &["'begin end'"]),
        ("SELECT 'a'\n  'b'", &["'a'\n  'b'"]),
    ] {
        assert_eq!(marked(text), expected, "{text}");
    }
}

#[test]
fn only_what_everybody_reads_alike_is_shown() {
    let utf8 = LexingState { encoding: Encoding::Utf8, ..LexingState::default() };
    let utf8 = LexingState { strings: Strings::Standard, ..utf8 };
    assert_eq!(readable("DELETE 'é'".as_bytes(), &utf8), Ok("DELETE 'é'"));
    assert!(readable(b"DELETE '\xe9'", &utf8).is_err());
    let latin = LexingState { encoding: Encoding::Latin1, ..utf8.clone() };
    assert!(readable("DELETE 'é'".as_bytes(), &latin).is_err());
    assert_eq!(readable(b"DELETE", &latin), Ok("DELETE"));
    let uncertain = LexingState { strings: Strings::Uncertain, ..utf8 };
    assert!(readable(b"DELETE", &uncertain).is_err());
}

fn held() -> Holding {
    let asker = Asker::new(ActorKind::Terminal, None);
    let verdict = asker.ask(&Set::load(&Layers::default()).unwrap(), "DELETE FROM t");
    assert!(verdict.is_liftable());
    Holding::asked(Arc::clone(verdict.ruling()), None)
}

#[test]
fn a_word_counts_once_and_only_while_it_is_waited_for() {
    let id = HoldId("lus-bab".into());
    let until = Timestamp(1_795_222_800_123_456_000);
    let pass = HoldPass { id: id.clone(), by: "bob".into(), policies: vec!["p".into()] };
    let mut holding = held();
    assert!(holding.waits());
    holding.take(HoldWord::Answer(HoldAnswer::Waits { id: id.clone(), until }));
    assert!(holding.waits() && holding.passes().is_none());
    holding.take(HoldWord::Gone(Withdrawal::Cancelled));
    assert!(!holding.waits());
    // What comes too late lets nothing through.
    holding.take(HoldWord::End(HoldEnd::Approved(pass.clone())));
    assert!(holding.passes().is_none());
    let refused = holding.refused().unwrap();
    assert_eq!(refused.id.as_ref(), Some(&id));
    let words = holding.words(refused);
    assert_eq!(words.message, "canceling statement due to user request");

    let mut holding = held();
    holding.take(HoldWord::Answer(HoldAnswer::Passes(pass.clone())));
    assert_eq!(**holding.passes().unwrap(), pass);
    holding.take(HoldWord::Gone(Withdrawal::Cancelled));
    assert!(holding.passes().is_some());
}

#[test]
fn each_end_has_its_own_words() {
    let id = HoldId("lus-bab".into());
    let until = Timestamp(1_795_222_800_123_456_000);
    let clock = moment(until);
    for (word, message, hint) in [
        (
            HoldWord::Answer(HoldAnswer::Noted { id: id.clone(), until }),
            "needs an approval (hold lus-bab)",
            format!("approved by approvers (until {clock}): `tidegate approvals approve lus-bab"),
        ),
        (
            HoldWord::End(HoldEnd::Denied { by: "bob".into(), reason: "no".into() }),
            "is denied",
            "bob has denied".into(),
        ),
        (HoldWord::End(HoldEnd::Expired), "in time", "ask one of them".into()),
        (
            HoldWord::Gone(Withdrawal::Drained),
            "needs an approval",
            "the agent was upgraded: run it again".into(),
        ),
        (
            HoldWord::Answer(HoldAnswer::Full { why: "too many".into() }),
            "needs an approval",
            "it can't be held: too many".into(),
        ),
    ] {
        let mut holding = held();
        holding.take(word);
        let words = holding.words(holding.refused().unwrap());
        assert!(words.message.contains(message), "{words:?}");
        assert!(words.hint.as_ref().unwrap().contains(&hint), "{words:?}");
        assert!(words.detail.unwrap().contains("policy default/unbounded"));
    }
}

#[test]
fn the_notice_is_one_whole_message() {
    let id = HoldId("lus-bab".into());
    for unicode in [true, false] {
        let notice = held().notice(&id, Timestamp(0), unicode);
        assert_eq!(notice.first(), Some(&b'N'));
        let length = u32::from_be_bytes(notice[1..5].try_into().unwrap());
        assert_eq!(length as usize + 1, notice.len());
        let text = String::from_utf8_lossy(&notice);
        assert!(text.contains("waits for an approval (hold lus-bab)"), "{text}");
        assert!(text.contains("tidegate approvals approve lus-bab --reason"), "{text}");
        assert!(unicode || text.is_ascii(), "{text}");
    }
}
