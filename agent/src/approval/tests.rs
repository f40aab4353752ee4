use std::sync::Arc;

use super::*;
use crate::model::{
    Caller, Flow, HoldAnswer, HoldAsked, HoldEnd, HoldLiteral, HoldParameter, HoldState, HoldStep,
    Person, Reach, Switch, Timestamp, Varying, Withdrawal, samples,
};

const NOW: Timestamp = samples::AT;
const MINUTE: u64 = 60_000_000_000;

fn later(minutes: u64) -> Timestamp {
    Timestamp(NOW.0 + minutes * MINUTE)
}

fn book() -> Book {
    Book::new(Times { wait: Duration::from_secs(900), open: Duration::from_secs(86_400) })
}

/// Of user 2000, who came by no login.
fn flow() -> Arc<Flow> {
    let mut flow = samples::flow();
    flow.process.uid = 2000;
    flow.process.login_uid = None;
    let mut actor = samples::actor();
    actor.person = None;
    flow.actor = actor.into();
    Arc::new(flow)
}

fn asked(text: &str) -> HoldAsked {
    let mut literals = Vec::new();
    let mut from = 0;
    // Digits, and what stands in quotes.
    while let Some(start) = text[from..].find(|sign: char| sign.is_ascii_digit() || sign == '\'') {
        let start = from + start;
        let end = if text[start..].starts_with('\'') {
            start + 2 + text[start + 1..].find('\'').unwrap()
        } else {
            let rest = &text[start..];
            start + rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len())
        };
        let number = |at: usize| u32::try_from(at).unwrap();
        literals.push(HoldLiteral { start: number(start), end: number(end) });
        from = end;
    }
    HoldAsked {
        database: "shop".into(),
        role: "app".into(),
        text: text.into(),
        literals,
        parameters: Vec::new(),
        types: Vec::new(),
        settings: "search_path (default)".into(),
        why: "delete on `t` needs an approval".into(),
        policies: vec!["default/unbounded".into()],
        approvers: vec!["approvers".into()],
    }
}

