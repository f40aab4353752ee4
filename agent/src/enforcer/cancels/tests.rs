use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::enforcer::means::{Means, Shared};
use crate::enforcer::postgres::{Sought, Subject};
use crate::enforcer::rig::unread_terms;
use crate::enforcer::tls::Hello;

const SECRET: &[u8] = b"key!";

fn question(rule: &str, address: &str, tls: bool, process: u32) -> Question {
    let means = Means::new(Shared::new().unwrap(), &unread_terms(), None).unwrap();
    let key = CancelKey { process, secret: SECRET.into() };
    Question {
        subject: Subject {
            rule: rule.into(),
            address: address.parse().unwrap(),
            tls,
            hello: Hello::default(),
            sought: Sought::Cancel(key),
        },
        destination: Arc::clone(means.destination_named("5432").unwrap()),
        again: true,
    }
}

fn listed(cancels: &Cancels, question: Question) -> Listed {
    let Sought::Cancel(key) = question.subject.sought.clone() else { panic!("no key") };
    cancels.list(key, question, |_, reply| reply.tell(true))
}

const A: &str = "10.0.0.1:5432";
const B: &str = "10.0.0.2:5432";

/// To which server, and whether by TLS.
fn way(cancels: &Cancels, rule: &str, at: &str, tls: bool) -> Option<(String, bool)> {
    let way = cancels.way(rule, at.parse().unwrap(), tls, (7, SECRET))?;
    let Subject { address, tls, .. } = way.question.subject;
    Some((address.to_string(), tls))
}

#[test]
fn the_key_s_own_server_is_found_and_by_tls_if_either_has_it() {
    for session in [false, true] {
        let cancels = Cancels::default();
        let listed = listed(&cancels, question("db", A, session, 7));
        for cancel in [false, true] {
            let by = session || cancel;
            assert_eq!(way(&cancels, "db", B, cancel), Some((A.into(), by)));
            let here = (session && !cancel).then(|| (A.to_owned(), true));
            assert_eq!(way(&cancels, "db", A, cancel), here);
            assert_eq!(way(&cancels, "another", B, cancel), None);
            assert_eq!(way(&cancels, "another", A, cancel), None);
        }
        for (process, secret) in [(8, SECRET), (7, b"key?"), (7, b"key"), (7, b"key!!")] {
            assert!(cancels.way("db", B.parse().unwrap(), true, (process, secret)).is_none());
        }
        drop(listed);
        assert_eq!(way(&cancels, "db", B, false), None);
        assert!(cancels.lock().sessions.is_empty());
    }
}

#[test]
fn of_two_with_the_same_key_the_nearer_one_is_meant() {
    let cancels = Cancels::default();
    let one = listed(&cancels, question("db", A, false, 7));
    let other = listed(&cancels, question("db", B, false, 7));
    assert_eq!(way(&cancels, "db", A, false), None);
    assert_eq!(way(&cancels, "db", B, false), None);
    drop(one);
    assert_eq!(way(&cancels, "db", A, false), Some((B.into(), false)));
    drop(other);
    assert_eq!(way(&cancels, "db", A, false), None);
}

#[test]
fn a_reply_is_told_once_whatever_becomes_of_it() {
    let told = Arc::new([const { AtomicU32::new(0) }; 2]);
    let reply = || {
        let told = Arc::clone(&told);
        Reply::new(move |done| {
            told[usize::from(done)].fetch_add(1, Ordering::Relaxed);
        })
    };
    reply().tell(true);
    reply().tell(false);
    drop(reply());
    assert_eq!((told[0].load(Ordering::Relaxed), told[1].load(Ordering::Relaxed)), (2, 1));
}
