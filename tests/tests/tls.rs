//! TLS on both legs: what clients can believe, and what they are told.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tidegate_tests::agent::{Agent, Observer, Plan};
use tidegate_tests::certificates::{Key, Pair};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::wire::message;
use tidegate_tests::{ports, wait};

struct Carried {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Carried {
    /// `more`: keys of the destination.
    fn start(more: &str) -> Result<Self> {
        Self::before(Postgres::with_tls()?, more)
    }

    fn before(postgres: Postgres, more: &str) -> Result<Self> {
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let roots = postgres.authority().context("no authority")?.root();
        let more = more.replace("ROOTS", &format!("roots = {:?}", roots.display().to_string()));
        let none: [u16; 0] = [];
        let plan =
            Plan::postgres(none).setting(&format!("[[protect]]\nto = {}\n{more}", postgres.port()));
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres })
    }

    fn psql(&self, host: &str, dsn: &str) -> Result<Output> {
        let mut psql: Command = Place::new().cgroup(&self.work).command(program("psql")?)?;
        psql.args([
            "-XAtq",
            "-c",
            "SELECT 'hello', ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        ]);
        psql.arg(format!(
            "host={host} hostaddr=127.0.0.1 port={} user=app password=tide dbname=app {dsn}",
            self.postgres.port()
        ));
        Ok(psql.output()?)
    }

    fn says(&self, host: &str, dsn: &str, expected: &str) -> Result<()> {
        let output = self.psql(host, dsn)?;
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        ensure!(out.trim() == expected, "{dsn}: {out}{err}\n{}", self.agent.tail());
        Ok(())
    }

    fn fails(&self, host: &str, dsn: &str, expected: &str) -> Result<()> {
        let output = self.psql(host, dsn)?;
        let err = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{dsn} succeeded");
        ensure!(err.contains(expected), "{dsn}: {err}\n{}", self.agent.tail());
        Ok(())
    }

    /// How far the server was verified, by the record of the connection that ended last.
    fn verified(&self, observer: &Observer, client: &str) -> Result<String> {
        let before = observer.events()?.iter().filter(|event| event.event == "closed").count();
        self.psql(client, "sslmode=require")?;
        wait::until("the connection's record", Duration::from_secs(10), || {
            let events = observer.events()?;
            let closed = events.iter().filter(|event| event.event == "closed").nth(before);
            let carried = closed.and_then(|event| event.closing.as_ref()?.carried.clone());
            Ok(carried.map(|carried| carried.verified.unwrap_or_default()))
        })
    }

    /// The host's CA, as `tidegate run` has made it.
    fn trusted(&self) -> String {
        format!("sslrootcert={}", self.agent.authority().display())
    }
}

#[test]
fn a_verified_server_satisfies_a_client_that_verifies_by_any_of_its_names() -> Result<()> {
    let carried = Carried::start("verify = \"full\"\nROOTS\n")?;
    let trusted = carried.trusted();
    for host in ["localhost", "db.tidegate.test"] {
        carried.says(host, &format!("sslmode=verify-full {trusted}"), "hello|t")?;
    }
    // The server's certificate isn't for this name: who verifies isn't deceived,
    // and who doesn't is told.
    let asked = format!("sslmode=verify-full {trusted}");
    carried.fails("other.test", &asked, "certificate verify failed")?;
    carried.fails("other.test", "sslmode=require", "not for `other.test`")?;
    carried.says("localhost", &format!("sslmode=verify-ca {trusted}"), "hello|t")?;
    // Who trusts the server's own authority alone has pinned it.
    let own = carried.postgres.authority().context("no authority")?.root();
    let pinned = format!("sslmode=verify-full sslrootcert={}", own.display());
    carried.fails("localhost", &pinned, "certificate verify failed")
}

#[test]
fn a_server_that_cannot_be_verified_is_shown_as_one() -> Result<()> {
    let carried = Carried::start("")?;
    let trusted = carried.trusted();
    carried.says("localhost", "sslmode=require", "hello|t")?;
    carried.says("localhost", "sslmode=prefer", "hello|t")?;
    carried.fails(
        "localhost",
        &format!("sslmode=verify-full {trusted}"),
        "certificate verify failed",
    )
}

#[test]
fn where_it_must_be_verified_the_client_is_told_why_it_is_not() -> Result<()> {
    let carried = Carried::start("verify = \"full\"\n")?;
    carried.fails("localhost", "sslmode=require", "no trusted root has signed its certificate")?;
    // Not to be gone around by asking for no TLS where the server wants none.
    carried.says("localhost", "sslmode=disable", "hello|f")
}

#[test]
fn unverified_by_the_settings_the_configured_name_is_signed() -> Result<()> {
    let carried = Carried::start("verify = \"none\"\nserver_name = \"configured.test\"\n")?;
    let trusted = carried.trusted();
    carried.says("configured.test", &format!("sslmode=verify-full {trusted}"), "hello|t")?;
    carried.fails(
        "localhost",
        &format!("sslmode=verify-full {trusted}"),
        "does not match host name",
    )
}

/// The chain is good, and the name another one: by `ca` that is enough, by `full` it
/// isn't, and what it says is what helps.
#[test]
fn a_certificate_of_another_name_is_enough_by_its_chain_and_not_in_full() -> Result<()> {
    for name in ["", "server_name = \"elsewhere.test\"\n"] {
        let carried = Carried::start(&format!("verify = \"ca\"\n{name}ROOTS\n"))?;
        let trusted = carried.trusted();
        for mode in ["require", "prefer"] {
            carried.says("elsewhere.test", &format!("sslmode={mode}"), "hello|t")?;
        }
        if !name.is_empty() {
            // Our own CA is for the protected names only, of which the certificate has none.
            continue;
        }
        carried.says("elsewhere.test", &format!("sslmode=verify-ca {trusted}"), "hello|t")?;
        // Nor does the client's certificate bear a name that the server's hasn't.
        let full = format!("sslmode=verify-full {trusted}");
        carried.fails("elsewhere.test", &full, "does not match host name \"elsewhere.test\"")?;
        carried.says("db.tidegate.test", &full, "hello|t")?;
    }
    // The client's name where the settings say none, else theirs, whatever the client's.
    for (name, client) in [("", "elsewhere.test"), ("elsewhere.test", "localhost")] {
        let named = if name.is_empty() { "" } else { "server_name = \"elsewhere.test\"\n" };
        let always = "upstream_tls = \"always\"\n";
        let carried = Carried::start(&format!("verify = \"full\"\n{named}{always}ROOTS\n"))?;
        // Without TLS a client says no name: then only the settings' can be held against it.
        let modes =
            if name.is_empty() { &["require"][..] } else { &["require", "prefer", "disable"] };
        for mode in modes {
            let dsn = format!("sslmode={mode}");
            carried.fails(
                client,
                &dsn,
                "its certificate is for `localhost`, `db.tidegate.test`",
            )?;
            carried.fails(client, &dsn, "not for `elsewhere.test` (set `server_name`)")?;
            carried.fails(client, &dsn, "HINT:  the destination's settings ask for a verified")?;
        }
    }
    // And it does help.
    let helped = "verify = \"full\"\nserver_name = \"db.tidegate.test\"\nROOTS\n";
    let carried = Carried::start(helped)?;
    carried.says("elsewhere.test", "sslmode=require", "hello|t")?;
    // Another root's chain is none by either, though it bears the root's name.
    let stranger = tidegate_tests::certificates::Authority::fresh()?;
    let roots = format!("roots = {:?}\n", stranger.root().display().to_string());
    for verify in ["ca", "full"] {
        let carried = Carried::start(&format!("verify = \"{verify}\"\n{roots}"))?;
        let told = "the trusted root of that name has not signed its certificate";
        carried.fails("localhost", "sslmode=require", told)?;
    }
    Ok(())
}

#[test]
fn a_client_without_tls_is_carried_by_tls_where_the_settings_say_so() -> Result<()> {
    let carried = Carried::start("upstream_tls = \"always\"\nverify = \"ca\"\nROOTS\n")?;
    carried.says("localhost", "sslmode=disable", "hello|t")?;
    carried.says("localhost", "sslmode=require", "hello|t")
}

#[test]
fn a_server_without_tls_is_not_talked_to_where_the_settings_ask_for_it() -> Result<()> {
    let postgres = Postgres::setup().auth("trust").setting("log_connections=on").start()?;
    let before = postgres.log().matches("connection authorized").count();
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let none: [u16; 0] = [];
    let always = format!("[[protect]]\nto = {}\nupstream_tls = \"always\"\n", postgres.port());
    let agent = Agent::start(&root, Plan::postgres(none).setting(&always))?;
    let observer = agent.observe()?;
    let dsn = |mode: &str| {
        format!("host=127.0.0.1 port={} user=app dbname=app sslmode={mode}", postgres.port())
    };
    const WHY: &str = "the server can't be reached by TLS: it speaks none";
    for mode in ["disable", "allow", "prefer"] {
        let mut psql = Place::new().cgroup(&work).command(program("psql")?)?;
        let output = psql.args(["-XAtc", "SELECT 'hello'"]).arg(dsn(mode)).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && output.stdout.is_empty(), "{mode}: {output:?}");
        ensure!(said.contains(&format!("FATAL:  {WHY}")), "{mode}: {said}{}", agent.tail());
        ensure!(said.contains("upstream_tls = \"always\""), "{mode}: {said}");
    }
    // Who asks for TLS hears the server's own no.
    let mut psql = Place::new().cgroup(&work).command(program("psql")?)?;
    let output = psql.args(["-XAtc", "SELECT 'hello'"]).arg(dsn("require")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("server does not support SSL, but SSL was required"), "{said}");
    wait::until("the records", Duration::from_secs(10), || {
        let events = observer.events()?;
        let closed = events.iter().filter_map(|event| event.closing.as_ref()?.carried.as_ref());
        let told = closed.filter(|carried| carried.fault.as_deref() == Some(WHY)).count();
        Ok((told >= 3).then_some(()))
    })?;
    let after = postgres.log().matches("connection authorized").count();
    ensure!(before == after, "the server has had a session: {}", postgres.log());
    Ok(())
}