fn of(uid: u32, login_uid: Option<u32>, groups: &[&str]) -> Admitted {
    Admitted {
        caller: Caller { uid, gids: vec![uid], login_uid, before_uid: None, known: true },
        user: Some(format!("u{uid}")),
        login: login_uid.map(|uid| format!("u{uid}")),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn somebody() -> Admitted {
    of(3000, Some(3000), &[])
}

fn ask(book: &mut Book, flow: &Arc<Flow>, asked: HoldAsked, waits: bool) -> HoldAnswer {
    let mut number = 7;
    let numbers = || {
        number += 1;
        number
    };
    let waits = waits.then_some(u64::MAX);
    book.ask(NOW, Asked { flow, asked, waits }, numbers).0
}

fn id(answer: &HoldAnswer) -> String {
    match answer {
        HoldAnswer::Waits { id, .. } | HoldAnswer::Noted { id, .. } => id.0.clone(),
        other => panic!("{other:?}"),
    }
}

fn once() -> Verdict {
    Verdict::Approve(Reach::default())
}

fn passes(answer: &HoldAnswer) -> bool {
    matches!(answer, HoldAnswer::Passes(_))
}

#[test]
fn names_can_be_said_and_are_told_apart() {
    let all: std::collections::HashSet<HoldId> = (0..1 << 20).map(name::of).collect();
    assert_eq!(all.len(), 1 << 20);
    assert_eq!(name::of(0).0, "bab-bab");
    assert!(all.iter().all(|id| id.0.len() == 7 && id.0.is_ascii()));
    assert_eq!(name::read(" Lus-BAB\n"), "lus-bab");
}

#[test]
fn one_that_waits_is_let_go_by_its_approval_alone() {
    let (mut book, flow) = (book(), flow());
    let waits = ask(&mut book, &flow, asked("DELETE FROM t"), true);
    let HoldAnswer::Waits { until, .. } = waits else { panic!("{waits:?}") };
    assert_eq!(until, later(15));
    let decided = book.decide(NOW, &id(&waits), &somebody(), once(), "ok").unwrap();
    assert_eq!(decided.change.step, HoldStep::Approved);
    let Some(HoldEnd::Approved(pass)) = decided.end else { panic!("{decided:?}") };
    assert_eq!((pass.by.as_str(), pass.policies.len()), ("u3000", 1));
    // It was for that one statement.
    let again = ask(&mut book, &flow, asked("DELETE FROM t"), true);
    assert!(matches!(again, HoldAnswer::Waits { .. }), "{again:?}");
    assert_ne!(id(&again), id(&waits));
}

#[test]
fn what_was_refused_passes_once_when_it_comes_again() {
    let (mut book, flow) = (book(), flow());
    let first = ask(&mut book, &flow, asked("DELETE FROM t"), false);
    // Another connection of the same program has another number.
    let mut second = (*flow).clone();
    second.process.key.tgid += 1;
    second.id.cookie += 1;
    let second = Arc::new(second);
    assert_eq!(id(&ask(&mut book, &second, asked("DELETE FROM t"), false)), id(&first));
    assert_eq!(book.get(&id(&first)).unwrap().times, 2);
    let decided = book.decide(NOW, &id(&first), &somebody(), once(), "ok").unwrap();
    assert_eq!(decided.end, None);
    assert!(passes(&ask(&mut book, &second, asked("DELETE FROM t"), false)));
    assert!(!passes(&ask(&mut book, &flow, asked("DELETE FROM t"), false)));
}

#[test]
fn nothing_else_passes_by_it() {
    let flow = flow();
    let different: [fn(&mut Flow, &mut HoldAsked); 14] = [
        |_, asked| asked.text.push(' '),
        |_, asked| asked.database = "other".into(),
        |_, asked| asked.role = "other".into(),
        |_, asked| asked.settings = "search_path other".into(),
        |_, asked| asked.types = vec![23],
        |_, asked| asked.parameters = vec![HoldParameter::Null],
        |_, asked| asked.policies.push("default/drop".into()),
        |flow, _| flow.process.uid = 2001,
        |flow, _| flow.process.login_uid = Some(2001),
        |flow, _| flow.process.exe = Some("/bin/other".into()),
        |flow, _| flow.process.workload.container = Some("other".into()),
        |flow, _| flow.rule = "other".into(),
        |flow, _| flow.destination.0.set_port(5433),
        |flow, _| {
            let mut actor = (*flow.actor).clone();
            actor.kind = crate::model::Kind::Agent;
            flow.actor = actor.into();
        },
    ];
    for (number, change) in different.iter().enumerate() {
        let mut book = book();
        let noted = ask(&mut book, &flow, asked("DELETE FROM t"), false);
        let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary: Vec::new() });
        book.decide(NOW, &id(&noted), &somebody(), hour, "ok").unwrap();
        let (mut other, mut text) = ((*flow).clone(), asked("DELETE FROM t"));
        change(&mut other, &mut text);
        let answer = ask(&mut book, &Arc::new(other), text, false);
        assert!(!passes(&answer), "change {number}: {answer:?}");
        assert!(passes(&ask(&mut book, &flow, asked("DELETE FROM t"), false)), "{number}");
    }
}

#[test]
fn a_shape_varies_where_it_is_marked() {
    let (mut book, flow) = (book(), flow());
    let shown = "DELETE FROM t WHERE a = 1 AND b = 'x' AND c = 3";
    let noted = ask(&mut book, &flow, asked(shown), false);
    let vary = vec![Varying::Literal(2), Varying::Literal(1), Varying::Literal(1)];
    let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary });
    book.decide(NOW, &id(&noted), &somebody(), hour, "ok").unwrap();
    for (text, expected) in [
        (shown, true),
        ("DELETE FROM t WHERE a = 22 AND b = '' AND c = 3", true),
        ("DELETE FROM t WHERE a = 1 AND b = 'x' AND c = 4", false),
        ("DELETE FROM t WHERE a = 'x' AND b = 'x' AND c = 3", false),
        ("DELETE FROM t WHERE a = 1 AND b = 5 AND c = 3", false),
        ("DELETE FROM t WHERE a = 1 AND  b = 'x' AND c = 3", false),
        ("DELETE FROM t WHERE a = 1 AND b = 'x' AND c = 3 OR 1 = 1", false),
        ("DELETE FROM t WHERE a = 1 AND b = 'x' OR c = 3", false),
        ("DELETE FROM u WHERE a = 1 AND b = 'x' AND c = 3", false),
    ] {
        assert_eq!(passes(&ask(&mut book, &flow, asked(text), false)), expected, "{text}");
    }
    for (part, expected) in [(Varying::Literal(4), "#4"), (Varying::Parameter(1), "$1")] {
        let noted = ask(&mut book, &flow, asked("DELETE FROM v WHERE a IN (1, 2, 3)"), false);
        let wide = Verdict::Approve(Reach { for_ms: None, vary: vec![part] });
        let error = book.decide(NOW, &id(&noted), &somebody(), wide, "ok").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn parameters_vary_within_their_form() {
    let (mut book, flow) = (book(), flow());
    let with = |parameters: &[HoldParameter]| HoldAsked {
        parameters: parameters.to_vec(),
        ..asked("DELETE FROM t WHERE a = $1 AND b = $2")
    };
    let text = |text: &str| HoldParameter::Text(text.into());
    let noted = ask(&mut book, &flow, with(&[text("1"), text("2")]), false);
    let vary = vec![Varying::Parameter(1)];
    let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary });
    book.decide(NOW, &id(&noted), &somebody(), hour, "ok").unwrap();
    for (parameters, expected) in [
        (vec![text("1"), text("2")], true),
        (vec![text("9"), text("2")], true),
        (vec![text("9"), text("3")], false),
        (vec![HoldParameter::Null, text("2")], false),
        (vec![HoldParameter::Binary("00".into()), text("2")], false),
        (vec![text("9")], false),
    ] {
        assert_eq!(
            passes(&ask(&mut book, &flow, with(&parameters), false)),
            expected,
            "{parameters:?}"
        );
    }
}

