use super::super::tests::{facts, of_user, seen};
use super::*;
use crate::identity::Login;

fn shown(person: &Person) -> Vec<String> {
    let switch =
        |one: &Switch| format!("{} {}→{}", one.by.as_deref().unwrap_or("?"), one.from, one.to);
    person.switches.iter().map(switch).collect()
}

fn sudo() -> Seen {
    let mut sudo = seen(85, 80, "/usr/bin/sudo", "sudo -u bob psql");
    (sudo.real_uid, sudo.real_user) = (1000, Some("alice".into()));
    sudo
}

fn ssh_session(process: Seen, mut between: Vec<Seen>) -> Facts {
    let mut shell = of_user(1000, "alice", seen(80, 71, "/bin/bash", "-bash"));
    shell.terminal = Some("pts/3".into());
    let child = of_user(1000, "alice", seen(71, 70, "/usr/sbin/sshd", "sshd: alice@pts/3"));
    let monitor = seen(70, 1, "/usr/sbin/sshd", "sshd: alice [priv]");
    let mut line = vec![process];
    line.append(&mut between);
    line.extend([shell, child, monitor]);
    facts(line, "/user.slice/user-1000.slice/session-3.scope")
}

#[test]
fn a_login_by_ssh_is_told_by_the_surest_source() {
    let psql = of_user(1000, "alice", seen(90, 80, "/usr/bin/psql", "psql"));
    let mut facts = ssh_session(psql, vec![]);
    facts.login = Some(Login {
        connection: Some("198.51.100.1 5 192.0.2.1 22".into()),
        shown_key: Some("SHA256:own".into()),
        ..Login::default()
    });
    let person = of(&facts).unwrap();
    assert_eq!(person.via, Via::Ssh);
    let user = person.user.unwrap();
    assert_eq!((user.value.as_str(), user.confidence), ("alice", Confidence::Likely));
    let address = person.address.unwrap();
    assert_eq!((address.value.as_str(), address.confidence), ("198.51.100.1", Confidence::Claimed));
    assert_eq!(person.key.unwrap().confidence, Confidence::Claimed);
    assert!(person.switches.is_empty());

    facts.process.login_uid = Some(1000);
    facts.process.login_user = Some("alice".into());
    let login = facts.login.as_mut().unwrap();
    login.peer = Some("192.0.2.7".into());
    login.logged = Some(Accepted {
        user: "alice".into(),
        address: "192.0.2.8".into(),
        key: Some("SHA256:logged".into()),
    });
    let person = of(&facts).unwrap();
    assert_eq!(person.user.unwrap().confidence, Confidence::Certain);
    let address = person.address.unwrap();
    assert_eq!((address.value.as_str(), address.origin), ("192.0.2.7", Origin::Kernel));
    let key = person.key.unwrap();
    assert_eq!((key.value.as_str(), key.origin), ("SHA256:logged", Origin::Log));
}

#[test]
fn sudo_and_su_are_a_chain() {
    let psql = of_user(1001, "bob", seen(90, 85, "/usr/bin/psql", "psql"));
    let facts = ssh_session(psql, vec![sudo()]);
    assert_eq!(shown(&of(&facts).unwrap()), ["sudo alice→bob"]);

    // To root, then su to another.
    let root_shell = seen(86, 85, "/bin/bash", "bash");
    let su = seen(87, 86, "/bin/su", "su bob");
    let psql = of_user(1001, "bob", seen(90, 87, "/usr/bin/psql", "psql"));
    let facts = ssh_session(psql, vec![su, root_shell, sudo()]);
    assert_eq!(shown(&of(&facts).unwrap()), ["sudo alice→root", "su root→bob"]);

    // sudo has replaced itself, and was not seen.
    let psql = of_user(1001, "bob", seen(90, 80, "/usr/bin/psql", "psql"));
    let facts = ssh_session(psql, vec![]);
    assert_eq!(shown(&of(&facts).unwrap()), ["? alice→bob"]);
}

#[test]
fn services_and_jobs_have_no_person() {
    let app = of_user(33, "www-data", seen(90, 1, "/opt/app", "app"));
    assert_eq!(of(&facts(vec![app], "/system.slice/app.service")), None);
    let mut job = of_user(1000, "alice", seen(90, 80, "/usr/bin/psql", "psql"));
    job.login_uid = Some(1000);
    let cron = seen(80, 1, "/usr/sbin/cron", "cron");
    assert_eq!(of(&facts(vec![job, cron], "/system.slice/cron.service")), None);
}

#[test]
fn a_login_at_the_console() {
    let mut psql = of_user(1000, "alice", seen(90, 80, "/usr/bin/psql", "psql"));
    psql.terminal = Some("tty1".into());
    let mut shell = of_user(1000, "alice", seen(80, 70, "/bin/bash", "-bash"));
    shell.terminal = Some("tty1".into());
    let login = seen(70, 1, "/bin/login", "login");
    let person = of(&facts(vec![psql, shell, login], "/user.slice")).unwrap();
    assert_eq!(person.via, Via::Login);
    assert_eq!(person.user.unwrap().value, "alice");
    assert!(person.switches.is_empty());
}

#[test]
fn lines_of_the_log() {
    let line = "Nov 21 10:00:00 host sshd[812]: Accepted publickey for alice from 192.0.2.7 port 51022 ssh2: ED25519 SHA256:uNiVztksCsDhcc0u9e8BrXqXOzFGdgVFPwTFXlPsF6I";
    let found = accepted(line, 812).unwrap();
    assert_eq!((found.user.as_str(), found.address.as_str()), ("alice", "192.0.2.7"));
    assert_eq!(found.key.as_deref(), Some("SHA256:uNiVztksCsDhcc0u9e8BrXqXOzFGdgVFPwTFXlPsF6I"));
    assert_eq!(accepted(line, 813), None);
    let password = "2026-11-21T10:00:00.1+00:00 host sshd-session[9]: Accepted password for bob from 2001:db8::1 port 1 ssh2";
    let found = accepted(password, 9).unwrap();
    assert_eq!((found.address.as_str(), found.key), ("2001:db8::1", None));
    // A user name that pretends to be a line.
    let forged = "Nov 21 10:00:00 host sshd[812]: Invalid user x[1]: Accepted publickey for root from 1.2.3.4";
    assert_eq!(accepted(forged, 1), None);
    assert_eq!(accepted("nothing", 1), None);
}
