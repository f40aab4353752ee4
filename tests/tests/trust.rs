//! `tidegate ca trust`: what it writes is what each runtime needs to believe in
//! the servers behind the gate, and what is taken back is believed by nobody.
//!
//! INVARIANT: this machine's own store is never touched. What changes it runs in
//! a mount namespace, over a copy.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, binary};
use tidegate_tests::certificates::{Authority, Pair};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::diff::plan;
use tidegate_tests::drivers::{class_path, node};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::venv;

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl House {
    fn new() -> Result<Self> {
        let postgres = Postgres::with_tls()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, plan(&postgres, postgres.port()))?;
        Ok(Self { agent, work, _root: root, postgres, folder: TempFolder::fresh()? })
    }

    fn client(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Place::new().cgroup(&self.work).command(program)?;
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS"] {
            command.env_remove(name);
        }
        command.env("HOME", "/nonexistent").env("PGPASSWORD", "tide").stdin(Stdio::null());
        Ok(command)
    }

    fn trust(&self) -> PathBuf {
        self.folder.path().join("trust")
    }

    /// `tidegate ca <words>`, by way of `store` where it is about the system's.
    fn ca(&self, store: Option<&Store>, words: &[&str]) -> Result<Output> {
        let mut command = match store {
            None => Command::new(binary()?),
            Some(store) => store.inside(Command::new("unshare"), binary()?)?,
        };
        command.arg("ca").args(words).arg("--config").arg(self.agent.settings_file());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Ok(command.output()?)
    }

    fn must(&self, store: Option<&Store>, words: &[&str]) -> Result<Value> {
        let output = self.ca(store, &[words, &["-o", "json"]].concat())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "`ca {}`: {said}{errors}", words.join(" "));
        serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())
    }
}

/// The system's store as the processes see it that run inside: a copy of the
/// machine's, with a company's own root.
struct Store {
    folder: TempFolder,
    company: Authority,
}

impl Store {
    fn copied() -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let company = Authority::fresh()?;
        let at = |name: &str| folder.path().join(name);
        run(Command::new("cp").args(["-a", CERTIFICATES]).arg(at("certs")))
            .context("install ca-certificates")?;
        std::fs::create_dir(at("local"))?;
        std::fs::copy(company.root(), at("local/company.crt"))?;
        // In the place of the machine's: it notes what programs of other stores
        // (Java's) are told to add.
        std::fs::create_dir(at("hooks"))?;
        let hook = at("hooks/told");
        std::fs::write(&hook, format!("#!/bin/sh\ncat >> '{}'\n", at("told").display()))?;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, company })
    }

    /// `unshare` is `unshare`, wherever it is to run.
    fn inside(&self, mut unshare: Command, program: impl AsRef<OsStr>) -> Result<Command> {
        const SCRIPT: &str = "mount --bind \"$1/local\" \"$2\"; mount --bind \"$1/certs\" \"$3\"; \
                              mount --bind \"$1/hooks\" \"$4\"; shift 4; exec \"$@\"";
        unshare.args(["--mount", "--propagation", "private", "sh", "-euc", SCRIPT, "sh"]);
        unshare.arg(self.folder.path()).args([LOCAL, CERTIFICATES, HOOKS]).arg(program);
        Ok(unshare)
    }

    /// The files of the CA that lie in it.
    fn ours(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder.path().join("local"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name != "company.crt");
        Ok(names)
    }

    /// What the hooks were told since the last time.
    fn told(&self) -> Result<String> {
        let file = self.folder.path().join("told");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, "")?;
        Ok(text)
    }

    fn has_the_companys(&self) -> Result<bool> {
        let bundle = self.folder.path().join("certs/ca-certificates.crt");
        let root = std::fs::read_to_string(self.company.root())?;
        let lines: String = root.lines().collect();
        Ok(std::fs::read_to_string(bundle)?.lines().collect::<String>().contains(&lines))
    }

    /// Whether programs that go by the system's store believe in the server.
    fn believes(&self, house: &House) -> Result<bool> {
        let port = house.postgres.port().to_string();
        let mut openssl = self.inside(house.client("unshare")?, "openssl")?;
        openssl.args(["s_client", "-starttls", "postgres", "-brief", "-verify_return_error"]);
        openssl.args(["-servername", "localhost", "-verify_hostname", "localhost"]);
        let by_openssl = openssl.args(["-connect", &format!("127.0.0.1:{port}")]).output()?;
        let mut python = self.inside(house.client("unshare")?, "/usr/bin/python3")?;
        let by_python = python.args(["-c", PYTHON, &port]).output()?;
        let [one, other] = [&by_openssl, &by_python].map(|output| output.status.success());
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let words = said(&by_openssl) + &said(&by_python);
        ensure!(one == other, "they don't agree: {words}{}", house.agent.tail());
        // Not for another reason.
        ensure!(one || words.matches("certificate verify failed").count() >= 2, "{words}");
        Ok(one)
    }
}