#[test]
fn nobody_approves_his_own() {
    let own = |process: (u32, Option<u32>), who: (u32, Option<u32>)| {
        let mut flow = (*flow()).clone();
        (flow.process.uid, flow.process.login_uid) = process;
        is_own(&of(who.0, who.1, &[]), &flow)
    };
    let (alice, bob) = (1000, 1001);
    assert!(own((alice, None), (alice, None)));
    // Alice as root, as a service user, and the other way round.
    assert!(own((alice, Some(alice)), (0, Some(alice))));
    assert!(own((0, Some(alice)), (alice, Some(alice))));
    assert!(own((70, Some(alice)), (0, Some(alice))));
    // As bob, by her login.
    assert!(own((alice, Some(alice)), (bob, Some(alice))));
    assert!(own((bob, Some(alice)), (alice, Some(alice))));
    // Under a uid that is theirs.
    assert!(own((bob, Some(alice)), (bob, Some(bob))));
    // A root that nobody logged in for could be anybody.
    assert!(own((0, None), (0, None)));
    assert!(own((0, Some(alice)), (0, None)));
    for (process, who) in [
        ((alice, Some(alice)), (bob, Some(bob))),
        ((0, Some(alice)), (0, Some(bob))),
        ((0, None), (0, Some(bob))),
        ((alice, None), (0, None)),
        ((0, None), (bob, None)),
    ] {
        assert!(!own(process, who), "{process:?} {who:?}");
    }
    // Who came by su is known by name only.
    let mut flow = (*flow()).clone();
    let mut actor = (*flow.actor).clone();
    let switch = Switch { by: Some("su".into()), from: "u3000".into(), to: "root".into() };
    let person = samples::actor().person.unwrap();
    let unknown = Person { user: None, login_uid: None, name: None, ..person };
    actor.person = Some(Person { switches: vec![switch], ..unknown });
    flow.actor = actor.into();
    assert!(is_own(&somebody(), &flow) && !is_own(&of(3001, None, &[]), &flow));
}

#[test]
fn an_own_hold_can_be_taken_back_and_not_approved() {
    let (mut book, flow) = (book(), flow());
    let waits = ask(&mut book, &flow, asked("DELETE FROM t"), true);
    let own = of(2000, None, &[]);
    let error = book.decide(NOW, &id(&waits), &own, once(), "mine").unwrap_err();
    assert!(matches!(error, ApprovalError::Own(_)), "{error}");
    let unknown = Admitted { caller: Caller { known: false, ..own.caller.clone() }, ..own.clone() };
    let error = book.decide(NOW, &id(&waits), &unknown, Verdict::Deny, "mine").unwrap_err();
    assert_eq!(error, ApprovalError::Nobody);
    let decided = book.decide(NOW, &id(&waits), &own, Verdict::Deny, "mine").unwrap();
    assert!(matches!(decided.end, Some(HoldEnd::Denied { .. })), "{decided:?}");
}

