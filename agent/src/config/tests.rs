use super::*;
use crate::model::{Durability, LogTerms, PolicyMode, Pooling, TextKept};

fn mistakes(text: &str) -> Vec<String> {
    match parse(text, "tidegate.toml") {
        Ok(settings) => panic!("no mistake found: {settings:?}"),
        Err(mistakes) => mistakes.to_string().lines().map(str::to_owned).collect(),
    }
}

#[track_caller]
fn only(text: &str, expected: &str) {
    assert_eq!(mistakes(text), [expected], "{text}");
}

fn target(text: &str) -> ProtectTarget {
    ProtectTarget::parse(text).unwrap()
}

#[test]
fn nothing_written_is_the_default() {
    assert_eq!(parse("", "tidegate.toml").unwrap(), Settings::default());
}

#[test]
fn the_packaged_example_is_the_default_and_shows_every_key() {
    let text = include_str!("../../../packaging/tidegate.toml");
    assert_eq!(parse(text, "tidegate.toml").unwrap(), Settings::default());
    let everything = text.replace("# cgroup = ", "cgroup = ");
    let document = toml_edit::Document::parse(everything.as_str()).unwrap();
    let keys: Vec<&str> = document.as_table().iter().map(|(key, _)| key).collect();
    let mut sorted: Vec<&str> = keys.clone();
    sorted.sort_unstable();
    let mut known = file::TOP.to_vec();
    known.sort_unstable();
    assert_eq!(sorted, known);
    let enforcer = document.as_table()["enforcer"].as_table_like().unwrap();
    assert_eq!(enforcer.iter().count(), file::ENFORCER.len());
    let ca = document.as_table()["ca"].as_table_like().unwrap();
    assert_eq!(ca.iter().count(), file::CA.len());
    let policy = document.as_table()["policy"].as_table_like().unwrap();
    assert_eq!(policy.iter().count(), file::POLICY.len());
    let everything =
        everything.replace("# directory = ", "directory = ").replace("# kinds = ", "kinds = ");
    let document = toml_edit::Document::parse(everything.as_str()).unwrap();
    let identity = document.as_table()["identity"].as_table_like().unwrap();
    assert_eq!(identity.iter().count(), file::IDENTITY.len());
    let audit = document.as_table()["audit"].as_table_like().unwrap();
    assert_eq!(audit.iter().count(), file::AUDIT.len());
    let approvals = document.as_table()["approvals"].as_table_like().unwrap();
    assert_eq!(approvals.iter().count(), approvals::APPROVALS.len() - 1, "all but `group`");
    // What is commented out of a destination is right too, but for the paths.
    let commented: String = text
        .lines()
        .skip_while(|line| !line.contains("[[protect]]"))
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{}\n", line.trim_start_matches(['#', ' '])))
        .filter(|line| line.starts_with("[[") || line.split(' ').nth(1) == Some("="))
        .collect();
    let settings = parse(&commented, "commented").unwrap();
    let document = toml_edit::Document::parse(commented.as_str()).unwrap();
    let keys = document.as_table()["protect"].as_array_of_tables().unwrap().get(0).unwrap().len();
    assert_eq!(keys, file::PROTECT.len() - 2, "all but `mode` and `exclude`");
    assert_eq!(settings.protect[0].service.auth.logins[0].role, "app");
}

