//! Logins that the agent takes part in: by a verifier that was kept, and with a
//! role and password of its own, which the application doesn't know.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, binary};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::diff::plan;
use tidegate_tests::drivers::{class_path, node};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::terminal::Terminal;
use tidegate_tests::venv;
use tidegate_tests::wait::until;

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl House {
    /// `more`: keys of the destination, `FOLDER` being the house's own.
    fn new(more: &str) -> Result<Self> {
        Self::with(&["hostssl all all all scram-sha-256"], more)
    }

    fn with(rules: &[&str], more: &str) -> Result<Self> {
        let setup = Postgres::setup().tls(Key::P256).setting("log_connections=on");
        let postgres = rules.iter().fold(setup, |setup, rule| setup.rule(rule)).start()?;
        for role in ["sailor", "reader", "writer"] {
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'of {role}'");
            postgres.admin("app", &sql)?;
        }
        let folder = TempFolder::fresh()?;
        for role in ["reader", "writer"] {
            folder.secret(role, &format!("of {role}\n"))?;
        }
        folder.secret("wrong", "not this\n")?;
        folder.secret("roles", &roles(&postgres, &["sailor", "reader"])?)?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let port = postgres.port();
        let mut plan = plan(&postgres, port);
        let more = more.replace("FOLDER", &folder.path().display().to_string());
        plan.settings += &format!("{more}\n");
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres, folder })
    }

    fn client(&self, uid: u32, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let place = Place::new().cgroup(&self.work);
        let place = if uid == 0 { place } else { place.user(uid, uid) };
        let mut command = place.command(program)?;
        command.env("HOME", "/nonexistent").stdin(Stdio::null());
        Ok(command)
    }

    fn dsn(&self, role: &str, password: &str, more: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={role} password='{password}' dbname=app sslmode=require \
             gssencmode=disable connect_timeout=20 {more}",
            self.postgres.port()
        )
    }

    /// Who the server says that it is; or what psql said.
    fn psql(&self, uid: u32, dsn: &str) -> Result<std::result::Result<String, String>> {
        let mut psql = self.client(uid, program("psql")?)?;
        let output = psql.args(["-XAtc", "SELECT current_user"]).arg(dsn).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        })
    }

    fn enters(&self, uid: u32, dsn: &str, role: &str) -> Result<()> {
        let came = self.psql(uid, dsn)?;
        ensure!(came.as_deref() == Ok(role), "{dsn}: {came:?}{}", self.agent.tail());
        Ok(())
    }

    /// `tidegate login <words>`, with this agent's file of verifiers.
    fn login(&self, words: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(binary()?);
        command.arg("login").args(words).arg("--config").arg(self.agent.settings_file());
        command.arg("--file").arg(self.agent.settings_file().with_file_name("logins"));
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// As the settings call it.
    fn server(&self) -> String {
        self.postgres.port().to_string()
    }

    fn add(&self, password: &str) -> Result<std::process::Output> {
        self.folder.secret("typed", &format!("{password}\n"))?;
        let at = format!("127.0.0.1:{}", self.postgres.port());
        let typed = self.folder.path().join("typed").display().to_string();
        let roots = self.postgres.authority().context("no authority")?.root();
        let roots = roots.display().to_string();
        let server = self.server();
        let mut words = vec!["add", &server, "sailor", "--at", &at, "--password-file", &typed];
        words.extend(["--database", "app", "--roots", &roots, "--server-name", "localhost"]);
        self.login(&words)
    }
}

/// A file of verifiers for these roles, as the server itself has them.
fn roles(postgres: &Postgres, names: &[&str]) -> Result<String> {
    let mut lines = "; as PgBouncer's userlist has it\n".to_owned();
    for name in names {
        let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = $${name}$$");
        let verifier = postgres.admin("app", &sql)?;
        let quoted = name.replace('"', "\"\"");
        lines += &format!("\"{quoted}\" \"{}\"\n", verifier.trim());
    }
    Ok(lines)
}