const LOCAL: &str = "/usr/local/share/ca-certificates";
const CERTIFICATES: &str = "/etc/ssl/certs";
const HOOKS: &str = "/etc/ca-certificates/update.d";

const PYTHON: &str = r#"
import socket, ssl, struct, sys
raw = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
raw.sendall(struct.pack("!II", 8, 80877103))
assert raw.recv(1) == b"S"
ssl.create_default_context().wrap_socket(raw, server_hostname="localhost").close()
"#;

/// Every file of the machine's own store.
fn machine() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(LOCAL), PathBuf::from(CERTIFICATES)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match std::fs::read_link(&path) {
                Ok(link) => found.insert(path, link.into_os_string().into_encoded_bytes()),
                Err(_) if path.is_dir() => {
                    folders.push(path);
                    None
                }
                Err(_) => found.insert(path.clone(), std::fs::read(&path)?),
            };
        }
    }
    Ok(found)
}

#[test]
fn the_systems_store_takes_the_ca_and_gives_it_back() -> Result<()> {
    let before = machine()?;
    let house = House::new()?;
    let store = Store::copied()?;
    let out = house.trust().display().to_string();
    let trust = ["trust", "--system", "--out", &out];
    ensure!(!store.believes(&house)?, "it is believed before anybody was told to");

    let given = house.must(Some(&store), &trust)?;
    let first = store.ours()?;
    ensure!(first.len() == 1, "{first:?}");
    ensure!(given.to_string().contains(&first[0]), "it isn't told: {given}");
    ensure!(store.believes(&house)?, "{given}");
    ensure!(store.told()?.contains("+/etc/ssl/certs/tidegate"), "others are not told");
    ensure!(store.has_the_companys()?);
    // Once more changes nothing.
    house.must(Some(&store), &trust)?;
    ensure!(store.ours()? == first && store.told()?.is_empty() && store.believes(&house)?);

    // A new CA beside the old: the running agent signs with the old one yet.
    house.must(None, &["rotate", "--unconstrained"])?;
    house.must(Some(&store), &trust)?;
    ensure!(store.ours()?.len() == 2 && store.believes(&house)?, "{:?}", store.ours()?);
    house.agent.must(&["reload"])?;
    ensure!(store.believes(&house)?, "the new one is not believed");
    store.told()?;

    // One in the place of both: those who keep stores of their own must be told of
    // it, which goes by the files' names.
    let both = store.ours()?;
    for name in ["ca.crt", "ca.key", "ca.crt.previous"] {
        std::fs::remove_file(house.agent.settings_file().with_file_name(name))?;
    }
    house.must(None, &["init", "--unconstrained"])?;
    house.must(Some(&store), &trust)?;
    house.agent.must(&["reload"])?;
    let third = store.ours()?;
    ensure!(third.len() == 1 && !both.contains(&third[0]), "{third:?} after {both:?}");
    ensure!(store.told()?.contains("+/etc/ssl/certs/tidegate"), "others are not told");
    ensure!(store.believes(&house)?);

    house.must(Some(&store), &["trust", "--remove", "--system", "--out", &out])?;
    ensure!(store.ours()?.is_empty() && !house.trust().exists(), "{:?}", store.ours()?);
    ensure!(!store.believes(&house)?, "it is still believed");
    ensure!(store.has_the_companys()?, "the company's own root is gone");
    // There is nothing left to take back.
    house.must(Some(&store), &["trust", "--remove", "--system", "--out", &out])?;
    ensure!(machine()? == before, "this machine's own store is another one now");
    Ok(())
}