#[test]
fn every_setting_can_be_written() {
    let text = r#"
cgroup = "/sys/fs/cgroup/apps"
bpffs = "/run/bpf"
listen_port = 16000
control = "/run/tg.sock"
logins = "/run/logins"
classes = "/run/classes"
on_existing = "kill"
protect = [
    5433,
    "5432,permissive",
    "DB.Example.:5432",
    "10.0.0.0/8:5432",
    { to = "[2001:db8::/32]:5432", mode = "permissive" },
    { to = "10.0.0.7:5432", exclude = true },
    "[::ffff:192.0.2.1]:3306",
]
canary_every = "1s"
resolve_every = "1m30s"
resolve_grace = "0s"
quota_user = 10
quota_cgroup = 20
debug_programs = true
[identity]
runtimes = []
directory = "/etc/people.toml"
kinds = "/etc/kinds.toml"
kubelet = "/srv/kubelet"
pod_logs = "/srv/pods"
[enforcer]
user = "gate"
workers = 4
drain = "2h"
[policy]
mode = "shadow"
folder = "/srv/policies"
packs = ["read-only", "ai-agents"]
bare = true
enforce = ["shop.service", "/usr/bin/report"]
"#;
    let protect = |name: &str, target: ProtectTarget, mode, exclude| Protect {
        name: name.into(),
        service: Service::of(protect::usual_protocol(target.port())),
        target,
        mode,
        exclude,
        environment: None,
    };
    let net = |address: &str, prefix, port| ProtectTarget::Network {
        address: address.parse().unwrap(),
        prefix,
        port,
    };
    let (strict, permissive) = (Mode::Strict, Mode::Permissive);
    let host = ProtectTarget::Host { host: "db.example".into(), port: 5432 };
    assert_eq!(
        parse(text, "tidegate.toml").unwrap(),
        Settings {
            cgroup: Some("/sys/fs/cgroup/apps".into()),
            bpffs: "/run/bpf".into(),
            listen_port: 16_000,
            control: "/run/tg.sock".into(),
            enforcer: EnforcerSettings {
                user: "gate".into(),
                workers: 4,
                drain: Duration::from_secs(7200),
            },
            on_existing: OnExisting::Kill,
            protect: vec![
                protect("5433", ProtectTarget::Port(5433), strict, false),
                protect("5432", ProtectTarget::Port(5432), permissive, false),
                protect("DB.Example.:5432", host, strict, false),
                protect("10.0.0.0/8:5432", net("10.0.0.0", 8, 5432), strict, false),
                protect("[2001:db8::/32]:5432", net("2001:db8::", 32, 5432), permissive, false),
                protect("10.0.0.7:5432", net("10.0.0.7", 32, 5432), strict, true),
                protect("[::ffff:192.0.2.1]:3306", net("192.0.2.1", 32, 3306), strict, false),
            ],
            passthrough: Vec::new(),
            ca: CaSettings::default(),
            audit: AuditSettings::default(),
            approvals: ApprovalSettings::default(),
            identity: IdentitySettings {
                directory: Some("/etc/people.toml".into()),
                kinds: Some("/etc/kinds.toml".into()),
                runtimes: Vec::new(),
                kubelet: "/srv/kubelet".into(),
                pod_logs: "/srv/pods".into(),
            },
            logins: "/run/logins".into(),
            classes: ClassSettings { file: "/run/classes".into(), words: Vec::new() },
            policy: PolicySettings {
                mode: PolicyMode::Shadow,
                folder: "/srv/policies".into(),
                packs: vec!["read-only".into(), "ai-agents".into()],
                bare: true,
                enforced: vec!["shop.service".into(), "/usr/bin/report".into()],
                ..PolicySettings::default()
            },
            canary_every: Duration::from_secs(1),
            resolve_every: Duration::from_secs(90),
            resolve_grace: Duration::ZERO,
            quota_user: 10,
            quota_cgroup: 20,
            debug_programs: true,
        }
    );
}

