//! Who one is: each kind of authentication, with the right word and a wrong one.

use anyhow::{Context, Result, ensure};
use tidegate_tests::certificates::Key;
use tidegate_tests::diff::{Leg, Stage, Way};
use tidegate_tests::postgres::{Postgres, program, run};

use super::scenarios;

const ROLES: [(&str, &str); 4] = [
    ("r_trust", "trust"),
    ("r_password", "password"),
    ("r_md5", "md5"),
    ("r_scram", "scram-sha-256"),
];

fn stage(key: Key) -> Result<Stage> {
    let mut setup = Postgres::setup().tls(key);
    for (role, method) in ROLES {
        setup = setup.rule(&format!("host all {role} all {method}"));
    }
    let rest = [
        "host all r_rejected all reject",
        "hostssl all r_tls_only all scram-sha-256",
        "hostnossl all r_plain_only all scram-sha-256",
        "host all app all scram-sha-256",
    ];
    for rule in rest {
        setup = setup.rule(rule);
    }
    let postgres = setup.start()?;
    postgres
        .admin("app", "SET password_encryption = 'md5'; CREATE ROLE r_md5 LOGIN PASSWORD 'tide'")?;
    for role in ["r_trust", "r_password", "r_scram", "r_rejected", "r_tls_only", "r_plain_only"] {
        postgres.admin("app", &format!("CREATE ROLE {role} LOGIN PASSWORD 'tide'"))?;
    }
    postgres.admin("app", "CREATE ROLE r_late LOGIN PASSWORD 'tide' VALID UNTIL '2001-01-01'")?;
    Stage::new(postgres)
}

#[test]
fn logins_by_every_method() -> Result<()> {
    scenarios(&stage(Key::P256)?, &[("logins", logins)])
}

fn logins(way: &mut Way<'_>) -> Result<()> {
    for (role, method) in ROLES {
        let (mut right, messages) = way.enter(&format!("{role}, right"), role, "tide", &[])?;
        ensure!(messages.last().is_some_and(|last| last.kind == b'Z'), "{role}: {messages:?}");
        ensure!(right.value("SELECT current_user")? == role);
        right.leave()?;
        let (mut wrong, messages) = way.enter(&format!("{role}, wrong"), role, "ebb", &[])?;
        let code = messages.last().and_then(|last| last.field(b'C'));
        if method == "trust" {
            wrong.leave()?;
        } else {
            ensure!(code.as_deref() == Some("28P01"), "{role}: {messages:?}");
            ensure!(wrong.rest()?.is_empty(), "it goes on after a FATAL");
        }
    }
    for role in ["r_rejected", "r_tls_only", "r_plain_only", "r_late", "r_none"] {
        let (mut one, messages) = way.enter(role, role, "tide", &[])?;
        let welcome = match role {
            "r_tls_only" => way.leg == Leg::Tls,
            "r_plain_only" => way.leg == Leg::Plain,
            _ => false,
        };
        let entered = messages.last().is_some_and(|last| last.kind == b'Z');
        ensure!(entered == welcome, "{role}: {messages:?}");
        if entered {
            one.leave()?;
        } else {
            one.rest()?;
        }
    }
    Ok(())
}

/// libpq takes part in channel binding where it is offered.
#[test]
fn psql_with_scram_and_tls() -> Result<()> {
    for key in [Key::P256, Key::Rsa] {
        let stage = stage(key)?;
        stage.compare(&format!("psql, {key:?}"), Leg::Tls, |way| {
            for (role, _) in ROLES {
                let mut psql = way.command(program("psql")?)?;
                psql.args([
                    "-XAtc",
                    "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                ]);
                psql.arg(way.dsn("app").replace("user=app", &format!("user={role}")));
                let said = way.tool(role, &mut psql)?;
                ensure!(said.trim() == format!("{role}|t"), "{said}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The servers of these suites are what they are said to be: names, addresses,
/// keys, certificates of clients.
#[test]
fn servers_are_as_asked_for() -> Result<()> {
    for key in [Key::P256, Key::Rsa] {
        let postgres = Postgres::setup().tls(key).rule("hostssl all all all cert").start()?;
        let authority = postgres.authority().context("no authority")?;
        let folder = tidegate_tests::folder::TempFolder::fresh()?;
        let client = authority.client(folder.path(), "app")?;
        let stranger = authority.client(folder.path(), "other")?;
        let psql = |host: &str, pair: &tidegate_tests::certificates::Pair| -> Result<String> {
            let mut psql = std::process::Command::new(program("psql")?);
            psql.args(["-XAtc", "SELECT current_user"]).arg(format!(
                "host={host} hostaddr=127.0.0.1 port={} user=app dbname=app sslmode=verify-full \
                 sslrootcert={} sslcert={} sslkey={}",
                postgres.port(),
                authority.root().display(),
                pair.certificate.display(),
                pair.key.display()
            ));
            run(&mut psql)
        };
        for host in ["localhost", "db.tidegate.test", "127.0.0.1"] {
            ensure!(psql(host, &client)?.trim() == "app");
        }
        let other = psql("elsewhere.test", &client).expect_err("another name was accepted");
        ensure!(other.to_string().contains("does not match"), "{other:#}");
        ensure!(psql("localhost", &stranger).is_err(), "another's certificate was accepted");
    }
    Ok(())
}