#[test]
fn where_several_must_the_narrowest_word_holds() {
    let (mut book, flow) = (book(), flow());
    let mut needs = asked("DELETE FROM t WHERE a = 1 AND b = 2");
    needs.approvers = vec!["group:dba".into(), "group:security".into()];
    let noted = ask(&mut book, &flow, needs.clone(), false);
    let id = id(&noted);
    let reach = |minutes: Option<u64>, vary: &[Varying]| {
        Verdict::Approve(Reach { for_ms: minutes.map(|m| m * 60_000), vary: vary.to_vec() })
    };
    let [one, two] = [Varying::Literal(1), Varying::Literal(2)];
    let error = book.decide(NOW, &id, &somebody(), once(), "ok").unwrap_err();
    assert!(error.to_string().contains("group:dba and group:security"), "{error}");
    let dba = of(3001, None, &["dba"]);
    let first = book.decide(NOW, &id, &dba, reach(Some(60), &[one, two]), "ok").unwrap();
    assert_eq!(
        (first.change.step, first.missing.as_slice()),
        (HoldStep::Seconded, &["group:security".to_owned()][..])
    );
    assert!(!passes(&ask(&mut book, &flow, needs.clone(), false)));
    let error = book.decide(NOW, &id, &dba, once(), "ok").unwrap_err();
    assert!(matches!(error, ApprovalError::Said { .. }), "{error}");
    let security = of(3002, None, &["security"]);
    book.decide(NOW, &id, &security, reach(Some(10), &[two]), "ok").unwrap();
    let grant = book.get(&id).unwrap().grant.clone().unwrap();
    assert_eq!((grant.until, grant.once, grant.vary), (later(10), false, vec![two]));
    // Root can give everybody's word.
    let mut other = needs;
    other.text = "DELETE FROM u".into();
    other.literals.clear();
    let noted = ask(&mut book, &flow, other, false);
    let decided =
        book.decide(NOW, &super::tests::id(&noted), &of(0, Some(3003), &[]), once(), "ok");
    assert_eq!(decided.unwrap().change.step, HoldStep::Approved);
}

#[test]
fn time_ends_what_waits_and_what_was_granted() {
    let (mut book, flow) = (book(), flow());
    let waits = ask(&mut book, &flow, asked("DELETE FROM t"), true);
    let noted = ask(&mut book, &flow, asked("DELETE FROM u"), false);
    let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary: Vec::new() });
    book.decide(NOW, &id(&noted), &somebody(), hour, "ok").unwrap();
    assert_eq!(book.expire(later(14)), []);
    // Before the clock's next turn it is too late as well.
    let error = book.decide(later(15), &id(&waits), &somebody(), once(), "late").unwrap_err();
    assert!(error.to_string().contains("expired already"), "{error}");
    assert_eq!(book.expire(later(15)), [HoldId(id(&waits))]);
    assert!(book.get(&id(&noted)).unwrap().grant.is_some());
    let number = || 99;
    let again = Asked { flow: &flow, asked: asked("DELETE FROM u"), waits: None };
    assert!(!passes(&book.ask(later(60), again, number).0));
    book.expire(later(60));
    assert_eq!(book.get(&id(&noted)).unwrap().grant, None);
}

#[test]
fn one_whose_session_gives_up_sooner_is_shown_to_end_then() {
    let (mut book, flow) = (book(), flow());
    let mut ask = |patience_ms| {
        let asked = Asked { flow: &flow, asked: asked("DELETE FROM t"), waits: patience_ms };
        let id = id(&book.ask(NOW, asked, || 7).0);
        (book.get(&id).unwrap().until, id)
    };
    let (until, sooner) = ask(Some(60_000));
    assert_eq!(until, later(1));
    assert_eq!(ask(Some(3_600_000)).0, later(15), "hold_wait");
    // It says so itself; who never does is forgotten all the same.
    assert_eq!(book.expire(later(1)), []);
    assert_eq!(book.expire(later(2)).len(), 1);
    let error = book.decide(later(3), &sooner, &somebody(), once(), "late").unwrap_err();
    assert!(error.to_string().contains("expired already"), "{error}");
}

#[test]
fn a_grant_can_be_taken_back_and_an_end_is_an_end() {
    let (mut book, flow) = (book(), flow());
    let noted = ask(&mut book, &flow, asked("DELETE FROM t"), false);
    let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary: Vec::new() });
    book.decide(NOW, &id(&noted), &somebody(), hour.clone(), "ok").unwrap();
    assert!(passes(&ask(&mut book, &flow, asked("DELETE FROM t"), false)));
    let decided = book.decide(NOW, &id(&noted), &somebody(), Verdict::Deny, "enough").unwrap();
    assert_eq!(decided.change.step, HoldStep::Revoked);
    let again = ask(&mut book, &flow, asked("DELETE FROM t"), true);
    assert!(!passes(&again));
    assert!(book.withdraw(NOW, &HoldId(id(&again)), Withdrawal::Cancelled));
    assert!(!book.withdraw(NOW, &HoldId(id(&again)), Withdrawal::Cancelled));
    for verdict in [hour, Verdict::Deny] {
        let error = book.decide(NOW, &id(&again), &somebody(), verdict, "late").unwrap_err();
        assert!(matches!(error, ApprovalError::Over { state: "withdrawn", .. }), "{error}");
    }
    let error = book.decide(NOW, "zzz-zzz", &somebody(), Verdict::Deny, "x").unwrap_err();
    assert!(matches!(error, ApprovalError::Unknown(_)), "{error}");
    for reason in ["", " ", "two\nlines", &"x".repeat(501)] {
        assert!(book.decide(NOW, &id(&noted), &somebody(), Verdict::Deny, reason).is_err());
    }
}

