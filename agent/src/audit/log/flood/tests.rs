use super::*;
use crate::audit::frame;
use crate::audit::log::Log;
use crate::audit::log::tests::{Keeper, Scratch, flow, small};
use crate::audit::store::{Folder, sealed};
use crate::audit::{Ending, Outcome, Statement, Verdict, Way};
use crate::model::{Mode, samples};
use crate::sql::Strings;

fn of(change: impl FnOnce(&mut Process)) -> Payer {
    let mut process = samples::flow().process;
    process.uid = 0;
    process.workload = Workload::default();
    change(&mut process);
    payer(&process)
}

#[test]
fn who_makes_cgroups_of_his_own_gets_no_more() {
    let user = |unit: &str, cgroup| {
        of(|it| {
            (it.workload.user_slice, it.cgroup_id) = (Some(1000), cgroup);
            it.workload.unit = Some(unit.into());
        })
    };
    assert_eq!(user("session-2.scope", 1), user("run-7.service", 2));
    let unit = |unit: &str, cgroup| {
        of(|it| (it.workload.unit, it.cgroup_id) = (Some(unit.into()), cgroup))
    };
    assert_eq!(unit("shop.service", 1), unit("shop.service", 2));
    assert_ne!(unit("shop.service", 1), unit("mail.service", 1));
    let container = |outer: &[&str], id: &str| {
        of(|it| {
            it.workload.outer = outer.iter().map(|one| (*one).to_owned()).collect();
            it.workload.container = Some(id.into());
        })
    };
    assert_eq!(container(&["aa"], "bb"), container(&[], "aa"));
    assert_ne!(container(&[], "aa"), container(&[], "bb"));
    let pod = |container: &str| {
        of(|it| {
            it.workload.pod = Some("6a1f".into());
            it.workload.container = Some(container.into());
        })
    };
    assert_eq!(pod("aa"), pod("bb"));
    // In a tree of cgroups that nobody knows: each of root's, and one for each user.
    assert_ne!(of(|it| it.cgroup_id = 1), of(|it| it.cgroup_id = 2));
    let delegated = |uid, cgroup| of(|it| (it.uid, it.cgroup_id) = (uid, cgroup));
    assert_eq!(delegated(7, 1), delegated(7, 2));
    assert_ne!(delegated(7, 1), delegated(8, 1));
}

#[test]
fn one_alone_takes_days_to_fill_what_is_kept_whatever_the_settings_say() {
    let terms = LogTerms { flood_rate: 1 << 40, flood_burst: 1 << 40, ..LogTerms::default() };
    let one = of(|_| ());
    let mut floods = Floods::default();
    let (mut written, mut now) = (0, 1_000_000_000);
    // It writes whatever it gets, each second for a day and a half.
    for _ in 0..DAY * 3 / 2 {
        now += 1_000_000;
        while !matches!(
            floods.allowance(one, &terms, now),
            Allowance::Together { reach: Reach::Workload, .. }
        ) {
            floods.spend(one, 1 << 20);
            written += 1_u64 << 20;
        }
    }
    assert!(written < terms.keep_bytes, "{written} of {}", terms.keep_bytes);
    assert!(written > terms.keep_bytes / 2, "{written}: nobody could write that little");
}

#[test]
fn the_more_is_owed_the_longer_and_the_more_is_told_together() {
    let terms = LogTerms { flood_rate: 1 << 10, flood_burst: 8 << 20, ..LogTerms::default() };
    let (one, now) = (of(|_| ()), 1_000_000_000);
    let mut floods = Floods::default();
    assert_eq!(floods.allowance(one, &terms, now), Allowance::Whole);
    floods.spend(one, 8 << 20);
    let mut after = |bytes| {
        floods.spend(one, bytes);
        match floods.allowance(one, &terms, now) {
            Allowance::Whole => panic!("it owes nothing"),
            Allowance::Together { reach, window } => (reach, window / 1_000_000),
        }
    };
    assert_eq!(after(0), (Reach::Shape, 1));
    assert_eq!(after(20 << 10), (Reach::Shape, 20));
    assert_eq!(after(2 << 20), (Reach::Effects, 60));
    assert_eq!(after(2 << 20), (Reach::Workload, 60));
    // What is owed is paid at its rate, and all is told again.
    let paid = now + 5 * 1_024 * 1_000_000;
    assert_eq!(floods.allowance(one, &terms, paid), Allowance::Whole);
}

#[test]
fn what_was_left_out_is_told_though_nothing_more_comes() {
    let terms = LogTerms::default();
    let (one, now) = (of(|_| ()), 1_000_000_000);
    let mut floods = Floods::default();
    floods.allowance(one, &terms, now);
    floods.spend(one, 4 << 30);
    let process = samples::flow().process;
    floods.leave_out(one);
    assert_eq!(floods.due(one, || named(&process), now).unwrap()["left_out"], 1);
    floods.leave_out(one);
    floods.sum(one);
    assert!(floods.due(one, || named(&process), now + 1).is_none());
    assert!(floods.overdue(now + 1).is_none());
    let told = floods.overdue(now + TELL_EVERY).unwrap();
    assert_eq!((&told["left_out"], &told["summed"]), (&1.into(), &1.into()));
    assert_eq!(told["workload"], workload(&process));
    assert!(floods.overdue(now + 3 * TELL_EVERY).is_none());
}

#[test]
fn what_only_refers_takes_no_more_on_the_disk_than_it_counts_for() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let subjects: Vec<_> = (0..8)
        .map(|n| log.subject(&format!("SELECT {n} FROM t"), Strings::Standard, None))
        .collect();
    let mut random = 7_u64;
    for serial in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let subject = &subjects[(random >> 40) as usize % 8];
        let statement = Statement::new(serial, Way::Query, Some(subject), Verdict::Allowed);
        let sealed = connection.intent(&statement).unwrap();
        let ended = Outcome {
            rows: random >> 61,
            latency_us: 200 + (random >> 56),
            ..Outcome::new(Ending::Complete)
        };
        connection.outcome(&sealed, &ended);
    }
    let folder = Folder::new(&scratch.0);
    let path = folder.live(1, 0);
    let bytes = std::fs::read(&path).unwrap();
    let (mut place, mut counted) = (frame::SEGMENT_HEAD, 0);
    while let frame::Found::Record { payload, next } = frame::at(&bytes, place) {
        counted += cost(1, payload.len());
        place = next;
    }
    sealed::seal(&folder, &path, &bytes[..place]).unwrap();
    let stored = std::fs::metadata(folder.sealed(1, 0)).unwrap().len() as usize;
    assert!(stored < counted, "{stored} on the disk, {counted} counted");
}