/// A runtime's program, which ends well if it believes in the server.
struct Runtime {
    name: &'static str,
    /// The variables of the drop-in that it goes by.
    heeds: &'static [&'static str],
    command: Command,
}

fn runtimes(house: &House) -> Result<Vec<Runtime>> {
    let port = house.postgres.port().to_string();
    let dsn = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=app dbname=app sslmode=verify-full \
         gssencmode=disable"
    );
    let mut psql = house.client(program("psql")?)?;
    psql.args(["-XAtc", "SELECT 1", &dsn]);
    let mut psycopg = house.client(venv::python()?)?;
    psycopg.args(["-c", "import psycopg, sys; psycopg.connect(sys.argv[1]).close()", &dsn]);
    let mut asyncpg = house.client(venv::python()?)?;
    asyncpg.args(["-c", ASYNCPG, &format!("postgresql://app:tide@localhost:{port}/app")]);
    let mut python = house.client("/usr/bin/python3")?;
    python.args(["-c", PYTHON, &port]);
    let mut openssl = house.client("openssl")?;
    openssl.args(["s_client", "-starttls", "postgres", "-brief", "-verify_return_error"]);
    openssl.args(["-servername", "localhost", "-verify_hostname", "localhost"]);
    openssl.args(["-connect", &format!("127.0.0.1:{port}")]);
    let mut script = house.client("node")?;
    script.args(["--input-type=module", "-e", NODE]).env("PORT", &port).current_dir(node()?);
    let file = house.folder.path().join("Trusting.java");
    std::fs::write(&file, JAVA)?;
    let mut java = house.client("java")?;
    java.args(["-cp", &class_path()?]).arg(&file).arg(&port);
    let all = [
        ("psql", &["PGSSLROOTCERT"][..], psql),
        ("psycopg", &["PGSSLROOTCERT"], psycopg),
        ("asyncpg", &["PGSSLROOTCERT"], asyncpg),
        ("Python's ssl", &["SSL_CERT_FILE"], python),
        ("OpenSSL", &["SSL_CERT_FILE"], openssl),
        ("Node", &["NODE_EXTRA_CA_CERTS"], script),
        ("Java", &["JAVA_TOOL_OPTIONS"], java),
    ];
    Ok(all.into_iter().map(|(name, heeds, command)| Runtime { name, heeds, command }).collect())
}

const ASYNCPG: &str = r#"
import asyncio, asyncpg, sys
async def main():
    await (await asyncpg.connect(sys.argv[1], ssl="verify-full")).close()
asyncio.run(main())
"#;

const NODE: &str = r#"
import pg from 'pg'
const client = new pg.Client({ host: 'localhost', port: process.env.PORT, user: 'app', database: 'app', ssl: true })
await client.connect()
await client.end()
"#;

const JAVA: &str = r#"
import java.sql.DriverManager;
public class Trusting {
    public static void main(String[] a) throws Exception {
        DriverManager.getConnection("jdbc:postgresql://localhost:" + a[0] + "/app?user=app&password=tide"
            + "&sslmode=verify-full&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory").close();
    }
}
"#;