/// Every driver that can bind, and those that don't; `require` where they have it.
fn drivers(house: &House) -> Result<Vec<(&'static str, Command)>> {
    let port = house.postgres.port().to_string();
    let require = house.dsn("sailor", "of sailor", "channel_binding=require");
    let mut psql = house.client(0, program("psql")?)?;
    psql.args(["-XAtc", "SELECT current_user", &require]);
    let mut psycopg = house.client(0, venv::python()?)?;
    psycopg.args(["-c", PSYCOPG, &require]);
    let mut asyncpg = house.client(0, venv::python()?)?;
    asyncpg.args(["-c", ASYNCPG, &port]);
    let mut bound = house.client(0, "node")?;
    bound.args(["--input-type=module", "-e", NODE]).env("PORT", &port).env("BIND", "1");
    bound.current_dir(node()?);
    let mut unbound = house.client(0, "node")?;
    unbound.args(["--input-type=module", "-e", NODE]).env("PORT", &port).current_dir(node()?);
    let file = house.folder.path().join("Login.java");
    std::fs::write(&file, JAVA)?;
    let mut java = house.client(0, "java")?;
    java.args(["-cp", &class_path()?]).arg(&file).arg(&port);
    Ok(vec![
        ("psql", psql),
        ("psycopg", psycopg),
        ("asyncpg", asyncpg),
        ("node-postgres, bound", bound),
        ("node-postgres", unbound),
        ("pgjdbc", java),
    ])
}

const PSYCOPG: &str = "
import psycopg, sys
print(psycopg.connect(sys.argv[1]).execute('SELECT current_user').fetchone()[0])
";

const ASYNCPG: &str = "
import asyncpg, asyncio, sys
async def main():
    c = await asyncpg.connect(host='127.0.0.1', port=int(sys.argv[1]), user='sailor',
                              password='of sailor', database='app', ssl='require')
    print(await c.fetchval('SELECT current_user'))
asyncio.run(main())
";

const NODE: &str = "
import pg from 'pg'
const client = new pg.Client({ host: '127.0.0.1', port: process.env.PORT, user: 'sailor', password: 'of sailor',
  database: 'app', ssl: { rejectUnauthorized: false }, enableChannelBinding: Boolean(process.env.BIND) })
await client.connect()
console.log((await client.query('SELECT current_user AS u')).rows[0].u)
await client.end()
";

const JAVA: &str = r#"
import java.sql.*;
public class Login {
    public static void main(String[] a) throws Exception {
        try (Connection c = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + a[0]
                + "/app?user=sailor&password=of%20sailor&sslmode=require");
             ResultSet r = c.createStatement().executeQuery("SELECT current_user")) {
            r.next();
            System.out.println(r.getString(1));
        }
    }
}
"#;

/// With `auth = "verifier"` a role without one is turned away, so that whoever
/// gets in came by the verifier.
#[test]
fn a_verifier_that_was_kept_lets_every_driver_in() -> Result<()> {
    let house = House::new("auth = \"verifier\"")?;
    let require = house.dsn("sailor", "of sailor", "channel_binding=require");
    let none = house.psql(0, &require)?;
    ensure!(none.is_err(), "without a verifier: {none:?}");

    let wrong = house.add("of nobody")?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(!wrong.status.success() && said.contains("password"), "{said}");
    ensure!(!house.agent.settings_file().with_file_name("logins").exists(), "something is kept");

    let added = house.add("of sailor")?;
    ensure!(added.status.success(), "{added:?}{}", house.postgres.log());
    let kept = std::fs::read_to_string(house.agent.settings_file().with_file_name("logins"))?;
    ensure!(kept.contains("SCRAM-SHA-256$4096:") && !kept.contains("of sailor"), "{kept}");
    let listed = house.login(&["ls"])?;
    ensure!(String::from_utf8_lossy(&listed.stdout).contains("sailor"), "{listed:?}");
    house.agent.must(&["reload"])?;
    for (name, mut driver) in drivers(&house)? {
        let said = run(&mut driver).with_context(|| format!("{name}{}", house.agent.tail()))?;
        ensure!(said.trim() == "sailor", "{name}: {said}");
    }
    for password in ["of reader", ""] {
        let dsn = house.dsn("sailor", password, "channel_binding=require");
        let said = house.psql(0, &dsn)?;
        ensure!(said.is_err(), "with the password `{password}`: {said:?}");
    }

    // The server's own changes: it is told as stale until it is kept anew.
    house.postgres.admin("app", "ALTER ROLE sailor PASSWORD 'of sailors'")?;
    let stale = house.psql(0, &house.dsn("sailor", "of sailors", "channel_binding=require"))?;
    let said = stale.err().context("a stale verifier let somebody in")?;
    ensure!(said.contains("login add"), "it doesn't say what to do: {said}");
    ensure!(house.add("of sailors")?.status.success());
    house.agent.must(&["reload"])?;
    house.enters(0, &house.dsn("sailor", "of sailors", "channel_binding=require"), "sailor")?;

    ensure!(house.login(&["rm", &house.server(), "sailor"])?.status.success());
    house.agent.must(&["reload"])?;
    let gone = house.psql(0, &house.dsn("sailor", "of sailors", "channel_binding=require"))?;
    ensure!(gone.is_err(), "what was taken away still lets in: {gone:?}");
    // As the server itself has it, by a dump.
    let dump = house.folder.path().join("dump");
    let sql = "COPY (SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword LIKE 'SCRAM%') \
               TO STDOUT WITH CSV";
    std::fs::write(&dump, house.postgres.admin("app", sql)?)?;
    let imported = house.login(&["import", &house.server(), &dump.display().to_string()])?;
    ensure!(imported.status.success(), "{imported:?}");
    house.agent.must(&["reload"])?;
    house.enters(0, &house.dsn("sailor", "of sailors", "channel_binding=require"), "sailor")?;
    house.enters(0, &house.dsn("reader", "of reader", "channel_binding=require"), "reader")
}

