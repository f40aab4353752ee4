use super::*;
use crate::audit::Log;
use crate::audit::log::Sealed;
use crate::audit::log::tests::{Keeper, Scratch, flow, small};
use crate::audit::{Subject, Way};
use crate::model::{Grounds, Mode, TextKept};
use crate::sql::Strings;

fn subject(text: &str) -> Subject {
    Subject::new(text, Strings::Standard, TextKept::Redacted, None)
}

fn like(text: &str, verdict: Verdict, reach: Reach) -> Option<Like> {
    Like::of(&Statement::new(1, Way::Query, Some(&subject(text)), verdict), reach, 0)
}

#[test]
fn alike_is_what_differs_in_literals_and_comments_only() {
    let of = |text| like(text, Verdict::Allowed, Reach::Shape).unwrap();
    let one = of("SELECT a FROM t WHERE id = 1 /* traceparent='00-1' */");
    assert_eq!(one, of("select a from t where id = 'x' /* traceparent='00-2' */"));
    assert_ne!(one, of("SELECT b FROM t WHERE id = 1"));
    assert_ne!(one, like("SELECT a FROM t WHERE id = 1", Verdict::Unjudged, Reach::Shape).unwrap());
    // Further over the rate the text is nothing.
    let of = |text| like(text, Verdict::Allowed, Reach::Effects).unwrap();
    assert_eq!(of("SELECT a FROM t"), of("SELECT b FROM u"));
}

#[test]
fn what_is_refused_held_or_flagged_is_told_by_itself_for_longer() {
    for verdict in [Verdict::Refused, Verdict::Held, Verdict::WouldRefuse, Verdict::Approved] {
        assert_eq!(like("SELECT 1", verdict, Reach::Shape), None);
        let next = like("SELECT 1", verdict, Reach::Effects).unwrap();
        assert_eq!(next.reach, Reach::Shape);
        assert_eq!(like("SELECT 1", verdict, Reach::Workload).unwrap().reach, Reach::Workload);
    }
    let flags = Grounds::new(r#"{"generation":"0","flags":[{"policy":"a"}]}"#.into());
    let subject = subject("SELECT 1");
    let allowed = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
    let flagged = Statement { grounds: Some(&flags), ..allowed };
    assert_eq!(Like::of(&flagged, Reach::Shape, 0), None);
    // Who approved it is never one of many.
    let approved = Statement { approver: Some("ada"), ..allowed };
    assert_eq!(Like::of(&approved, Reach::Workload, 0), None);
}

#[test]
fn nothing_joins_what_no_longer_holds() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let shared = log.shared().unwrap();
    let like = like("SELECT 1", Verdict::Allowed, Reach::Shape).unwrap();
    let owner = Owner::Connection(1);
    let mut state = shared.lock();
    let sums = &mut state.sums;
    let joins = |sums: &mut Sums, now| match sums.join(owner, like, now) {
        Joined::At(position) => Some(position),
        Joined::Over(Name::Of(40)) => None,
        _ => panic!("it is neither open nor over"),
    };
    assert!(matches!(sums.join(owner, like, 10), Joined::New));
    sums.begin((connection.party(), owner, like), 40, (10_000_000, 11_000_000));
    assert_eq!(joins(sums, 10_999_999), Some(40));
    assert_eq!(joins(sums, 11_000_000), None);
    // A clock that was set back.
    assert_eq!(joins(sums, 8_000_000), None);
    assert!(matches!(sums.join(Owner::Connection(2), like, 10_500_000), Joined::New));
    assert_eq!(sums.over(Some(10_999_999)), []);
    assert_eq!(sums.over(Some(11_000_000)), [Name::Of(40)]);
    assert_eq!(sums.of_connection(1), [Name::Of(40)]);
    assert!(sums.take(Name::Of(40)).is_some());
    assert!(matches!(sums.join(owner, like, 10_500_000), Joined::New));
    assert_eq!(sums.of_connection(1), []);
    assert!(sums.likes.is_empty() && sums.owned.is_empty());
}

#[test]
fn what_cannot_be_told_now_is_told_later_and_nothing_is_forgotten() {
    let scratch = Scratch::new();
    let terms = crate::model::LogTerms { flood_rate: 1, flood_burst: 1, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    let subject = subject("SELECT 1");
    let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
    let seals: Vec<Sealed> = (0..5).map(|_| connection.intent(&statement).unwrap()).collect();
    let shared = log.shared().unwrap();
    // The segment is full and there is no room for another.
    shared.lock().end();
    let (segments, away) = (scratch.0.join("segments"), scratch.0.join("away"));
    std::fs::rename(&segments, &away).unwrap();
    assert!(shared.end_sums(None).is_err());
    assert_eq!(connection.intent(&statement).unwrap().record(), seals[0].record());
    std::fs::rename(&away, &segments).unwrap();
    shared.end_sums(None).unwrap();
    let told = crate::audit::log::tests::records(&crate::audit::Folder::new(&scratch.0));
    let times = told.iter().find_map(|(_, body)| match body {
        crate::audit::record::Body::Summed(summed) => Some(summed.times),
        _ => None,
    });
    assert_eq!(times, Some(6));
}