/// Each of them verifies in full: without the drop-in none connects, with its own
/// variables each does, and the two forms of the drop-in say the same.
#[test]
fn each_runtime_believes_by_the_variables_that_are_written_for_it() -> Result<()> {
    let house = House::new()?;
    let out = house.trust();
    for Runtime { name, mut command, .. } in runtimes(&house)? {
        let output = command.output()?;
        ensure!(!output.status.success(), "{name} believes whom nobody has vouched for");
    }
    let given = house.must(None, &["trust", "--java", "--out", &out.display().to_string()])?;
    let env = std::fs::read_to_string(out.join("env"))?;
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    for line in env.lines() {
        let (name, value) = line.split_once('=').with_context(|| line.to_owned())?;
        variables.insert(name, value.into());
    }
    // As it is told to people.
    let words = given.to_string();
    let told = words.split("JAVA_TOOL_OPTIONS=\\\"").nth(1).context("Java is not told")?;
    let told = told.split("\\\"").next();
    ensure!(told == variables.get("JAVA_TOOL_OPTIONS").map(String::as_str), "{told:?}: {env}");
    for Runtime { name, heeds, mut command } in runtimes(&house)? {
        for variable in heeds {
            command.env(variable, variables.get(variable).with_context(|| env.clone())?);
        }
        run(&mut command).with_context(|| format!("{name}{}", house.agent.tail()))?;
    }
    let mut shell = house.client("sh")?;
    shell.args(["-euc", ". \"$1\"; env", "sh"]).arg(out.join("profile.sh"));
    let said = run(&mut shell)?;
    ensure!(env.lines().all(|line| said.lines().any(|one| one == line)), "{said}");
    // For a pod: the same certificates, as a ConfigMap has them.
    let pod = std::fs::read_to_string(out.join("kubernetes.yaml"))?;
    let block = pod.split("  bundle.pem: |\n").nth(1).context("no bundle for pods")?;
    let (block, store) =
        block.split_once("binaryData:\n  truststore.p12: ").context("no store for pods")?;
    let block: Vec<&str> = block.lines().map(str::trim).collect();
    let bundle = std::fs::read_to_string(out.join("bundle.pem"))?;
    ensure!(block == bundle.lines().collect::<Vec<_>>(), "pods get another bundle");
    let file = out.join("store.base64");
    std::fs::write(&file, store)?;
    let decoded = Command::new("base64").args(["-d", "-i"]).arg(&file).output()?.stdout;
    ensure!(decoded == std::fs::read(out.join("truststore.p12"))?, "pods get another store");
    for (name, value) in &variables {
        let there = value.replace(&out.display().to_string(), "/etc/tidegate/trust");
        let line = format!("- {{ name: {name}, value: \"{there}\" }}");
        ensure!(pod.contains(&line), "a pod isn't told `{line}`: {pod}");
    }
    let unit = std::fs::read_to_string(out.join("systemd.conf"))?;
    let file = format!("EnvironmentFile=-{}", out.join("env").display());
    ensure!(unit.lines().eq(["[Service]", &file]), "{unit}");
    // Without the store nobody is sent to it.
    std::fs::remove_file(out.join("truststore.p12"))?;
    house.must(None, &["trust", "--out", &out.display().to_string()])?;
    for name in ["env", "profile.sh", "kubernetes.yaml"] {
        let text = std::fs::read_to_string(out.join(name))?;
        ensure!(!text.contains("JAVA") && !text.contains("truststore"), "{name}: {text}");
    }
    Ok(())
}

