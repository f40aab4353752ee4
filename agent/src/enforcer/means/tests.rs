use super::*;
use crate::model::{
    Actor, AuthTerms, Confidence, ENVIRONMENT, Origin, Provenance, Secret, samples,
};

const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
const DESTINATION: &str = "db.example:5432";

/// A service's connection to the destination.
fn flow() -> Flow {
    let mut flow = samples::flow();
    flow.process.cgroup = Some("/system.slice/shop.service/workers".into());
    flow.process.uid = 1000;
    let environment = Provenance {
        facts: ENVIRONMENT.into(),
        origin: Origin::Process,
        confidence: Confidence::Claimed,
    };
    let sources = vec![Provenance::of_hook(), environment];
    flow.actor = Actor { kind: Kind::Service, sources, ..samples::actor() }.into();
    flow
}

fn exe(path: &str) -> Who {
    Who { exe: Some(path.into()), ..Who::default() }
}

fn unit(name: &str) -> Who {
    Who { unit: Some(name.into()), ..Who::default() }
}

fn user(uid: u32) -> Who {
    Who { user: Some(uid), ..Who::default() }
}

fn cgroup(path: &str) -> Who {
    Who { cgroup: Some(path.into()), ..Who::default() }
}

/// Each way to say who, and whether it fits the flow.
fn table() -> Vec<(Who, bool)> {
    vec![
        (Who::default(), true),
        (exe(PSQL), true),
        // The whole path, and nothing but that.
        (exe("/usr/lib/postgresql/15/bin/psql2"), false),
        (exe("/usr/lib/postgresql/15/bin"), false),
        (exe("psql"), false),
        (exe(""), false),
        (unit("shop.service"), true),
        (unit("system.slice"), true),
        (unit("hop.service"), false),
        (unit("shop"), false),
        (unit("shop.service/workers"), false),
        (user(1000), true),
        (user(0), false),
        (cgroup("/system.slice/shop.service"), true),
        (cgroup("/system.slice/shop.service/"), true),
        (cgroup("/system.slice"), true),
        (cgroup("/"), true),
        (cgroup("/system.slice/shop"), false),
        (cgroup("/shop.service"), false),
        (cgroup("/system.slice/shop.service/workers/of"), false),
        // All that is said must be so.
        (Who { unit: Some("shop.service".into()), ..exe(PSQL) }, true),
        (Who { unit: Some("other.service".into()), ..exe(PSQL) }, false),
        (Who { unit: Some("shop.service".into()), ..exe("/bin/sh") }, false),
        (Who { user: Some(1000), ..unit("shop.service") }, true),
        (Who { user: Some(1001), ..unit("shop.service") }, false),
        (Who { cgroup: Some("/user.slice".into()), ..user(1000) }, false),
    ]
}

fn means(who: &Who, destination: Option<&str>) -> Means {
    let passthrough =
        vec![Passthrough { who: who.clone(), destination: destination.map(Into::into) }];
    let policy = PolicyTerms { mode: PolicyMode::Off, ..PolicyTerms::default() };
    let terms = Terms { passthrough, policy, ..Terms::default() };
    Means::new(Shared::new().unwrap(), &terms, None).unwrap()
}

#[test]
fn all_that_is_said_of_a_process_must_be_so() {
    for (who, fitting) in table() {
        assert_eq!(fits(&who, &flow()), fitting, "{who:?}");
    }
}