/// With `auth = "verifier"` nobody gets in but by a line of the file.
#[test]
fn a_file_of_verifiers_lets_in_the_roles_that_it_has() -> Result<()> {
    let house = House::new("auth = \"verifier\"\nverifiers = \"FOLDER/roles\"")?;
    let with = |role: &str, password: &str, binding: &str| {
        house.dsn(role, password, &format!("channel_binding={binding}"))
    };
    for binding in ["require", "prefer", "disable"] {
        house.enters(0, &with("sailor", "of sailor", binding), "sailor")?;
        house.enters(0, &with("reader", "of reader", binding), "reader")?;
        for password in ["of reader", ""] {
            let said = house.psql(0, &with("sailor", password, binding))?;
            ensure!(said.is_err(), "with the password `{password}`: {said:?}");
        }
        let said = house.psql(0, &with("writer", "of writer", binding))?;
        let said = said.err().context("a role that isn't in the file got in")?;
        ensure!(said.contains("no verifier") || said.contains("login add"), "{said}");
    }
    // Another role, of a name that must be quoted, by a reload.
    house.postgres.admin("app", "CREATE ROLE \"o\"\"neil\" LOGIN PASSWORD 'of neil'")?;
    let odd = with("o\"neil", "of neil", "require");
    ensure!(house.psql(0, &odd)?.is_err(), "before it is in the file");
    let all = roles(&house.postgres, &["sailor", "writer", "o\"neil"])?;
    house.folder.secret("roles", &all)?;
    house.agent.must(&["reload"])?;
    house.enters(0, &odd, "o\"neil")?;
    house.enters(0, &with("writer", "of writer", "require"), "writer")?;
    let gone = house.psql(0, &with("reader", "of reader", "require"))?;
    ensure!(gone.is_err(), "what was taken out still lets in: {gone:?}");
    // A file that others may read is none, and what holds goes on to hold.
    let file = house.folder.path().join("roles");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let refused = house.agent.order(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("can be read by everybody"), "{said}");
    house.enters(0, &odd, "o\"neil")
}

/// As somebody adds a role by hand.
#[test]
fn a_password_is_typed_at_a_terminal_and_never_shown() -> Result<()> {
    let house = House::new("auth = \"verifier\"")?;
    let roots = house.postgres.authority().context("no authority")?.root();
    let kept = house.agent.settings_file().with_file_name("logins");
    for (typed, right) in [("of nobody", false), ("", false), ("of sailor", true)] {
        let mut command = Command::new(binary()?);
        command.args(["login", "add", &house.server(), "sailor", "--database", "app"]);
        command.args(["--at", &format!("127.0.0.1:{}", house.postgres.port())]);
        command.arg("--roots").arg(&roots).args(["--server-name", "localhost"]);
        command.arg("--config").arg(house.agent.settings_file()).arg("--file").arg(&kept);
        let mut terminal = Terminal::start(command)?;
        terminal.until("Password of sailor at ")?;
        ensure!(!terminal.echoes()?, "what is typed would be shown");
        terminal.types(&format!("{typed}\n"))?;
        let (shown, status) = terminal.end()?;
        ensure!(status.success() == right, "`{typed}`: {status}: {shown}");
        let rest = shown.split_once("at 127").context("no prompt")?.1;
        ensure!(typed.is_empty() || !rest.contains(typed), "it is shown: {shown}");
        ensure!(kept.exists() == right, "`{typed}`: {shown}");
    }
    house.agent.must(&["reload"])?;
    house.enters(0, &house.dsn("sailor", "of sailor", "channel_binding=require"), "sailor")?;
    // Interrupted, the terminal is as it was.
    let mut command = Command::new(binary()?);
    command.args(["login", "add", &house.server(), "reader", "--at", "127.0.0.1:1"]);
    command.arg("--config").arg(house.agent.settings_file()).arg("--file").arg(&kept);
    let mut terminal = Terminal::start(command)?;
    terminal.until("Password of reader at ")?;
    terminal.types("hunter\x03")?;
    let (shown, status) = terminal.end()?;
    let ended = status.code() == Some(1) && shown.contains("interrupted");
    ensure!(ended && !shown.contains("hunter"), "{status}: {shown}");
    ensure!(terminal.echoes()?, "the terminal is left without echo");
    Ok(())
}

