//! Definitions that an account of the agent's own reads: sessions are asked nothing
//! of them, and are masked by what their own role could not have looked up.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;

const PASSWORD: &str = "of the agent";
const MASKED: &str = "X••• C•••";

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl House {
    /// `password`: what stands in the account's file; nothing, where there is none.
    fn new(tls: bool, password: Option<&str>) -> Result<Self> {
        let setup = Postgres::setup();
        let setup = if tls { setup.tls(Key::P256) } else { setup };
        let postgres = setup
            .rule("host all reader all scram-sha-256")
            .rule("host all all all trust")
            .setting("log_statement=all")
            .setting("log_connections=on")
            .setting("log_line_prefix=%u|")
            .start()?;
        postgres.admin(
            "app",
            &format!(
                "CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE clerk LOGIN; \
                 CREATE TABLE people(id int, full_name text); \
                 INSERT INTO people VALUES (1, 'Xandra Canarybird'); \
                 CREATE VIEW seen AS SELECT id, full_name AS b FROM people; \
                 CREATE TABLE vault(id int, password text); \
                 INSERT INTO vault VALUES (1, 'swordfish'); \
                 CREATE VIEW opened AS SELECT id, password AS b FROM vault; \
                 GRANT SELECT ON people, seen, opened TO clerk; GRANT CREATE ON SCHEMA public TO clerk"
            ),
        )?;
        let folder = TempFolder::fresh()?;
        let file = folder.path().join("password");
        let mut setting = format!(
            "[[protect]]\nto = {}\nenvironment = \"staging\"\nprotocol = \"postgres\"\n",
            postgres.port()
        );
        if let Some(password) = password {
            write_password(&folder, password)?;
            setting += &format!(
                "catalog = {{ role = \"reader\", password_file = \"{}\" }}",
                file.display()
            );
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan = Plan::postgres(None::<u16>).policy("enforce").setting(&setting);
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres, folder })
    }

    fn psql_command(&self) -> Result<Command> {
        let mut psql = Place::new().cgroup(&self.work).command(program("psql")?)?;
        psql.arg("-XAtq").arg(format!(
            "host=127.0.0.1 port={} user=clerk dbname=app connect_timeout=10",
            self.postgres.port()
        ));
        Ok(psql)
    }

    fn psql(&self, statement: &str) -> Result<String> {
        let said = run(self.psql_command()?.args(["-c", statement]));
        Ok(said.with_context(|| self.agent.tail())?.trim().to_owned())
    }

    /// How often a role has asked the server for the definitions of views.
    fn asked_by(&self, role: &str) -> usize {
        let log = self.postgres.log();
        let lines = log.lines().filter(|line| line.starts_with(&format!("{role}|")));
        lines.filter(|line| line.contains("pg_get_viewdef")).count()
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.agent.log();
        log.lines().filter(|line| line.contains("`catalog`")).map(str::to_owned).collect()
    }
}

fn write_password(folder: &TempFolder, password: &str) -> Result<()> {
    folder.secret("password", &format!("{password}\n"))
}

/// A psql that stays.
struct Session {
    child: Child,
    tell: ChildStdin,
    hear: Lines<BufReader<ChildStdout>>,
}

impl Session {
    fn start(house: &House) -> Result<Self> {
        let mut psql = house.psql_command()?;
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let tell = child.stdin.take().context("no stdin")?;
        let hear = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Self { child, tell, hear })
    }

    fn ask(&mut self, statement: &str) -> Result<Vec<String>> {
        writeln!(self.tell, "{statement};\n\\echo over")?;
        let mut said = Vec::new();
        loop {
            let line = self.hear.next().context("psql has ended")??;
            if line == "over" {
                return Ok(said);
            }
            said.push(line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_account_of_ours_reads_definitions_and_sessions_are_not_asked() -> Result<()> {
    let _alone = alone();
    for tls in [false, true] {
        let house = House::new(tls, Some(PASSWORD))?;
        for _ in 0..3 {
            ensure!(house.psql("SELECT b FROM seen")? == MASKED, "TLS {tls}{}", house.agent.tail());
        }
        ensure!(house.asked_by("reader") == 1, "TLS {tls}: {}", house.asked_by("reader"));
        // What somebody defines is looked up before the next request of theirs.
        let mut session = Session::start(&house)?;
        session.ask("CREATE VIEW others AS SELECT full_name || '' AS c FROM people")?;
        let said = session.ask("SELECT c FROM others")?;
        ensure!(!said.is_empty() && !said.concat().contains("anary"), "TLS {tls}: {said:?}");
        session.ask("CREATE TABLE apart(id int, last_name text)")?;
        session.ask("INSERT INTO apart VALUES (1, 'Canarybird')")?;
        let said = session.ask("SELECT last_name FROM apart")?;
        ensure!(said == ["C•••"], "TLS {tls}: {said:?}{}", house.agent.tail());
        ensure!(house.asked_by("reader") > 1, "TLS {tls}: {}", house.asked_by("reader"));
        ensure!(house.asked_by("clerk") == 0, "TLS {tls}: {}", house.asked_by("clerk"));
        ensure!(house.complaints().is_empty(), "TLS {tls}: {:?}", house.complaints());
    }
    Ok(())
}

#[test]
fn a_role_that_may_not_look_definitions_up_is_masked_by_them() -> Result<()> {
    let _alone = alone();
    let hidden = "REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC; \
                  GRANT SELECT ON pg_catalog.pg_class TO reader";
    // Without the account nobody knows what is in the column.
    for password in [None, Some(PASSWORD)] {
        let house = House::new(false, password)?;
        house.postgres.admin("app", hidden)?;
        let said = house.psql("TABLE opened")?;
        let in_clear = said == "1|swordfish";
        ensure!(in_clear == password.is_none(), "{password:?}: {said}{}", house.agent.tail());
        ensure!(said.starts_with("1|"), "{said}");
    }
    Ok(())
}

#[test]
fn where_the_account_is_not_let_in_sessions_learn_for_themselves() -> Result<()> {
    let _alone = alone();
    let house = House::new(true, Some("of somebody else"))?;
    for _ in 0..4 {
        ensure!(house.psql("SELECT b FROM seen")? == MASKED, "{}", house.agent.tail());
    }
    ensure!(house.asked_by("clerk") >= 1 && house.asked_by("reader") == 0);
    let complaints = house.complaints();
    ensure!(!complaints.is_empty() && complaints.len() <= 2, "{complaints:?}");
    ensure!(complaints.iter().all(|line| line.contains("catalog.password_file")), "{complaints:?}");
    // A new password counts from the next reload on.
    write_password(&house.folder, PASSWORD)?;
    house.agent.must(&["reload"])?;
    let mut session = Session::start(&house)?;
    session.ask("CREATE TABLE apart(id int, last_name text)")?;
    ensure!(house.psql("SELECT b FROM seen")? == MASKED, "{}", house.agent.tail());
    session.ask("SELECT last_name FROM apart")?;
    ensure!(house.asked_by("reader") >= 1, "{}", house.agent.tail());
    Ok(())
}