/// What it says in plain text isn't passed on as the server's: that says who is on the way.
#[test]
fn a_server_that_answers_a_request_for_tls_by_an_error_is_told_as_that() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::fresh()?))?;
    let port = listener.local_addr()?.port();
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let none: [u16; 0] = [];
    let always = format!("[[protect]]\nto = {port}\nupstream_tls = \"always\"\n");
    let agent = Agent::start(&root, Plan::postgres(none).setting(&always))?;
    let server = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; 8])?;
        stream.write_all(&message::typed(b'E', b"SFATAL\0C53300\0Mtype your password\0\0"))?;
        // It waits for the end.
        let _ = stream.read(&mut [0; 8]);
        Ok(())
    });
    let mut psql = Place::new().cgroup(&work).command(program("psql")?)?;
    let dsn = format!("host=127.0.0.1 port={port} user=app dbname=app sslmode=disable");
    let output = psql.args(["-XAtc", "SELECT 'hello'"]).arg(dsn).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let told = said.contains("can't be reached by TLS: it answered with an error");
    ensure!(told && !said.contains("password"), "{said}{}", agent.tail());
    server.join().map_err(|_| anyhow!("the server's thread panicked"))?
}

/// Each way to verify, with a server that is who it should be, one of another name, and one
/// that no trusted root has signed: who gets in, and what a client that verifies makes of it.
#[test]
fn each_way_to_verify_does_what_it_says() -> Result<()> {
    for (verify, right, named, strange) in [
        ("mirror", [true, true], [true, false], [true, false]),
        ("full", [true, true], [false, false], [false, false]),
        ("ca", [true, true], [true, false], [false, false]),
        // What is configured alone is signed, whoever the server is.
        ("none", [true, true], [true, true], [true, true]),
    ] {
        for (case, expected) in [("right", right), ("named", named), ("strange", strange)] {
            let name = if case == "named" { "elsewhere.test" } else { "localhost" };
            let roots = if case == "strange" || verify == "none" { "" } else { "ROOTS\n" };
            let more = format!("verify = \"{verify}\"\nserver_name = \"{name}\"\n{roots}");
            let carried = Carried::start(&more)?;
            let full = format!("sslmode=verify-full {}", carried.trusted());
            let came: Vec<bool> = ["sslmode=require", &full]
                .into_iter()
                .map(|dsn| Ok(carried.psql(name, dsn)?.status.success()))
                .collect::<Result<_>>()?;
            ensure!(came == expected, "{verify}, {case}: {came:?}{}", carried.agent.tail());
        }
    }
    Ok(())
}

