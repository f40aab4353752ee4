//! Roles whose verifiers the server itself is asked for, with an account of the
//! agent's own: clients that insist on channel binding are let in, and nobody
//! else is.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::wire::{Connection, message, tls};

/// As an operator would have it: the account may call one function.
const ASKED: &str = "SELECT * FROM tide.verifier($1)";

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

/// What differs between the houses.
struct Kind<'k> {
    /// How the server has the agent's own account prove itself.
    account: &'k str,
    /// `None`: no auth_query.
    query: Option<&'k str>,
    /// The server is verified.
    verified: bool,
    /// The destination's `auth`.
    mode: &'k str,
}

impl Default for Kind<'_> {
    fn default() -> Self {
        Self { account: "scram-sha-256", query: Some(ASKED), verified: false, mode: "auto" }
    }
}

impl House {
    fn new(kind: &Kind<'_>) -> Result<Self> {
        let postgres = Postgres::setup()
            .tls(Key::P256)
            .rule(&format!("hostssl all asker all {}", kind.account))
            .rule("hostssl all all all scram-sha-256")
            .setting("log_connections=on")
            .start()?;
        postgres.admin(
            "app",
            "CREATE ROLE asker LOGIN PASSWORD 'of the agent'; CREATE SCHEMA tide; \
             CREATE FUNCTION tide.verifier(name text, OUT role text, OUT verifier text) \
             LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS \
             $$ SELECT rolname, rolpassword FROM pg_authid WHERE rolname = name $$; \
             REVOKE ALL ON FUNCTION tide.verifier FROM public; \
             GRANT USAGE ON SCHEMA tide TO asker; \
             GRANT EXECUTE ON FUNCTION tide.verifier TO asker; \
             CREATE ROLE sailor LOGIN PASSWORD 'ebb'",
        )?;
        let folder = TempFolder::fresh()?;
        write_password(&folder, "of the agent")?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let mut destination =
            format!("to = \"127.0.0.1:{}\", auth = \"{}\"", postgres.port(), kind.mode);
        if let Some(query) = kind.query {
            destination += &format!(
                ", auth_query = {{ role = \"asker\", password_file = \"{}\", database = \"app\", \
                 query = \"{query}\" }}",
                folder.path().join("password").display()
            );
        }
        if kind.verified {
            let authority = postgres.authority().context("no authority")?;
            destination += &format!(
                ", verify = \"full\", server_name = \"localhost\", roots = \"{}\"",
                authority.root().display()
            );
        }
        let plan = Plan::default().setting(&format!("protect = [{{ {destination} }}]"));
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres, folder })
    }

    fn psql(&self, role: &str, password: &str, binding: &str) -> Result<std::process::Command> {
        let mut psql = Place::new().cgroup(&self.work).command(program("psql")?)?;
        psql.args(["-XAtc", "SELECT current_user"]).arg(format!(
            "host=127.0.0.1 port={} user={role} password={password} dbname=app sslmode=require \
             connect_timeout=30 channel_binding={binding}",
            self.postgres.port()
        ));
        Ok(psql)
    }

    fn try_psql(&self, role: &str, password: &str, binding: &str) -> Result<Output> {
        Ok(self.psql(role, password, binding)?.output()?)
    }

    /// `role` is let in with this password.
    fn enters(&self, role: &str, password: &str, binding: &str) -> Result<()> {
        let output = self.try_psql(role, password, binding)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.trim() == role,
            "{role} is not let in: {said}{}{}",
            String::from_utf8_lossy(&output.stderr),
            self.agent.tail()
        );
        Ok(())
    }

    /// … or not; what psql said.
    fn is_refused(&self, role: &str, password: &str, binding: &str) -> Result<String> {
        let output = self.try_psql(role, password, binding)?;
        ensure!(!output.status.success(), "{role} is let in{}", self.agent.tail());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The agent's own logins, as the server has noted them.
    fn errands(&self) -> Vec<String> {
        let log = self.postgres.log();
        let own = |line: &&str| line.contains("connection authorized: user=asker");
        log.lines().filter(own).map(str::to_owned).collect()
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.agent.log();
        log.lines().filter(|line| line.contains("auth_query")).map(str::to_owned).collect()
    }
}