#[test]
fn nobody_fills_the_book_for_the_others() {
    let (mut book, flow) = (book(), flow());
    for number in 0..100 {
        ask(&mut book, &flow, asked(&format!("DELETE FROM t{}", "x".repeat(number))), false);
    }
    let full = ask(&mut book, &flow, asked("DELETE FROM other"), true);
    assert!(matches!(full, HoldAnswer::Full { .. }), "{full:?}");
    let mut other = (*flow).clone();
    other.process.uid += 1;
    assert!(!matches!(
        ask(&mut book, &Arc::new(other), asked("DELETE FROM t"), true),
        HoldAnswer::Full { .. }
    ));
    let waiting =
        |book: &Book| book.holds().iter().filter(|hold| hold.state == HoldState::Waiting).count();
    assert_eq!(waiting(&book), 101);
    // Those that are over are forgotten, the oldest first; those that wait never.
    let waits = book.holds().last().unwrap().id.clone();
    for number in 0..700 {
        let now = later(60 * 24 * 40 + u64::from(number));
        book.expire(now);
        let (answer, _) = book.ask(
            now,
            Asked { flow: &flow, asked: asked("DELETE FROM t"), waits: Some(u64::MAX) },
            || 200_000 + number,
        );
        let HoldAnswer::Waits { id, .. } = answer else { panic!("{answer:?}") };
        book.withdraw(NOW, &id, Withdrawal::Cancelled);
    }
    assert!(book.holds().len() <= 502, "{}", book.holds().len());
    assert!(book.get(&waits.0).is_none());
}

#[test]
fn what_an_enforcer_says_is_checked() {
    let mut wrong = asked("DELETE FROM t WHERE a = 1 AND b = 'é'");
    assert_eq!(check_asked(&wrong), Ok(()));
    wrong.literals.reverse();
    assert!(check_asked(&wrong).is_err());
    wrong.literals = vec![HoldLiteral { start: 0, end: 1_000 }];
    assert!(check_asked(&wrong).is_err());
    let inside = u32::try_from(wrong.text.find('é').unwrap()).unwrap() + 1;
    wrong.literals = vec![HoldLiteral { start: 0, end: inside }];
    assert!(check_asked(&wrong).is_err());
    wrong.literals.clear();
    wrong.approvers.clear();
    assert!(check_asked(&wrong).is_err());
}

#[test]
fn who_asks_and_withdraws_again_and_again_is_slowed() {
    let (mut book, flow) = (book(), flow());
    let mut taken = 0;
    for _ in 0..200 {
        match ask(&mut book, &flow, asked("DELETE FROM t"), true) {
            HoldAnswer::Waits { id, .. } => {
                taken += 1;
                book.withdraw(NOW, &id, Withdrawal::Cancelled);
            }
            HoldAnswer::Full { why } => assert!(why.contains("within a minute"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, 150);
    let again = Asked { flow: &flow, asked: asked("DELETE FROM t"), waits: Some(u64::MAX) };
    assert!(matches!(book.ask(later(1), again, || 9).0, HoldAnswer::Waits { .. }));
}

#[test]
fn that_an_approval_is_used_is_told_once() {
    let (mut book, flow) = (book(), flow());
    let noted = ask(&mut book, &flow, asked("DELETE FROM t"), false);
    let hour = Verdict::Approve(Reach { for_ms: Some(3_600_000), vary: Vec::new() });
    book.decide(NOW, &id(&noted), &somebody(), hour, "ok").unwrap();
    let steps: Vec<_> = (0..3)
        .map(|_| {
            let again = Asked { flow: &flow, asked: asked("DELETE FROM t"), waits: None };
            book.ask(NOW, again, || 9).1.map(|change| change.step)
        })
        .collect();
    assert_eq!(steps, [Some(HoldStep::Used), None, None]);
    assert_eq!(book.get(&id(&noted)).unwrap().grant.as_ref().unwrap().used, 3);
}
