use super::*;

fn protect(name: &str, target: ProtectTarget, mode: Mode, exclude: bool) -> Protect {
    Protect {
        name: name.into(),
        target,
        mode,
        exclude,
        environment: None,
        service: Default::default(),
    }
}

fn empty() -> Destinations {
    Destinations {
        protect: Vec::new(),
        canary: None,
        names: BTreeMap::new(),
        rules: Vec::new(),
        installed: HashMap::new(),
        ports: vec![0; 1024],
        listen_port: 15999,
    }
}

fn mode_of(destinations: &Destinations, to: &str) -> Option<Mode> {
    destinations.protects(to.parse().unwrap())
}

#[test]
fn the_longest_prefix_decides() {
    let mut destinations = empty();
    let network = |address: &str, prefix| ProtectTarget::Network {
        address: address.parse().unwrap(),
        prefix,
        port: 5432,
    };
    destinations.set(&[
        protect("5432", ProtectTarget::Port(5432), Mode::Strict, false),
        protect("10.1.0.0/16:5432", network("10.1.0.0", 16), Mode::Permissive, false),
        protect("10.1.2.3:5432", network("10.1.2.3", 32), Mode::Strict, true),
        protect("[2001:db8::]/32:5432", network("2001:db8::", 32), Mode::Permissive, false),
    ]);
    destinations.installed = destinations.wanted();
    assert_eq!(mode_of(&destinations, "192.0.2.1:5432"), Some(Mode::Strict));
    assert_eq!(mode_of(&destinations, "10.1.9.9:5432"), Some(Mode::Permissive));
    assert_eq!(mode_of(&destinations, "10.1.2.3:5432"), None);
    assert_eq!(mode_of(&destinations, "[2001:db8::7]:5432"), Some(Mode::Permissive));
    assert_eq!(mode_of(&destinations, "[2001:db9::7]:5432"), Some(Mode::Strict));
    assert_eq!(mode_of(&destinations, "192.0.2.1:5433"), None);
}

#[test]
fn a_name_keeps_its_old_addresses_for_a_while() {
    let mut destinations = empty();
    let host = ProtectTarget::Host { host: "db.example".into(), port: 5432 };
    destinations.set(&[protect("db.example:5432", host, Mode::Strict, false)]);
    let answer = |ip: &str| Ok(vec![ip.parse().unwrap()]);
    let long = Duration::from_secs(600);
    destinations.resolved("db.example", answer("192.0.2.1"), long);
    destinations.resolved("db.example", answer("192.0.2.2"), long);
    destinations.installed = destinations.wanted();
    assert_eq!(mode_of(&destinations, "192.0.2.1:5432"), Some(Mode::Strict));
    assert_eq!(mode_of(&destinations, "192.0.2.2:5432"), Some(Mode::Strict));
    // A failure takes nothing out, and is told.
    destinations.resolved("db.example", Err("no such name".into()), long);
    destinations.installed = destinations.wanted();
    assert_eq!(mode_of(&destinations, "192.0.2.2:5432"), Some(Mode::Strict));
    assert_eq!(destinations.reports()[0].error.as_deref(), Some("no such name"));
    // The grace over, only the newest answer stands.
    destinations.resolved("db.example", answer("192.0.2.2"), Duration::ZERO);
    destinations.installed = destinations.wanted();
    assert_eq!(mode_of(&destinations, "192.0.2.1:5432"), None);
    assert_eq!(mode_of(&destinations, "192.0.2.2:5432"), Some(Mode::Strict));
}

#[test]
fn a_name_that_never_resolved_keeps_what_was_pinned() {
    let mut destinations = empty();
    let pinned = (PORT_BITS + ADDRESS_BITS, key(5432, v6("192.0.2.9".parse().unwrap())));
    let other_port = (PORT_BITS + ADDRESS_BITS, key(3306, v6("192.0.2.9".parse().unwrap())));
    let old = Rule { id: 7, flags: RULE_STRICT };
    destinations.installed = HashMap::from([(pinned, old), (other_port, old)]);
    let host = ProtectTarget::Host { host: "db.example".into(), port: 5432 };
    destinations.set(&[protect("db.example:5432", host, Mode::Strict, false)]);
    destinations.installed = destinations.wanted();
    assert_eq!(mode_of(&destinations, "192.0.2.9:5432"), Some(Mode::Strict));
    assert_eq!(mode_of(&destinations, "192.0.2.9:3306"), None);
    let (rule, _) = destinations.rule(destinations.installed[&pinned].id).unwrap();
    assert_eq!(rule, "db.example:5432");
}

#[test]
fn rules_keep_their_ids() {
    let mut destinations = empty();
    let one = protect("5432", ProtectTarget::Port(5432), Mode::Strict, false);
    let two = protect("3306", ProtectTarget::Port(3306), Mode::Strict, false);
    destinations.set(&[one.clone(), two.clone()]);
    let first = destinations.wanted();
    destinations.set(&[two]);
    let second = destinations.wanted();
    let entry = (PORT_BITS, key(3306, Ipv6Addr::UNSPECIFIED));
    assert_eq!(first[&entry], second[&entry]);
    assert_eq!(destinations.rule(first[&entry].id), Some(("3306", Mode::Strict)));
}
