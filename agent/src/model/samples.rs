//! One of each thing, for tests of what shows or carries them.

use super::{
    Actor, Adopted, Ancestor, Approver, Attribute, CanaryReport, Carried, Closing, Confidence,
    DestinationReport, EnforcerReport, Event, EventKind, Fences, Flow, FlowId, HOLD_SCHEMA, Hold,
    HoldApproval, HoldAsked, HoldEvent, HoldGrant, HoldId, HoldLiteral, HoldParameter, HoldState,
    HoldStep, HookReport, Kind, LogReport, Losses, Mode, NamespaceReport, Origin,
    OriginalDestination, ParsersReport, Peer, Person, PolicyMode, PolicyReport, Process,
    ProcessKey, Program, ProgramFile, Provenance, Reach, RefusedWhy, Relation, SocketKind, Source,
    Sourced, StatusReport, Timestamp, TlsCarried, Varying, Verdict, Via, Workload,
};

pub const AT: Timestamp = Timestamp(1_795_222_800_123_456_000);

pub fn process() -> Process {
    Process {
        key: ProcessKey { tgid: 4242, started: 9_000_000_000, exec: 3 },
        tid: 4243,
        uid: 1000,
        gid: 1000,
        user: Some("alice".into()),
        comm: "psql".into(),
        command: vec!["psql".into(), "-h".into(), "db.example".into(), "shop".into()],
        command_cut: false,
        command_source: Source::Kernel,
        exe: Some("/usr/lib/postgresql/15/bin/psql".into()),
        parent: Some(4000),
        login_uid: Some(1000),
        cgroup_id: 77,
        cgroup: Some("/user.slice/user-1000.slice/session-2.scope".into()),
        workload: Workload {
            unit: Some("session-2.scope".into()),
            slice: Some("user-1000.slice".into()),
            user_slice: Some(1000),
            ..Workload::default()
        },
    }
}

pub fn actor() -> Actor {
    let sourced = |value: &str, origin, confidence| {
        Some(Sourced { value: value.to_owned(), origin, confidence })
    };
    Actor {
        kind: Kind::Terminal,
        name: None,
        confidence: Some(Confidence::Certain),
        reason: "it has the terminal pts/3".into(),
        complete: true,
        boot: "0f0e6e3c-54a5-4b6c-8f3e-9a7d5b1c2d3e".into(),
        program: Program {
            file: Some(ProgramFile {
                device: 2049,
                inode: 131,
                build_id: Some("9f86d081884c7d65".into()),
                sha256: Some(
                    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
                ),
                ..ProgramFile::default()
            }),
            script: None,
            folder: Some("/home/alice".into()),
            group: Some("alice".into()),
            terminal: Some("pts/3".into()),
            login_session: Some(2),
            capabilities: Vec::new(),
        },
        ancestry: vec![Ancestor {
            pid: 4000,
            started: 8_000_000_000,
            relation: Relation::Parent,
            ended: false,
            uid: 1000,
            gid: 1000,
            user: Some("alice".into()),
            group: Some("alice".into()),
            comm: "bash".into(),
            exe: Some("/usr/bin/bash".into()),
            file: None,
            command: "-bash".into(),
            script: None,
            folder: Some("/home/alice".into()),
            terminal: Some("pts/3".into()),
            login_uid: Some(1000),
            login_session: Some(2),
            capabilities: Vec::new(),
        }],
        ancestry_cut: false,
        person: Some(Person {
            via: Via::Ssh,
            user: sourced("alice", Origin::Kernel, Confidence::Certain),
            login_uid: Some(1000),
            address: sourced("192.0.2.7", Origin::Kernel, Confidence::Certain),
            key: sourced("SHA256:abc", Origin::Log, Confidence::Certain),
            switches: Vec::new(),
            name: Some("Alice Example".into()),
        }),
        teams: vec!["payments".into()],
        groups: vec!["dba".into()],
        sources: vec![Provenance {
            facts: "process".into(),
            origin: Origin::Hook,
            confidence: Confidence::Certain,
        }],
        attributes: vec![Attribute {
            name: "otel.service.name".into(),
            value: "shop".into(),
            origin: Origin::Process,
            confidence: Confidence::Claimed,
        }],
    }
}