/// A role that the server lets in by a certificate alone, which the client hasn't.
#[test]
fn the_settings_certificate_is_shown_to_a_server_that_asks_for_one() -> Result<()> {
    for shown in [Some("certified"), Some("somebody"), None] {
        let postgres = Postgres::setup()
            .tls(Key::P256)
            .rule("hostssl all certified all cert")
            .rule("hostssl all all all trust")
            .start()?;
        postgres.admin("app", "CREATE ROLE certified LOGIN")?;
        let folder = TempFolder::fresh()?;
        let mut more = "ROOTS\n".to_owned();
        if let Some(name) = shown {
            let authority = postgres.authority().context("no authority")?;
            let Pair { certificate, key } = authority.client(folder.path(), name)?;
            more += &format!("client_cert = {certificate:?}\nclient_key = {key:?}\n");
        }
        let carried = Carried::before(postgres, &more)?;
        for mode in ["require", "prefer"] {
            let dsn = format!("user=certified sslmode={mode}");
            match shown {
                Some("certified") => carried.says("localhost", &dsn, "hello|t")?,
                Some(_) => {
                    let refused = "certificate authentication failed for user \"certified\"";
                    carried.fails("localhost", &dsn, refused)?;
                }
                None => {
                    let refused = "connection requires a valid client certificate";
                    carried.fails("localhost", &dsn, refused)?;
                }
            }
            // Others are let in as before.
            carried.says("localhost", &format!("sslmode={mode}"), "hello|t")?;
        }
    }
    Ok(())
}

