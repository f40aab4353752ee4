use super::*;
use crate::model::{
    Attribute, Confidence, Kind, MOST_ATTRIBUTES, Origin, Process, Qos, Relation, Workload, samples,
};

/// A process for tests, without a terminal, of root.
pub(super) fn seen(pid: u32, parent: u32, exe: &str, line: &str) -> Seen {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let exe = PathBuf::from(exe);
    Seen {
        pid,
        parent,
        started: u64::from(pid) * 1_000_000_000,
        comm: exe.file_name().unwrap().to_str().unwrap().to_owned(),
        script: script::of(Some(&exe), &arguments, Some(Path::new("/srv"))),
        exe: Some(exe),
        arguments,
        user: Some("root".into()),
        real_user: Some("root".into()),
        ..Seen::default()
    }
}

pub(super) fn of_user(uid: u32, user: &str, mut seen: Seen) -> Seen {
    (seen.uid, seen.real_uid) = (uid, uid);
    (seen.user, seen.real_user) = (Some(user.into()), Some(user.into()));
    seen
}

pub(super) fn facts(line: Vec<Seen>, cgroup: &str) -> Facts {
    let mut line = line.into_iter();
    let process = line.next().unwrap();
    Facts {
        boot: "boot".into(),
        process,
        ancestors: line.collect(),
        workload: cgroup::of_path(cgroup),
        environment_read: true,
        complete: true,
        ..Facts::default()
    }
}

fn known() -> Known {
    Known { kinds: Kinds::own().unwrap(), directory: Directory::default() }
}

#[test]
fn an_actor_is_what_its_facts_say() {
    let mut psql = of_user(1000, "alice", seen(90, 80, "/usr/bin/psql", "psql shop"));
    psql.terminal = Some("pts/3".into());
    psql.effective = 1 << 13 | 1 << 21;
    psql.folder = Some("/home/alice".into());
    let mut shell = of_user(1000, "alice", seen(80, 70, "/bin/bash", "/bin/bash ./nightly.sh"));
    (shell.gid, shell.group, shell.login_session) = (100, Some("users".into()), Some(3));
    let facts = facts(vec![psql, shell], "/user.slice/user-1000.slice/session-3.scope");
    let actor = actor(&facts, &known());
    assert_eq!(actor.kind, Kind::Terminal);
    assert_eq!(actor.confidence, Some(Confidence::Certain));
    assert_eq!(actor.reason, "it has the terminal pts/3");
    assert_eq!(actor.program.capabilities, ["NET_RAW", "SYS_ADMIN"]);
    assert!(actor.ancestry.len() == 1 && !actor.ancestry_cut);
    let parent = &actor.ancestry[0];
    assert_eq!((parent.gid, parent.group.as_deref()), (100, Some("users")));
    assert_eq!(parent.login_session, Some(3));
    assert_eq!(actor.ancestry[0].script.as_deref(), Some("/srv/nightly.sh"));
    assert_eq!(actor.ancestry[0].command, "/bin/bash ./nightly.sh");
    assert_eq!((actor.boot.as_str(), actor.complete), ("boot", true));
}

/// The largest flow that there can be, as the channel carries it.
#[test]
fn the_largest_actor_fits_a_message() {
    let long = "ö".repeat(4000);
    let mut one = of_user(1, &long, seen(1, 2, &format!("/{long}"), &long));
    one.comm = long.clone();
    one.folder = Some(long.clone().into());
    one.terminal = Some(long.clone());
    one.script = Some(long.clone());
    one.group = Some(long.clone());
    one.login_uid = Some(1);
    one.login_user = Some(long.clone());
    (one.gid, one.login_session) = (u32::MAX, Some(u32::MAX));
    one.effective = u64::MAX;
    one.file = Some(crate::model::ProgramFile {
        device: u64::MAX,
        inode: u64::MAX,
        build_id: Some("f".repeat(128)),
        sha256: Some("f".repeat(64)),
        ..Default::default()
    });
    let mut facts = facts(vec![one; 99], "/");
    facts.environment.resource =
        Some((0..99).map(|n| format!("{n}{long}={long},")).collect::<String>());
    let directory =
        (0..99).map(|n| format!("[users.{n}]\nteams = [\"{n}{long}\"]\n")).collect::<String>();
    let known = Known {
        kinds: Kinds::own().unwrap(),
        directory: Directory::parse(&directory, "d").unwrap(),
    };
    let mut actor = actor(&facts, &known);
    for number in 0..99 {
        actor.enrich(Attribute {
            name: format!("{number}{long}"),
            value: long.clone(),
            origin: Origin::Statement,
            confidence: Confidence::Claimed,
        });
    }
    for name in 0..crate::model::MOST_GROUPS {
        actor.groups.push(format!("{name}{}", "g".repeat(46)));
    }
    actor.teams = actor.groups.clone();
    assert_eq!(actor.attributes.len(), MOST_ATTRIBUTES);
    assert!(actor.ancestry.len() == MOST_ANCESTORS && actor.ancestry_cut);
    let text = |length: usize| Some("x".repeat(length));
    let mut flow = samples::flow();
    flow.process = Process {
        // What the hook keeps, each byte the worst character.
        command: vec!["\u{fffd}".repeat(512)],
        exe: Some("x".repeat(1024).into()),
        cgroup: text(1024),
        workload: Workload {
            unit: text(255),
            container: text(64),
            pod: text(64),
            slice: text(255),
            user_slice: Some(u32::MAX),
            runtime: text(10),
            outer: vec!["x".repeat(64); 4],
            qos: Some(Qos::BestEffort),
            image: text(LONGEST_VALUE),
            image_digest: text(7 + 128),
            image_id: text(7 + 64),
            container_name: text(LONGEST_VALUE),
            pod_name: text(LONGEST_VALUE),
            namespace: text(LONGEST_VALUE),
            managed: Some(true),
            labels: vec![("x".repeat(48), "x".repeat(48)); 12],
        },
        ..flow.process
    };
    flow.actor = actor.into();
    let bytes = postcard::to_stdvec(&flow).unwrap();
    assert!(bytes.len() < 32 * 1024 - 256, "{} bytes", bytes.len());
    assert_eq!(postcard::from_bytes::<crate::model::Flow>(&bytes).unwrap(), flow);
    assert_eq!(flow.actor.ancestry[0].relation, Relation::Parent);
}