fn write_password(folder: &TempFolder, password: &str) -> Result<()> {
    folder.secret("password", &format!("{password}\n"))
}

/// Each of them asks once for a role.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn psql_binds_with_an_auth_query_and_with_nothing_else() -> Result<()> {
    let bare = House::new(&Kind { query: None, ..Kind::default() })?;
    let said = bare.is_refused("sailor", "ebb", "require")?;
    ensure!(said.contains("channel binding"), "{said}");
    ensure!(bare.errands().is_empty());
    drop(bare);

    for verified in [false, true] {
        let house = House::new(&Kind { verified, ..Kind::default() })?;
        for binding in ["require", "prefer", "disable"] {
            for _ in 0..4 {
                house.enters("sailor", "ebb", binding)?;
            }
        }
        let errands = house.errands();
        ensure!((1..=workers()).contains(&errands.len()), "12 logins: {errands:?}");
        ensure!(errands.iter().all(|errand| errand.contains("SSL enabled")), "{errands:?}");
        ensure!(house.complaints().is_empty(), "{:?}", house.complaints());
    }
    Ok(())
}

#[test]
fn many_that_wait_for_one_role_are_served_by_one_errand() -> Result<()> {
    let house = House::new(&Kind { query: Some(SLOW), ..Kind::default() })?;
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut psql = house.psql("sailor", "ebb", "require")?;
        clients.push(psql.stdout(std::process::Stdio::piped()).spawn()?);
    }
    for client in clients {
        let output = client.wait_with_output()?;
        ensure!(output.status.success(), "{}", house.agent.tail());
    }
    let errands = house.errands();
    ensure!(errands.len() <= workers(), "16 clients: {errands:?}");
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    Ok(())
}

const SLOW: &str = "SELECT v.role, v.verifier FROM pg_sleep(1.5), tide.verifier($1) AS v";

#[test]
fn a_changed_password_counts_at_once() -> Result<()> {
    let house = House::new(&Kind::default())?;
    // Both workers know it.
    for _ in 0..8 {
        house.enters("sailor", "ebb", "require")?;
    }
    house.postgres.admin("app", "ALTER ROLE sailor PASSWORD 'flood'")?;
    let said = house.is_refused("sailor", "ebb", "require")?;
    ensure!(said.contains("password authentication failed for user \"sailor\""), "{said}");
    for _ in 0..8 {
        house.enters("sailor", "flood", "require")?;
    }
    // The account's own, too: its file is read again with the settings.
    house.postgres.admin("app", "ALTER ROLE asker PASSWORD 'another'")?;
    write_password(&house.folder, "another")?;
    house.agent.must(&["reload"])?;
    house.postgres.admin("app", "ALTER ROLE sailor PASSWORD 'spring'")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while house.try_psql("sailor", "spring", "require")?.status.code() != Some(0) {
        ensure!(Instant::now() < deadline, "{}", house.agent.tail());
    }
    for _ in 0..4 {
        house.enters("sailor", "spring", "require")?;
    }
    Ok(())
}

/// What a client sees of a login that fails, with the role's name taken out.
fn trace(house: &House, dialer: &mut Dialer, role: &str) -> Result<Vec<String>> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, house.postgres.port()));
    let mut connection = Connection::new(dialer.open(to)?, Arc::default())?;
    ensure!(connection.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
    let parameters = [("user", role), ("database", "app")];
    connection.send(&message::startup(message::PROTOCOL, &parameters))?;
    let mut messages = connection.login(role, "wrong")?;
    messages.extend(connection.rest()?);
    let describe = |message: &tidegate_tests::wire::Message| {
        let kind = char::from(message.kind);
        if message.kind == b'E' {
            let text = message.field(b'M').unwrap_or_default().replace(role, "ROLE");
            return format!("{kind} {:?} {text}", message.field(b'C'));
        }
        // Of SCRAM the kind of step, and how long it is; a nonce differs.
        format!("{kind} {:?} {}", message.body.first_chunk::<4>(), message.body.len())
    };
    Ok(messages.iter().map(describe).collect())
}