/// Who it is decides the role; what the application says of itself is not used.
#[test]
fn the_workload_decides_the_role_and_its_own_password_is_not_used() -> Result<()> {
    let house = House::new(
        "login = [{ role = \"writer\", from = \"file:FOLDER/writer\", user = 4242 }, \
         { role = \"reader\", from = \"file:FOLDER/reader\" }]",
    )?;
    for (uid, role) in [(4242, "writer"), (4343, "reader"), (0, "reader")] {
        for (said, password) in [("sailor", "of sailor"), ("nobody", ""), ("writer", "wrong")] {
            house.enters(uid, &house.dsn(said, password, ""), role)?;
        }
        let disabled = house.dsn("app", "tide", "").replace("sslmode=require", "sslmode=prefer");
        house.enters(uid, &disabled, role)?;
    }
    let log = house.postgres.log();
    for role in ["sailor", "nobody"] {
        ensure!(!log.contains(&format!("user={role} ")), "the server heard of {role}");
    }
    // A password that no longer fits is the operator's to mend: it says so, and is
    // shown to nobody.
    house.postgres.admin("app", "ALTER ROLE reader PASSWORD 'another'")?;
    let said = house.psql(4343, &house.dsn("sailor", "of sailor", ""))?;
    let said = said.err().context("a password that doesn't fit lets in")?;
    ensure!(!said.contains("of reader") && !house.agent.log().contains("of reader"), "{said}");
    house.folder.secret("reader", "another\n")?;
    house.agent.must(&["reload"])?;
    house.enters(4343, &house.dsn("sailor", "of sailor", ""), "reader")
}

/// In clear the password is shown to the agent, on this host and over TLS; it can
/// be forbidden.
#[test]
fn what_cannot_be_bound_is_told_with_the_setting_that_would_help() -> Result<()> {
    for (more, prefer) in
        [("", true), ("cleartext = \"forbid\"", false), ("auth = \"through\"", false)]
    {
        let house = House::new(more)?;
        let came = house.psql(0, &house.dsn("sailor", "of sailor", "channel_binding=prefer"))?;
        ensure!(came.is_ok() == prefer, "{more}: {came:?}");
        house.enters(0, &house.dsn("sailor", "of sailor", "channel_binding=disable"), "sailor")?;
        if let Err(said) = &came
            && !more.contains("through")
        {
            let word = ["login add", "auth_query", "cleartext"].iter().any(|it| said.contains(it));
            ensure!(word, "{more}: it doesn't say what to change: {said}");
        }
        let events = house.agent.must(&["observe", "-o", "jsonl"])?;
        let clear = events.lines().any(|line| line.contains("cleartext"));
        ensure!(clear == prefer, "{more}: {events}");
    }
    Ok(())
}

/// A client that can be asked in clear only at once is known by leaving. That is learnt
/// of this program of this user, and unlearnt when it leaves then as well.
#[test]
fn nobody_is_asked_in_clear_because_another_left() -> Result<()> {
    let house = House::new("")?;
    let ways = |uid: u32, count: usize| -> Result<Vec<String>> {
        until("what is told of them", Duration::from_secs(10), || {
            let events = house.agent.must(&["observe", "-o", "jsonl"])?;
            let mut ways = Vec::new();
            for line in events.lines() {
                let event: Value = serde_json::from_str(line)?;
                if event["event"] == "closed" && event["flow"]["process"]["uid"] == uid {
                    let way = event["closing"]["carried"]["auth"].as_str().unwrap_or_default();
                    ways.push(way.split(' ').next().unwrap_or_default().to_owned());
                }
            }
            Ok((ways.len() >= count).then_some(ways))
        })
    };
    let dsn =
        |binding: &str| house.dsn("sailor", "of sailor", &format!("channel_binding={binding}"));
    ensure!(house.psql(4242, &dsn("require"))?.is_err(), "it was bound to what isn't the server's");
    house.enters(4343, &dsn("disable"), "sailor")?;
    ensure!(ways(4343, 1)? == ["through"], "{:?}", ways(4343, 1)?);
    // It was this user's psql that left: it is asked at once.
    house.enters(4242, &dsn("disable"), "sailor")?;
    // … and leaves again, so that is nothing for it.
    ensure!(house.psql(4242, &dsn("require"))?.is_err());
    house.enters(4242, &dsn("disable"), "sailor")?;
    let ways = ways(4242, 4)?;
    ensure!(ways[1] == "cleartext" && ways[3] == "through", "{ways:?}");
    Ok(())
}