/// The server's certificate is for all of a domain, the host's CA for the one name that is
/// protected: the client is shown that one.
#[test]
fn a_server_with_a_wildcard_satisfies_a_client_by_the_protected_name() -> Result<()> {
    let wildcard = ["*.pool.example", "f*o.example"];
    let postgres = Postgres::setup().tls(Key::P256).names(&wildcard).start()?;
    let settings = "verify = \"full\"\nserver_name = \"a.pool.example\"\nROOTS\n";
    let carried = Carried::before(postgres, settings)?;
    let trusted = carried.trusted();
    let full = format!("sslmode=verify-full {trusted}");
    carried.says("a.pool.example", &full, "hello|t")?;
    // It would be verified, but the CA isn't for it.
    carried.fails("b.pool.example", &full, "does not match host name")?;
    carried.says("b.pool.example", &format!("sslmode=verify-ca {trusted}"), "hello|t")
}

#[test]
fn the_record_says_how_far_the_server_was_verified() -> Result<()> {
    let named = "server_name = \"db.tidegate.test\"";
    for (settings, client, expected) in [
        ("verify = \"full\"\nROOTS", "localhost", "full: `localhost`"),
        // By address: the client says no name.
        ("verify = \"full\"\nROOTS", "127.0.0.1", "chain only: no name was known"),
        (
            &format!("verify = \"ca\"\n{named}\nROOTS"),
            "localhost",
            "chain only: the settings ask for no name (verify = \"ca\")",
        ),
        (
            &format!("verify = \"none\"\n{named}"),
            "localhost",
            "not: the settings say not to (verify = \"none\")",
        ),
    ] {
        let carried = Carried::start(&format!("{settings}\n"))?;
        let observer = carried.agent.observe()?;
        let said = carried.verified(&observer, client)?;
        ensure!(said == expected, "{settings}, {client}: `{said}`\n{}", carried.agent.tail());
    }
    Ok(())
}