#[test]
fn a_wrong_password_and_an_unknown_role_look_the_same() -> Result<()> {
    for mode in ["verifier", "auto"] {
        let house = House::new(&Kind { mode, ..Kind::default() })?;
        for binding in ["require", "prefer", "disable"] {
            if (mode, binding) == ("auto", "require") {
                continue;
            }
            let wrong = house.is_refused("sailor", "wrong", binding)?;
            let unknown = house.is_refused("nobody", "wrong", binding)?;
            ensure!(wrong.contains("password authentication failed"), "{wrong}");
            ensure!(wrong.replace("sailor", "nobody") == unknown, "{wrong}, {unknown}");
        }
        let mut dialer = Dialer::start(&Place::new().cgroup(&house.work))?;
        let wrong = trace(&house, &mut dialer, "sailor")?;
        let last = wrong.last().context("nothing was said")?;
        ensure!(last.contains("28P01"), "{wrong:?}");
        if mode == "verifier" {
            let unknown = trace(&house, &mut dialer, "nobody")?;
            ensure!(wrong == unknown, "{wrong:?}, {unknown:?}");
            // A name that could end the question, or begin another one.
            let odd = trace(&house, &mut dialer, "' OR ''='")?;
            ensure!(wrong == odd, "{wrong:?}, {odd:?}");
        }
        house.enters("sailor", "ebb", "require")?;
        ensure!(house.complaints().is_empty(), "{:?}", house.complaints());
    }
    Ok(())
}

#[test]
fn an_account_that_is_not_let_in_is_told_once_and_logins_go_on() -> Result<()> {
    let house = House::new(&Kind::default())?;
    house.postgres.admin("app", "ALTER ROLE asker PASSWORD 'not this'")?;
    for _ in 0..6 {
        // By the password in clear, as without the query.
        house.enters("sailor", "ebb", "prefer")?;
    }
    let complaints = house.complaints();
    ensure!((1..=workers()).contains(&complaints.len()), "{complaints:?}");
    ensure!(complaints.iter().all(|line| line.contains("auth_query.password_file")));
    let told = house.agent.log();
    ensure!(!told.contains("of the agent") && !told.contains("SCRAM-SHA-256$"), "a secret is told");
    Ok(())
}

#[test]
fn a_question_that_is_no_good_is_told_and_logins_go_on() -> Result<()> {
    for (query, told) in [
        ("SELECT rolpassword FROM pg_authid WHERE rolname = $1", "permission denied"),
        ("SELECT verifier, role FROM tide.verifier($1)", "is no verifier"),
        ("SELECT $1::text, repeat('x', 1000000)", "too long"),
    ] {
        let house = House::new(&Kind { query: Some(query), ..Kind::default() })?;
        house.enters("sailor", "ebb", "prefer")?;
        let complaints = house.complaints();
        ensure!(complaints.len() == 1, "{query}: {complaints:?}");
        ensure!(complaints[0].contains(told), "{query}: {complaints:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_takes_too_long_holds_nobody_up_for_ever() -> Result<()> {
    let slow = "SELECT $1::text, pg_sleep(600)::text";
    let house = House::new(&Kind { query: Some(slow), ..Kind::default() })?;
    let began = Instant::now();
    house.enters("sailor", "ebb", "prefer")?;
    let took = began.elapsed();
    ensure!((9..30).contains(&took.as_secs()), "{took:?}");
    ensure!(house.complaints().iter().any(|line| line.contains("longer than 10 s")));
    Ok(())
}

/// The account's password goes in clear to a server that is known, and to no
/// other.
#[test]
fn the_own_password_is_shown_in_clear_to_a_verified_server_only() -> Result<()> {
    for account in ["password", "md5", "trust"] {
        let house = House::new(&Kind { account, verified: true, ..Kind::default() })?;
        house.enters("sailor", "ebb", "require")?;
        drop(house);
        let house = House::new(&Kind { account, ..Kind::default() })?;
        house.enters("sailor", "ebb", "prefer")?;
        // A role that was made with SCRAM answers `md5` by SCRAM.
        let shown = account != "password";
        ensure!(house.errands().is_empty() != shown, "{account}: {:?}", house.errands());
        let told = house.complaints().iter().any(|line| line.contains("is not verified"));
        ensure!(told != shown, "{account}: {:?}", house.complaints());
    }
    Ok(())
}