const TOKEN_PSYCOPG: &str = "
import psycopg, sys
print(psycopg.connect(sys.stdin.read()).execute('SELECT current_user').fetchone()[0])
";

const TOKEN_ASYNCPG: &str = "
import asyncpg, asyncio, sys
port, user, token = sys.stdin.read().split()
async def main():
    c = await asyncpg.connect(host='127.0.0.1', port=int(port), user=user, password=token,
                              database='app', ssl='require')
    print(await c.fetchval('SELECT current_user'))
asyncio.run(main())
";

/// A token as a cloud's identity service gives it in a password's place: signed, and
/// some KiB long.
fn token(length: usize) -> String {
    let mut token =
        String::from("db.example:5432/?Action=connect&DBUser=app&X-Amz-Security-Token=");
    let mut state = 7_u32;
    while token.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sign = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%2F"
            [(state >> 16) as usize % 65];
        token.push(char::from(sign));
    }
    token
}

impl House {
    /// By each client: who it is, or why not.
    fn by_token(&self, role: &str, token: &str) -> Result<Vec<(&'static str, bool, String)>> {
        let dsn = self.dsn(role, token, "channel_binding=disable");
        let mut came = Vec::new();
        for (name, script, said) in [
            ("psql", None, dsn.clone()),
            ("psycopg", Some(TOKEN_PSYCOPG), dsn.clone()),
            ("asyncpg", Some(TOKEN_ASYNCPG), format!("{} {role} {token}", self.postgres.port())),
        ] {
            let mut command = match script {
                Some(script) => {
                    let mut command = self.client(0, venv::python()?)?;
                    command.args(["-c", script]);
                    command
                }
                None => {
                    let mut command = self.client(0, program("psql")?)?;
                    command.args(["-XAtc", "SELECT current_user", &dsn]);
                    command
                }
            };
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let mut stdin = child.stdin.take().context("no stdin")?;
            // psql doesn't read it.
            let _ = std::io::Write::write_all(&mut stdin, said.as_bytes());
            drop(stdin);
            let output = child.wait_with_output()?;
            let text = [output.stdout, output.stderr].concat();
            came.push((name, output.status.success(), String::from_utf8_lossy(&text).into()));
        }
        Ok(came)
    }
}

/// Whether the server asks for it in clear or by SCRAM; it stands in no log of ours.
#[test]
fn a_token_of_several_kib_is_a_password_like_another() -> Result<()> {
    let rules = ["hostssl all cloud all password", "hostssl all all all scram-sha-256"];
    for more in ["", "auth = \"through\"", "auth = \"cleartext\"", "cleartext = \"forbid\""] {
        let house = House::with(&rules, more)?;
        let token = token(6_000);
        for role in ["cloud", "kept"] {
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{token}'");
            house.postgres.admin("app", &sql)?;
        }
        for role in ["cloud", "kept"] {
            for (name, entered, said) in house.by_token(role, &token)? {
                let about = format!("{name}, {role}, {more}: {said}{}", house.agent.tail());
                ensure!(entered && said.trim() == role, "{about}");
            }
            // Down to its last byte.
            let wrong = format!("{}-", &token[..token.len() - 1]);
            for (name, entered, said) in house.by_token(role, &wrong)? {
                let told = said.contains("password authentication failed");
                ensure!(!entered && told, "{name}, {role}, {more}, another token: {said}");
            }
        }
        let part = &token.as_bytes()[200..264];
        let mut logs = vec![house.agent.log().into_bytes()];
        ensure!(!walk(&house.agent.log_folder())?.is_empty(), "nothing is logged");
        for entry in walk(&house.agent.log_folder())? {
            logs.push(std::fs::read(entry)?);
        }
        for log in logs {
            ensure!(!log.windows(part.len()).any(|window| window == part), "{more}: it is kept");
        }
    }
    Ok(())
}

fn walk(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(walk(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