pub fn flow() -> Flow {
    Flow {
        id: FlowId { cookie: 0x51, connected_at: 0x2f00 },
        opened: AT,
        process: process(),
        actor: actor().into(),
        client: Peer("10.0.0.2:40112".parse().unwrap()),
        destination: OriginalDestination("10.0.0.7:5432".parse().unwrap()),
        netns: 1,
        rule: "db.example:5432".into(),
        mode: Mode::Strict,
        socket: SocketKind::Ipv4,
        generation: 1,
    }
}

/// One event of every kind.
pub fn events() -> Vec<Event> {
    let flow = || std::sync::Arc::new(flow());
    let closing = Closing {
        flow: self::flow().id,
        bytes_up: 1_234,
        bytes_down: 5_678_901,
        duration_us: 12_345_678,
        end: super::End::Closed,
        carried: Some(Box::new(Carried {
            client_tls: Some(TlsCarried {
                version: "1.3".into(),
                suite: "TLS13_AES_256_GCM_SHA384".into(),
            }),
            upstream_tls: Some(TlsCarried {
                version: "1.3".into(),
                suite: "TLS13_AES_256_GCM_SHA384".into(),
            }),
            verified: Some("full: `db.example`".into()),
            leaf: Some("signed".into()),
            asked_name: Some("db.example".into()),
            version: Some("3.0".into()),
            role: Some("app".into()),
            database: Some("shop".into()),
            application: Some("psql".into()),
            auth: Some(
                "through (nothing stands in the way): client scram-sha-256, server scram-sha-256"
                    .into(),
            ),
            ..Carried::default()
        })),
    };
    let hold = HoldEvent {
        id: HoldId("lus-bab".into()),
        step: HoldStep::Approved,
        policies: vec!["default/unbounded".into()],
        approvers: vec!["approvers".into()],
        database: "shop".into(),
        role: "app".into(),
        waits: true,
        by: Some(approver()),
        reason: Some("ticket 7".into()),
        reach: Some(Reach::default()),
        why: None,
    };
    let process = || Box::new(process());
    let destination = OriginalDestination("[2001:db8::7]:5432".parse().unwrap());
    [
        EventKind::Opened { flow: flow() },
        EventKind::Closed { flow: flow(), closing },
        EventKind::Failed { flow: flow(), error: "connection refused".into() },
        EventKind::Refused {
            why: RefusedWhy::DirectDial,
            process: process(),
            destination,
            netns: 4_026_531_840,
        },
        EventKind::Direct { process: process(), destination, netns: 1 },
        EventKind::Existing {
            process: process(),
            destination,
            client: Peer("[2001:db8::2]:40112".parse().unwrap()),
            mode: Mode::Permissive,
            adopted: true,
        },
        EventKind::Hold { flow: flow(), hold: Box::new(hold) },
    ]
    .into_iter()
    .map(|kind| Event { schema: super::EVENT_SCHEMA, at: AT, kind })
    .collect()
}