/// The company's own people trust its root, and have nothing else to do.
#[test]
fn a_companys_intermediate_is_believed_by_the_companys_root_alone() -> Result<()> {
    let company = Authority::fresh()?;
    let issuing = company.intermediate("the company's issuing CA")?;
    let below = issuing.intermediate("this host's CA")?;
    let house = House::new()?;
    let psql = |root: &std::path::Path, mode: &str| -> Result<Output> {
        let mut psql = house.client(program("psql")?)?;
        let dsn = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=app dbname=app sslmode={mode} \
             sslrootcert={} gssencmode=disable",
            house.postgres.port(),
            root.display()
        );
        Ok(psql.args(["-XAtc", "SELECT 'hello'"]).arg(dsn).output()?)
    };
    let believes = |root: &std::path::Path| -> Result<bool> {
        let mut all = Vec::new();
        for mode in ["verify-ca", "verify-full"] {
            let output = psql(root, mode)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let refused = said.contains("certificate verify failed");
            ensure!(output.status.success() != refused, "{said}{}", house.agent.tail());
            all.push(output.status.success());
        }
        ensure!(all[0] == all[1], "verify-ca and verify-full differ");
        Ok(all[0])
    };
    let text = |path: PathBuf| path.display().to_string();
    let stranger = Authority::fresh()?;
    ensure!(!believes(&company.root())?, "it is believed before it is there");
    // One below the root, and one below that: what stands between goes with the leaf.
    for (authority, chain) in [(&issuing, None), (&below, Some(issuing.root()))] {
        let Pair { certificate, key } = authority.pair();
        let (certificate, key) = (text(certificate), text(key));
        let mut words = vec!["rotate", "--from-cert", &certificate, "--from-key", &key];
        let chain = chain.map(text);
        words.extend(chain.iter().flat_map(|chain| ["--chain", chain]));
        house.must(None, &words)?;
        house.agent.must(&["reload"])?;
        ensure!(believes(&company.root())?, "{words:?}");
        ensure!(!believes(&stranger.root())?, "{words:?}");
        // By name too, and not by another.
        let mut other = house.client(program("psql")?)?;
        let dsn = format!(
            "host=elsewhere.test hostaddr=127.0.0.1 port={} user=app dbname=app \
             sslmode=verify-full sslrootcert={} gssencmode=disable",
            house.postgres.port(),
            company.root().display()
        );
        let output = other.args(["-XAtc", "SELECT 1"]).arg(dsn).output()?;
        ensure!(!output.status.success(), "it is believed to be elsewhere.test");
    }
    // What is sent is all that leads to the root, and the root is no part of it.
    let mut openssl = house.client("openssl")?;
    openssl.args(["s_client", "-starttls", "postgres", "-showcerts", "-verify_return_error"]);
    openssl.arg("-CAfile").arg(company.root());
    openssl.args(["-connect", &format!("127.0.0.1:{}", house.postgres.port())]);
    let output = openssl.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.matches("BEGIN CERTIFICATE").count() == 3, "{said}");
    ensure!(said.contains("Verify return code: 0 (ok)"), "{said}");
    // Without what stands between nobody would be led to the root: it is told at once.
    let Pair { certificate, key } = below.pair();
    let (certificate, key) = (text(certificate), text(key));
    let stray = text(stranger.root());
    let words = ["rotate", "--from-cert", &certificate, "--from-key", &key, "--chain", &stray];
    let output = house.ca(None, &words)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("which hasn't signed it"), "{said}");
    Ok(())
}

/// systemd itself reads it, in a unit that is never started.
#[test]
fn the_drop_in_is_one_that_systemd_takes_and_names_what_is_there() -> Result<()> {
    let house = House::new()?;
    let out = house.trust();
    house.must(None, &["trust", "--java", "--out", &out.display().to_string()])?;
    let folder = house.folder.path();
    let unit = folder.join("led.service");
    std::fs::write(&unit, "[Service]\nType=oneshot\nExecStart=/bin/true\n")?;
    let drop_in = folder.join("led.service.d");
    std::fs::create_dir(&drop_in)?;
    let verified = |text: &str| -> Result<String> {
        std::fs::write(drop_in.join("tidegate.conf"), text)?;
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(["verify", "--man=no"]).arg(&unit).output();
        let output = output.context("install systemd, of which systemd-analyze is a part")?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let text = std::fs::read_to_string(out.join("systemd.conf"))?;
    let said = verified(&text)?;
    ensure!(said.is_empty(), "systemd says of it: {said}");
    for broken in [text.replace("EnvironmentFile", "EnvironmentsFile"), text.replace("=-/", "=-")] {
        ensure!(!verified(&broken)?.is_empty(), "systemd says nothing of `{broken}`");
    }
    let file = text.lines().find_map(|line| line.strip_prefix("EnvironmentFile=-"));
    let file = file.with_context(|| text.clone())?;
    let env = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let mut named = 0;
    for line in env.lines() {
        // As systemd reads such a file: a name, and all that stands behind the sign, where
        // none of these begins something else.
        let (name, value) = line.split_once('=').with_context(|| line.to_owned())?;
        let plain = |sign: char| sign.is_ascii_uppercase() || sign == '_';
        ensure!(name.chars().all(plain) && !name.is_empty(), "{line}");
        ensure!(!value.contains(['"', '\'', '\\', '#', ';', '$']), "{line}");
        for path in value.split([' ', '=']).filter(|word| word.starts_with('/')) {
            ensure!(std::path::Path::new(path).is_file(), "{line}: `{path}` is not there");
            named += 1;
        }
    }
    ensure!(named >= 4, "{env}");
    Ok(())
}