#[test]
fn tables_may_be_written_either_way() {
    let inline = "enforcer = { workers = 2 }\nprotect = [{ to = 5432, mode = \"permissive\" }]";
    let long = "[enforcer]\nworkers = 2\n[[protect]]\nto = \"5432\"\nmode = \"permissive\"";
    assert_eq!(parse(inline, "a").unwrap(), parse(long, "b").unwrap());
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_lines() {
    let text = r#"listen_port = "15999"
protct = ["5432"]
protect = ["5432", "5432,permissive", "10.0.0.1/8:5432", true, "15999"]
on_existing = "kil"
canary_every = 0
resolve_every = "0s"
cgroup = "sys/fs/cgroup"
drain = "10m"
debug_programs = 1

[enforcer]
workers = 1025
usr = "tidegate"
drain = "10 minutes"
listen_port = 3
"#;
    let expected = r#"
tidegate.toml:1:15: `listen_port`: it must be a whole number from 1 to 65535, not a string: take off the quotes
tidegate.toml:2:1: unknown key `protct`: did you mean `protect`?
tidegate.toml:3:20: `5432` is permissive here and strict at line 3: choose one
tidegate.toml:3:39: `10.0.0.1/8:5432` has bits behind its prefix: write `10.0.0.0/8:5432` for the network, or `10.0.0.1:5432` for the one address
tidegate.toml:3:58: a destination is a string or a table, not a boolean
tidegate.toml:3:64: `15999` is on the listeners' own port: protect another, or move `listen_port`
tidegate.toml:4:15: `on_existing`: unknown value `kil`: did you mean `kill`?
tidegate.toml:5:16: `canary_every`: `0` has no unit: write "0ms" or "0s"
tidegate.toml:6:17: `resolve_every`: `0s` is out of range: from 1s to 1d
tidegate.toml:7:10: `cgroup`: `sys/fs/cgroup` is not an absolute path: begin it with `/`
tidegate.toml:8:1: unknown key `drain`: it belongs in the table [enforcer]
tidegate.toml:9:18: `debug_programs`: it must be true or false, not an integer
tidegate.toml:12:11: `workers`: `1025` is out of range: from 0 to 1024
tidegate.toml:13:1: unknown key `usr` in [enforcer]: did you mean `user`?
tidegate.toml:14:9: `drain`: `10 minutes` is not a duration (its unit is missing): write `500ms`, `30s`, `10m` or `1h30m`
tidegate.toml:15:1: unknown key `listen_port` in [enforcer]: it belongs above the first table
"#;
    assert_eq!(mistakes(text).join("\n"), expected.trim());
}

#[test]
fn broken_toml_names_its_line() {
    let found = mistakes("listen_port = 15999\nprotect = [\"5432\"\n[enforcer]\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("tidegate.toml:3:"), "{}", found[0]);
    assert!(found[0].contains("this is not TOML: "), "{}", found[0]);
    let found = mistakes("# é\nlisten_port = 1\nlisten_port = 2\n");
    assert!(found[0].starts_with("tidegate.toml:3:1: "), "{}", found[0]);
    // Columns count characters.
    let found = mistakes("protect = [\"é\", \"x\"]");
    assert!(found[1].starts_with("tidegate.toml:1:17: "), "{}", found[1]);
}

#[test]
fn contradictions_between_destinations_are_found() {
    only(
        "protect = [\"5432\", \"6432\",\n \"5432\"]",
        "tidegate.toml:2:2: `5432` is named twice, first at line 1: take one out",
    );
    only(
        "protect = [\"db.example:5432\",\n \"DB.EXAMPLE.:5432,permissive\"]",
        "tidegate.toml:2:2: `DB.EXAMPLE.:5432` is permissive here and strict at line 1: choose one",
    );
    only(
        "protect = [\"10.0.0.1:5432\",\n \"[::ffff:10.0.0.1]:5432,exclude\"]",
        "tidegate.toml:2:2: `[::ffff:10.0.0.1]:5432` is excluded here and strict at line 1: choose one",
    );
    only(
        "protect = [\"10.0.0.0/8:5432\", \"11.0.0.1:5432,exclude\"]",
        "tidegate.toml:1:31: `11.0.0.1:5432` is excluded, and nothing wider protects it: take it out",
    );
    only(
        "protect = []",
        "tidegate.toml:1:11: nothing is protected: name a destination, such as `5432`",
    );
    only(
        "listen_port = 5432",
        "tidegate.toml:1:15: the listeners' port 5432 is protected by default: choose another",
    );
    only(
        "protect = [{ to = \"5432\" }, { to = \"[2001:db8::1]:5432\", mode = \"strict\", exclude = true }]",
        "tidegate.toml:1:65: an excluded destination has no mode: take out `mode`, or `exclude`",
    );
}

#[test]
fn a_hole_may_be_in_anything_that_could_hold_it() {
    for text in [
        "protect = [\"5432\", \"10.0.0.7:5432,exclude\", \"db.example:5432,exclude\"]",
        "protect = [\"10.0.0.0/8:5432\", \"10.9.0.0/16:5432,exclude\", \"db:5432,exclude\"]",
        "protect = [\"db:5432\", \"10.0.0.7:5432,exclude\"]",
    ] {
        parse(text, "tidegate.toml").unwrap();
    }
}

#[test]
fn what_is_no_destination_says_what_one_is() {
    for (text, expected) in [
        (
            "",
            "a destination is missing: write `5432`, `db.example:5432`, `10.0.0.0/8:5432` or `[2001:db8::/32]:5432`",
        ),
        ("0", "`0` is not a port: they go from 1 to 65535"),
        ("65536", "`65536` is not a port: they go from 1 to 65535"),
        ("-5432", "`-5432` has no port: write `-5432:5432`"),
        ("db.example", "`db.example` has no port: write `db.example:5432`"),
        ("db:pg", "`pg` in `db:pg` is not a port: they go from 1 to 65535"),
        ("db:+1", "`+1` in `db:+1` is not a port: they go from 1 to 65535"),
        ("*:5432", "`*:5432`: a port on any address is written `5432`"),
        ("10.0.0.300:1", "`10.0.0.300` is not an IPv4 address, and no host name ends in a number"),
        (
            "a b:1",
            "`a b` is neither an address nor a host name: write `5432`, `db.example:5432`, `10.0.0.0/8:5432` or `[2001:db8::/32]:5432`",
        ),
        (
            "2001:db8::1:5432",
            "`2001:db8::1:5432` leaves open where the address ends: write IPv6 as `[2001:db8::1]:5432`",
        ),
        ("[2001:db8::1", "`[2001:db8::1` has no `]`: write `[2001:db8::1]:5432`"),
        ("[2001:db8::1]", "`[2001:db8::1]` has no port: write `[2001:db8::1]:5432`"),
        ("[db]:1", "`db` in `[db]:1` is not an IP address"),
        ("10.0.0.0/33:1", "`/33` in `10.0.0.0/33:1` is not a prefix of 0 to 32"),
        (
            "[2001:db8::1/32]:1",
            "`[2001:db8::1/32]:1` has bits behind its prefix: write `[2001:db8::/32]:1` for the network, or `[2001:db8::1]:1` for the one address",
        ),
        (
            "[::/0]:5432",
            "`[::/0]:5432` would take in every IPv4 address too (the kernel keeps them in ::ffff:0:0/96): write `5432` for both, or `[2000::/3]:5432` for global IPv6",
        ),
        ("5432,permisive", "unknown option `permisive`: did you mean `permissive`?"),
        (
            "5432,x",
            "unknown option `x`: it is one of `strict`, `permissive`, `exclude`, `postgres`, `unread`, `environment=NAME`",
        ),
        (
            "5432,env=staging",
            "unknown option `env=staging`: it is one of `strict`, `permissive`, `exclude`, `postgres`, `unread`, `environment=NAME`",
        ),
        ("5432,environment=Staging", "an environment is written in lower case: write `staging`"),
        (
            "5432,environment=a,environment=b",
            "`5432,environment=a,environment=b` says `environment=a` and more: choose one",
        ),
        (
            "5432,exclude,environment=a",
            "`5432,exclude,environment=a`: what is left alone has no environment: take out `environment=a`",
        ),
        (
            "5432,postgres,unread",
            "`5432,postgres,unread` says both `postgres` and `unread`: choose one",
        ),
        (
            "5432,unread,exclude",
            "`5432,unread,exclude`: what is left alone is not read: take out `unread`",
        ),
        (
            "5432,strict,exclude",
            "`5432,strict,exclude` says both `strict` and `exclude`: choose one",
        ),
    ] {
        assert_eq!(protect::parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_target_holds_its_addresses() {
    let holds = |text: &str, address: &str| {
        let address: std::net::SocketAddr = address.parse().unwrap();
        target(text).holds(address.ip(), address.port())
    };
    assert!(holds("5432", "10.0.0.1:5432") && holds("5432", "[::1]:5432"));
    assert!(!holds("5432", "10.0.0.1:5433"));
    assert!(holds("10.0.0.0/8:5432", "10.255.0.1:5432"));
    assert!(!holds("10.0.0.0/8:5432", "11.0.0.1:5432"));
    assert!(!holds("0.0.0.0/0:5432", "[2001:db8::1]:5432"));
    assert!(holds("[2001:db8::/32]:1", "[2001:db8:1::1]:1"));
}

#[test]
fn durations_are_read_and_written() {
    for (text, millis) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        assert_eq!(write_duration(Duration::from_millis(millis)), text);
    }
    assert_eq!(write_duration(Duration::ZERO), "0s");
    let week = parse_duration("1w").unwrap();
    assert_eq!((week, write_duration(week)), (parse_duration("7d").unwrap(), "7d".to_owned()));
    for text in [
        "",
        "10",
        "s",
        "1x",
        "1m1h",
        "1s1s",
        "-1s",
        "1.5s",
        "99999999999999999999s",
        "213503982335d1",
    ] {
        let error = parse_duration(text).unwrap_err();
        assert!(error.contains("write `500ms`"), "{error}");
    }
}

#[test]
fn flags_win_over_the_file_and_pass_the_same_checks() {
    let folder = std::env::temp_dir().join(format!("tidegate-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tidegate.toml");
    std::fs::write(&file, "listen_port = 16000\nprotect = [\"5432\", \"6432\"]\n").unwrap();
    let overrides = Overrides {
        listen_port: Some(17_000),
        protect: vec!["3306,permissive".into()],
        ..Overrides::default()
    };
    let settings = resolve(Some(&file), overrides).unwrap();
    assert_eq!(settings.listen_port, 17_000);
    assert_eq!(settings.protect.len(), 1);
    assert_eq!(settings.protect[0].mode, Mode::Permissive);
    // A contradiction between the file and a flag.
    let overrides = Overrides { listen_port: Some(6432), ..Overrides::default() };
    assert_eq!(
        resolve(Some(&file), overrides).unwrap_err().to_string(),
        format!(
            "{}:2:20: `6432` is on the listeners' own port: protect another, or move `listen_port`",
            file.display()
        )
    );
    let overrides = Overrides {
        cgroup: Some("here".into()),
        protect: vec!["x".into(), "5432".into()],
        ..Overrides::default()
    };
    assert_eq!(
        resolve(Some(&file), overrides).unwrap_err().to_string(),
        "--cgroup (TIDEGATE_CGROUP): `here` is not an absolute path: begin it with `/`\n\
         --protect (TIDEGATE_PROTECT): `x` has no port: write `x:5432`"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = resolve(Some(&file), Overrides::default()).unwrap_err().to_string();
    assert!(gone.contains("write it, or leave out `--config`"), "{gone}");
    assert_eq!(load(&file).unwrap_err().to_string(), gone);
}

#[test]
fn the_enforcer_is_never_root() {
    only(
        "enforcer.user = \"root\"",
        "tidegate.toml:1:17: `user`: the enforcer never runs as root: name a user of its own, such as `tidegate`",
    );
}

#[test]
fn what_is_spoken_follows_from_the_port_where_nothing_is_said() {
    for (text, protocol) in [
        ("5432", Protocol::Postgres),
        ("6432", Protocol::Postgres),
        ("3306", Protocol::Unread),
        ("redis.example:6379", Protocol::Unread),
        ("10.0.0.0/8:27017", Protocol::Unread),
        ("3306,postgres", Protocol::Postgres),
        ("5432,permissive,unread", Protocol::Unread),
        ("5432,unread,strict", Protocol::Unread),
    ] {
        assert_eq!(protect::parse(text).unwrap().service.protocol, protocol, "{text}");
    }
    let settings = parse("protect = [{ to = 3306 }, { to = 3307, protocol = \"unread\" }]", "f");
    let protocols: Vec<_> =
        settings.unwrap().protect.iter().map(|one| one.service.protocol).collect();
    assert_eq!(protocols, [Protocol::Unread, Protocol::Unread]);
}

#[test]
fn an_account_that_reads_catalogs_is_a_role_and_a_file() {
    let found = mistakes("protect = [{ to = 5432, catalog = { roll = \"x\" } }]");
    assert_eq!(
        found,
        [
            "tidegate.toml:1:37: `catalog` needs `password_file`",
            "tidegate.toml:1:37: `catalog` needs `role`",
            "tidegate.toml:1:37: unknown key `roll` of `catalog`: did you mean `role`?"
        ]
    );
    let unread = "protect = [{ to = 6379, catalog = { role = \"x\", password_file = \"/p\" } }]";
    assert!(mistakes(unread)[0].contains("`catalog` has no meaning where nothing is read"));
}

#[test]
fn whether_a_session_keeps_its_server_is_said_of_a_destination() {
    let text = "protect = [{ to = 5432 }, { to = 6432, pooling = \"session\" }]";
    let settings = parse(text, "f").unwrap();
    let said: Vec<_> = settings.protect.iter().map(|one| one.service.pooling).collect();
    assert_eq!(said, [Pooling::Auto, Pooling::Session]);
    for (said, told) in [
        ("to = 5432, pooling = \"sesion\"", "unknown value `sesion`: did you mean `session`?"),
        ("to = 3306, pooling = \"session\"", "`pooling` has no meaning where nothing is read"),
    ] {
        let found = mistakes(&format!("protect = [{{ {said} }}]"));
        assert!(found.len() == 1 && found[0].contains(told), "{found:?}");
    }
    let found = mistakes("pooling = \"session\"\nprotect = [5432]");
    assert!(found[0].contains("it belongs to a destination"), "{found:?}");
}

#[test]
fn all_mistakes_of_a_destination_are_told_at_once() {
    let text = r#"verify = "full"
[[protect]]
to = "db.example:5432"
protocol = "postgress"
verify = "peer"
roots = "roots.pem"
server_name = "a b"
client_cert = "/etc/a.crt"
upstream_tls = "allways"
auth = "md5"
cleartext = "forbit"
auth_query = { rôle = "x", role = "", query = "SELECT 1" }
login = [{ role = "x", from = "hunter2" }, { role = "x", from = "file:p", exe = "psql", unit = "app" }]
[[protect]]
to = 5433
verify = "none"
roots = "/etc/roots.pem"
auth = "cleartext"
cleartext = "forbid"
verifiers = "/etc/roles"
[[protect.login]]
role = "a"
from = "file:/etc/p"
[[protect.login]]
role = "b"
from = "file:/etc/p"
user = "app"
[[protect]]
to = 3306
verify = "ca"
[[protect]]
to = "10.0.0.1:5433"
exclude = true
protocol = "unread"
roots = "/etc/roots.pem"
[[passthrough]]
to = "db.example:5432"
[[passthrough]]
exe = "/usr/bin/psql"
to = "10.0.0.1:5433"
[ca]
cert = "/etc/ca.crt"
key = "ca.key"
"#;
    let expected = r#"
tidegate.toml:1:1: unknown key `verify`: it belongs to a destination, behind [[protect]]
tidegate.toml:4:12: `protocol`: unknown protocol `postgress`: did you mean `postgres`?
tidegate.toml:5:10: `verify`: unknown value `peer`: it is one of `mirror`, `full`, `ca`, `none`
tidegate.toml:6:9: `roots`: `roots.pem` is not an absolute path: begin it with `/`
tidegate.toml:7:15: `server_name`: `a b` is neither a host name nor an address, such as `db.example`
tidegate.toml:8:15: `client_cert` needs its key: write `client_key = "…"` too
tidegate.toml:9:16: `upstream_tls`: unknown value `allways`: did you mean `always`?
tidegate.toml:10:8: `auth`: unknown value `md5`: it is one of `auto`, `through`, `verifier`, `cleartext`
tidegate.toml:11:13: `cleartext`: unknown value `forbit`: did you mean `forbid`?
"#;
    // An identifier with an umlaut is no bare key of TOML.
    let found = mistakes(text);
    assert!(found[0].starts_with("tidegate.toml:12:"), "{found:?}");
    let text = text.replace("rôle", "roll");
    let found = mistakes(&text);
    assert_eq!(found[..9].join("\n"), expected.trim());
    let expected = r#"
tidegate.toml:12:16: `auth_query` needs `password_file`
tidegate.toml:12:16: unknown key `roll` of `auth_query`: did you mean `role`?
tidegate.toml:12:35: `role`: a name has 1 to 63 bytes
tidegate.toml:12:47: `query`: it must ask for the role by `$1`, such as `… WHERE rolname = $1`
tidegate.toml:13:31: `from`: a secret is not written here: write `file:` and the absolute path of a file that holds it
tidegate.toml:13:65: `from`: `p` is not an absolute path: begin it with `/`
tidegate.toml:13:81: `exe`: `psql` is not an absolute path: begin it with `/`
tidegate.toml:13:96: `unit`: `app` is not a unit's whole name: write `app.service`
tidegate.toml:17:9: `roots`: with `verify = "none"` no root is asked: take out one of the two
tidegate.toml:19:13: `cleartext`: `auth = "cleartext"` is forbidden by this: take out one of the two
tidegate.toml:20:13: `verifiers`: verifiers are used with `auth = "auto"` or `"verifier"` only: take out one of the two
tidegate.toml:24:1: this login is never reached: the one at line 21 fits everybody
tidegate.toml:30:10: `verify` has no meaning where nothing is read, and this port is another database's: write `protocol = "postgres"` if it isn't
tidegate.toml:34:12: an excluded destination is not read: take out `protocol`, or `exclude`
tidegate.toml:35:9: an excluded destination is not read: take out `roots`, or `exclude`
tidegate.toml:36:1: `passthrough` needs to say who: `exe`, `unit`, `user` or `cgroup` (a destination that nobody's is read at has `protocol = "unread"`)
tidegate.toml:38:1: `10.0.0.1:5433` is no protected destination: write it as it stands in `protect`
tidegate.toml:42:1: unknown key `cert` in [ca]: did you mean `certificate`?
tidegate.toml:43:7: `key`: `ca.key` is not an absolute path: begin it with `/`
"#;
    assert_eq!(found[9..].join("\n"), expected.trim());
    assert!(!found.join("\n").contains("hunter2"), "a password isn't repeated");
}

#[test]
fn all_mistakes_of_the_policies_are_told_at_once() {
    let text = r#"packs = ["read-only"]
[policy]
mode = "enforced"
folder = "policies"
packs = ["ai-agent", "read-only", "read-only", 3, "rls"]
bare = "no"
enforce = ["shop.service", "", "shop.service"]
enforces = []
quota_user = 3
[[protect]]
to = 5432
environment = "Production"
[[protect]]
to = 5433
environment = "7up"
[[protect]]
to = "10.0.0.1:5433"
exclude = true
environment = "staging"
"#;
    let expected = r#"
tidegate.toml:1:1: unknown key `packs`: it belongs in the table [policy]
tidegate.toml:3:8: `mode`: unknown mode `enforced`: did you mean `enforce`?
tidegate.toml:4:10: `folder`: `policies` is not an absolute path: begin it with `/`
tidegate.toml:5:10: `packs`: unknown pack `ai-agent`: did you mean `ai-agents`?
tidegate.toml:5:35: `packs`: `read-only` is named twice: take one out
tidegate.toml:5:48: `packs`: it is a list of strings, without an integer
tidegate.toml:5:51: `packs`: unknown pack `rls`: it is `ai-agents` or `read-only`
tidegate.toml:6:8: `bare`: it must be true or false, not a string
tidegate.toml:7:28: `enforce`: `` is no workload's name: name a unit, such as `shop.service`
tidegate.toml:7:32: `enforce`: `shop.service` is named twice: take one out
tidegate.toml:8:1: unknown key `enforces` in [policy]: did you mean `enforce`?
tidegate.toml:9:1: unknown key `quota_user` in [policy]: it belongs above the first table
tidegate.toml:12:15: `environment`: an environment is written in lower case: write `production`
tidegate.toml:15:15: `environment`: `7up` is no environment's name: it has 1 to 63 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter, such as `staging`
tidegate.toml:19:15: an excluded destination has no environment: take out `environment`, or `exclude`
"#;
    assert_eq!(mistakes(text).join("\n"), expected.trim());
    only("policy = 3", "tidegate.toml:1:10: `policy` must be a table, not an integer");
    only(
        "policy.packs = \"read-only\"",
        "tidegate.toml:1:16: `packs`: it must be a list of strings, not a string",
    );
}

#[test]
fn an_environment_is_written_either_way_and_the_flag_wins_over_the_mode() {
    let text = "protect = [\"5432,unread,environment=staging\", \
                { to = 5433, environment = \"eu-1.test\" }, 5434]\npolicy.mode = \"off\"";
    let environments = |settings: Settings| -> Vec<Option<String>> {
        settings.protect.into_iter().map(|one| one.environment).collect()
    };
    let settings = parse(text, "f").unwrap();
    assert_eq!(settings.policy.mode, PolicyMode::Off);
    let expected = [Some("staging".to_owned()), Some("eu-1.test".to_owned()), None];
    assert_eq!(environments(settings), expected);
    let (draft, mistakes) = file::read(text, "f");
    let overrides = Overrides { policy: Some(PolicyMode::Shadow), ..Overrides::default() };
    let (draft, mistakes) = overrides.over(draft, mistakes);
    assert_eq!(check::settle(draft, mistakes).unwrap().policy.mode, PolicyMode::Shadow);
}

#[test]
fn the_log_is_set_by_audit() {
    let text = "[audit]\nenabled = false\nfolder = \"/data/log\"\ntext = \"full\"\n\
                durability = \"power-for-writes\"\nkeep = \"30d\"\nkeep_size = \"1GiB\"\n\
                segment_size = \"64MiB\"\nflood_rate = \"1MiB\"\nflood_burst = \"2GiB\"\n";
    let audit = parse(text, "f").unwrap().audit;
    assert!(!audit.enabled);
    assert_eq!(audit.folder, PathBuf::from("/data/log"));
    let terms = LogTerms {
        text: TextKept::Full,
        durability: Durability::PowerForWrites,
        segment: 64 << 20,
        keep_ms: 30 * 86_400_000,
        keep_bytes: 1 << 30,
        flood_rate: 1 << 20,
        flood_burst: 2 << 30,
    };
    assert_eq!(audit.terms, terms);
    for (line, expected) in [
        ("text = \"ful\"", "unknown value `ful`: did you mean `full`?"),
        ("durability = \"disk\"", "unknown value `disk`"),
        ("keep_size = \"1 GB\"", "`1 GB` is not a size: write `64MiB` or `20GiB`"),
        ("keep_size = \"1MiB\"", "out of range"),
        ("keep = \"1s\"", "out of range"),
        ("folder = \"log\"", "not an absolute path"),
        ("fold = \"/log\"", "did you mean `folder`?"),
    ] {
        let mistakes = parse(&format!("[audit]\n{line}\n"), "f").unwrap_err().to_string();
        assert!(mistakes.contains(expected), "{line}: {mistakes}");
    }
}

#[test]
fn the_log_s_document_shows_what_holds_where_nothing_is_set() {
    let document = include_str!("../../../docs/audit.md");
    let block = document.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(parse(block, "f").unwrap().audit, AuditSettings::default());
    for setting in file::AUDIT {
        assert!(block.contains(&format!("\n{setting} = ")), "{setting}");
    }
}

#[test]
fn approvals_are_set_by_their_table() {
    let text = "[approvals]\ngroup = \"dba\"\nhold_wait = \"5m\"\nopen_for = \"2h\"\n";
    let expected = ApprovalSettings {
        group: Some("dba".into()),
        hold_wait: Duration::from_secs(300),
        open_for: Duration::from_secs(7_200),
    };
    assert_eq!(parse(text, "f").unwrap().approvals, expected);
    for (line, wrong) in [
        ("group = \"d b a\"", "is not a group's name"),
        ("hold_wait = \"0s\"", "is out of range: from 1s to 1d"),
        ("open_for = 7", "has no unit"),
        ("holdwait = \"5m\"", "did you mean `hold_wait`?"),
    ] {
        let mistakes = parse(&format!("[approvals]\n{line}\n"), "f").unwrap_err().to_string();
        assert!(mistakes.contains(wrong), "{mistakes}");
    }
}