/// Whoever may make cgroups of his own calls them as he likes.
#[test]
fn a_unit_is_one_that_an_administrator_has_named() {
    const USERS: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service";
    for (group, who, fitting) in [
        (USERS, unit("shop.service"), false),
        (USERS, unit("app.slice"), false),
        (USERS, unit("user@1000.service"), true),
        (USERS, unit("user-1000.slice"), true),
        // The user is asked for too: what he says is said of himself.
        (USERS, Who { user: Some(1000), ..unit("shop.service") }, true),
        (USERS, Who { user: Some(1000), ..unit("other.service") }, false),
        ("/system.slice/docker-1.scope/shop.service", unit("shop.service"), false),
        ("/system.slice/docker-1.scope/shop.service", unit("docker-1.scope"), true),
        ("/system.slice/other.service/shop.service", unit("shop.service"), false),
        ("/docker/1/system.slice/shop.service", unit("shop.service"), false),
        ("/a.slice/a-b.slice/shop.service", unit("shop.service"), true),
        ("/shop.service", unit("shop.service"), true),
    ] {
        let mut flow = flow();
        flow.process.cgroup = Some(group.into());
        assert_eq!(fits(&who, &flow), fitting, "{who:?} in {group}");
        // Another user's session manager is nobody's that is asked for.
        flow.process.uid = 1001;
        assert!(
            !fits(&Who { user: Some(1001), ..unit("shop.service") }, &flow)
                || !group.contains("user@")
        );
    }
}

/// A process that is gone before it could be read.
#[test]
fn of_whom_nothing_is_known_nothing_fits_but_everybody() {
    let mut unread = flow();
    (unread.process.exe, unread.process.cgroup) = (None, None);
    for (who, _) in table() {
        let asks = who.exe.is_some() || who.unit.is_some() || who.cgroup.is_some();
        let fitting = !asks && who.user.is_none_or(|user| user == 1000);
        assert_eq!(fits(&who, &unread), fitting, "{who:?}");
    }
}

#[test]
fn who_is_passed_through_is_so_at_the_destination_that_is_named() {
    for (who, fitting) in table() {
        for (destination, named) in [
            (None, true),
            (Some(DESTINATION), true),
            (Some("db.example"), false),
            (Some("DB.example:5432"), false),
            (Some("5432"), false),
        ] {
            let means = means(&who, destination);
            assert_eq!(means.passes(&flow()), fitting && named, "{who:?} to {destination:?}");
        }
    }
}

#[test]
fn an_ai_agent_is_read_whatever_is_said_of_it() {
    let mut agent = flow();
    agent.actor = Actor { kind: Kind::Agent, ..(*agent.actor).clone() }.into();
    for (who, _) in table() {
        assert!(!means(&who, None).passes(&agent), "{who:?}");
    }
}

/// A process can see to it that it isn't read in time.
#[test]
fn who_could_not_be_read_is_read_whatever_is_said_of_it() {
    let mut half = flow();
    half.actor = Actor { sources: vec![Provenance::of_hook()], ..(*half.actor).clone() }.into();
    let mut unread = flow();
    unread.actor = Actor::unknown("its process could not be read in time").into();
    for (who, fitting) in table() {
        assert_eq!(means(&who, None).passes(&flow()), fitting);
        assert!(!means(&who, None).passes(&half), "{who:?}");
        assert!(!means(&who, None).passes(&unread), "{who:?}");
    }
}

#[test]
fn of_the_logins_that_fit_the_first_counts() {
    let login = |(who, role): (Who, &str)| Login {
        who,
        role: role.into(),
        password: Secret(b"of ours".to_vec()),
    };
    let chosen = |logins: Vec<(Who, &str)>| {
        let logins = logins.into_iter().map(login).collect();
        let auth = AuthTerms { logins, ..AuthTerms::default() };
        let terms = DestinationTerms { auth, ..DestinationTerms::named(DESTINATION.into()) };
        let destination = Destination::new(terms, &Arc::new(RootCertStore::empty()));
        destination.login(&flow()).map(|login| login.role.clone())
    };
    let (other, ours) = (unit("other.service"), exe(PSQL));
    let all = vec![(other.clone(), "a"), (ours.clone(), "b"), (Who::default(), "c")];
    assert_eq!(chosen(all).as_deref(), Some("b"));
    assert_eq!(chosen(vec![(Who::default(), "c"), (ours, "b")]).as_deref(), Some("c"));
    assert_eq!(chosen(vec![(other, "a")]), None);
    for (who, fitting) in table() {
        assert_eq!(chosen(vec![(who.clone(), "a")]).is_some(), fitting, "{who:?}");
    }
}
