use rcgen::CertificateParams;

use super::*;

fn wanted(name: &str) -> Wanted {
    Wanted { names: vec![name.into()], issuer: Arc::from([Der(b"the CA".to_vec())]) }
}

/// One that is good for so many seconds from now.
fn signed(leaves: &Leaves, name: &str, seconds: u64) -> Wanted {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
    let leaf = params.self_signed(&leaves.key).unwrap();
    leaves.signed(wanted(name), leaf.der().to_vec()).unwrap();
    wanted(name)
}

#[test]
fn a_leaf_is_shown_up_to_the_half_of_its_life_and_then_made_anew() {
    const HOUR: i64 = 3600;
    let leaves = Leaves::new().unwrap();
    // A day, as the keeper signs; two hours, since the CA itself ends then.
    for (hours, good, over) in [(24, [0, 6, 11], [13, 25]), (2, [0, 0, 0], [1, 3])] {
        let kept = signed(&leaves, "db.example", hours * 3600);
        for hour in good {
            let later = now() + hour * HOUR;
            assert!(leaves.known_at(&kept, later).is_some(), "{hour} of {hours}");
        }
        for hour in over {
            signed(&leaves, "db.example", hours * 3600);
            let later = now() + hour * HOUR + 1;
            assert!(leaves.known_at(&kept, later).is_none(), "{hour} of {hours}");
            // It is gone for good.
            assert!(leaves.known_at(&kept, now()).is_none());
        }
    }
}

#[test]
fn a_leaf_of_the_future_or_of_the_past_is_not_shown() {
    let leaves = Leaves::new().unwrap();
    let kept = signed(&leaves, "db.example", 24 * 3600);
    // The clock was wrong when it was made.
    assert!(leaves.known_at(&kept, now() - 1000).is_none());
    let ended = signed(&leaves, "db.example", 0);
    assert!(leaves.known(&ended).is_none());
}

#[test]
fn one_that_nobody_has_signed_is_made_once_for_a_name() {
    let leaves = Leaves::new().unwrap();
    let one = leaves.untrusted(vec!["db.example".into()]).unwrap();
    assert!(Arc::ptr_eq(&one, &leaves.untrusted(vec!["db.example".into()]).unwrap()));
    assert!(!one.trusted);
    // It never passes for one that the CA has signed.
    assert!(leaves.known(&wanted("db.example")).is_none());
}

#[test]
fn names_that_clients_make_up_fill_no_more_than_so_much() {
    let leaves = Leaves::new().unwrap();
    for number in 0..MOST + 10 {
        leaves.untrusted(vec![format!("{number}.example")]).unwrap();
        assert!(leaves.known.lock().unwrap().len() <= MOST);
    }
    let wanted = Wanted { names: vec![format!("{}.example", MOST + 9)], issuer: Arc::default() };
    assert!(leaves.known(&wanted).is_some(), "the last one isn't kept");
}