pub fn status() -> StatusReport {
    StatusReport {
        schema: super::STATUS_SCHEMA,
        version: "0.1.0".into(),
        started: Timestamp(AT.0 - 3_723_000_000_000),
        keeper: 812,
        verdict: Verdict::Healthy,
        cgroup: "/sys/fs/cgroup".into(),
        listen_port: 15_999,
        generation: 2,
        policy: PolicyReport {
            mode: PolicyMode::Enforce,
            generation: Some("0f3a9c5512d4e860".into()),
            bare: false,
            packs: vec!["ai-agents".into()],
            files: vec!["/etc/tidegate/policies/shop.cedar".into()],
            enforced: vec!["shop.service".into()],
        },
        canary: CanaryReport { crossed: 7_000, failed: 1, last: Some(AT), last_error: None },
        hooks: vec![
            HookReport { name: "connect4".into(), attached: true, cost: None },
            HookReport {
                name: "exec".into(),
                attached: false,
                cost: Some("an exec is seen a moment later".into()),
            },
        ],
        destinations: vec![
            DestinationReport {
                name: "5432".into(),
                mode: Mode::Strict,
                addresses: vec![],
                error: None,
            },
            DestinationReport {
                name: "db.example:3306".into(),
                mode: Mode::Permissive,
                addresses: vec!["10.0.0.8".into(), "10.0.0.9".into()],
                error: Some("the name server does not answer".into()),
            },
        ],
        namespaces: vec![
            NamespaceReport { cookie: 1, inode: 4_026_531_840, host: true, open: 3 },
            NamespaceReport { cookie: 8_193, inode: 4_026_532_210, host: false, open: 0 },
        ],
        enforcers: vec![EnforcerReport {
            pid: 815,
            started: Timestamp(AT.0 - 3_722_000_000_000),
            version: "0.1.0".into(),
            draining: false,
            sessions: 3,
            restarts: 0,
            fences: Some(Fences {
                uid: 61_843,
                no_capabilities: true,
                no_new_privs: true,
                not_dumpable: true,
                landlock: "full".into(),
                seccomp: "full".into(),
            }),
            parsers: ParsersReport { pids: vec![816, 817], lost: 1, trouble: None },
        }],
        open: 3,
        connecting: 1,
        losses: Losses {
            events: 0,
            direct: 0,
            refused: 4,
            dropped_packets: 2,
            over_quota: 0,
            untold: 0,
        },
        log: LogReport { enabled: true, records: 91_204, lost: 0, trouble: None },
        adopted: vec![Adopted {
            process: process(),
            client: Peer("10.0.0.2:39000".parse().unwrap()),
            destination: OriginalDestination("10.0.0.7:5432".parse().unwrap()),
        }],
        powerful: vec![process()],
        notes: vec!["lockdown=integrity: nothing is lost by it".into()],
    }
}

pub fn approver() -> Approver {
    Approver { uid: 0, user: Some("root".into()), login_uid: Some(1001), login: Some("bob".into()) }
}

/// Two that wait, and one that was approved.
pub fn holds() -> Vec<Hold> {
    let text = "DELETE FROM orders\nWHERE placed < '2020-01-01' AND shop = $1 OR 7 = 7";
    let literal = |of: &str| {
        let start = text.find(of).unwrap();
        let number = |at: usize| u32::try_from(at).unwrap();
        HoldLiteral { start: number(start), end: number(start + of.len()) }
    };
    let end = u32::try_from(text.len()).unwrap();
    let last = HoldLiteral { start: end - 1, end };
    let first = literal("7 = 7");
    let asked = HoldAsked {
        database: "shop".into(),
        role: "app".into(),
        text: text.into(),
        literals: vec![
            literal("'2020-01-01'"),
            HoldLiteral { end: first.start + 1, ..first },
            last,
        ],
        parameters: vec![HoldParameter::Text("it's \u{1b}[2J".into()), HoldParameter::Null],
        types: vec![0, 25],
        settings: "search_path (default), standard_conforming_strings on".into(),
        why: "tidegate: delete on `public.orders` needs an approval: it changes every row".into(),
        policies: vec!["default/unbounded".into()],
        approvers: vec!["approvers".into(), "group:dba".into()],
    };
    let since = Timestamp(AT.0 - 90_000_000_000);
    let hold = Hold {
        schema: HOLD_SCHEMA,
        id: HoldId("lus-bab".into()),
        state: HoldState::Waiting,
        since,
        until: Timestamp(since.0 + 900_000_000_000),
        waits: true,
        times: 1,
        flow: flow().into(),
        asked: asked.into(),
        approvals: Vec::new(),
        grant: None,
    };
    let approval = HoldApproval {
        at: AT,
        by: approver(),
        reason: "ticket 7".into(),
        covers: vec!["approvers".into()],
        reach: Reach { for_ms: Some(3_600_000), vary: vec![Varying::Literal(1)] },
    };
    let until = Timestamp(AT.0 + 3_600_000_000_000);
    let grant = HoldGrant { until, once: false, vary: vec![Varying::Literal(1)], used: 3 };
    let refused = Hold { id: HoldId("dov-kun".into()), waits: false, times: 4, ..hold.clone() };
    let approved = Hold {
        id: HoldId("mir-tas".into()),
        state: HoldState::Approved { at: AT },
        approvals: vec![approval],
        grant: Some(grant),
        ..refused.clone()
    };
    vec![hold, refused, approved]
}
