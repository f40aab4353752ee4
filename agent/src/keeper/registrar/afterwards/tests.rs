use super::*;
use crate::config::IdentitySettings;
use crate::identity::{Login, Seen};
use crate::keeper::gate::Orders;
use crate::keeper::registrar::{Registrar, known};
use crate::model::{Person, Via, samples};

/// What journald has of one login, by sshd's pid and a time (microseconds).
struct Recorded(String);

impl Journal for Recorded {
    fn lines(&self, sshds: &[u32]) -> Option<String> {
        assert_eq!(sshds, [1187, 1180]);
        Some(self.0.clone())
    }
}

fn registrar() -> Registrar {
    let settings = IdentitySettings { runtimes: Vec::new(), ..IdentitySettings::default() };
    let (orders, _orders_rx) = Orders::new().unwrap();
    let mount = std::path::Path::new("/sys/fs/cgroup");
    Registrar::start(known(&settings).unwrap(), &settings, mount, orders).unwrap()
}

fn seeker(journal: Box<dyn Journal>) -> Seeker {
    Seeker { journal, asked: HashMap::new(), runtimes: None }
}

fn by_ssh(user: Option<Sourced<String>>) -> Arc<Actor> {
    let person = Person {
        via: Via::Ssh,
        user,
        login_uid: None,
        address: None,
        key: None,
        switches: vec![],
        name: None,
    };
    Arc::new(Actor { person: Some(person), ..Actor::default() })
}

fn open(actor: Arc<Actor>) -> Open {
    let facts = Facts {
        process: Seen { user: Some("alice".into()), ..Seen::default() },
        login: Some(Login::default()),
        ..Facts::default()
    };
    let key = LoginKey(vec![(1187, 7_000_000_000), (1180, 6_000_000_000)]);
    Open::of(&facts, &samples::process(), &actor, Some(key), Vec::new()).unwrap()
}

fn line(at: u64) -> String {
    format!(
        r#"{{"_UID":"0","_COMM":"sshd","_PID":"1180","__REALTIME_TIMESTAMP":"{at}","MESSAGE":"Accepted publickey for alice from 192.0.2.7 port 51514 ssh2: ED25519 SHA256:abc"}}"#
    )
}

#[test]
fn a_logins_key_comes_from_the_journal_and_is_known_from_then_on() {
    let registrar = registrar();
    let office = &registrar.desk.office;
    let started = booted().unwrap() + 6_000_000;
    let actor = by_ssh(Some(Sourced {
        value: "alice".into(),
        origin: Origin::Kernel,
        confidence: Confidence::Certain,
    }));
    let open = open(actor);
    let facts = seeker(Box::new(Recorded(line(started + 300_000)))).facts(&open, office);
    let shown: Vec<(&str, &str)> =
        facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())).collect();
    // Who it is was certain already, and stays.
    assert_eq!(shown, [("person.address", "192.0.2.7"), ("person.key", "SHA256:abc")]);
    assert!(
        facts.iter().all(|it| (it.origin, it.confidence) == (Origin::Log, Confidence::Certain))
    );
    // What an earlier process with that number did is another's.
    let earlier = seeker(Box::new(Recorded(line(started - 3_600_000_000)))).facts(&open, office);
    assert!(earlier.is_empty(), "{earlier:?}");
}

#[test]
fn nothing_is_open_where_all_is_known_in_time() {
    let actor = Arc::new(Actor::default());
    let known = Seen { user: Some("alice".into()), ..Seen::default() };
    let facts = Facts { process: known, ..Facts::default() };
    assert!(Open::of(&facts, &samples::process(), &actor, None, Vec::new()).is_none());
    let nameless = Facts { process: Seen::default(), ..facts.clone() };
    assert!(Open::of(&nameless, &samples::process(), &actor, None, Vec::new()).unwrap().user);
    // A number in a container is the image's own: nobody on this host is asked.
    let contained = Workload {
        container: Some("c".into()),
        image: Some("shop/web".into()),
        ..Workload::default()
    };
    let nameless = Facts { workload: contained, ..nameless };
    assert!(Open::of(&nameless, &samples::process(), &actor, None, Vec::new()).is_none());
}

#[test]
fn the_journal_can_be_asked_on_this_host() {
    // Without one it says nothing: what matters is that it understands the question.
    let known = std::path::Path::new("/usr/bin/journalctl").exists();
    assert_eq!(Journalctl.lines(&[1]).is_some(), known);
}
