//! A throwaway PostgreSQL: its own data, port and socket folder, and a
//! certificate of its own when TLS is wanted.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::certificates::{Authority, Key};
use crate::folder::TempFolder;
use crate::place::Place;
use crate::{newer, ports, sys, wait};

/// What kind of server is wanted.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    tls: Option<Key>,
    names: Option<Vec<String>>,
    rules: Vec<String>,
    settings: Vec<String>,
    newer: bool,
}

impl Setup {
    /// Of a newer release than the one that is installed.
    pub fn newer(mut self) -> Self {
        self.newer = true;
        self
    }

    /// With a certificate of a test authority's for `localhost`,
    /// `db.tidegate.test` and the loopback addresses.
    pub fn tls(mut self, key: Key) -> Self {
        self.tls = Some(key);
        self
    }

    /// Its certificate is for these instead.
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names = Some(names.iter().map(ToString::to_string).collect());
        self
    }

    /// Every connection over TCP authenticates in this way (`trust`, `md5`, …).
    pub fn auth(self, method: &str) -> Self {
        self.rule(&format!("host all all all {method}"))
            .rule(&format!("host replication all all {method}"))
    }

    /// A line for `pg_hba.conf`; with none, it is SCRAM for everybody.
    pub fn rule(mut self, line: &str) -> Self {
        self.rules.push(line.into());
        self
    }

    /// `name=value`, as the server's `-c` takes it.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.into());
        self
    }

    pub fn start(self) -> Result<Postgres> {
        Postgres::make(self)
    }
}

pub struct Postgres {
    port: u16,
    setup: Setup,
    server: Child,
    authority: Option<Authority>,
    folder: TempFolder,
    programs: Programs,
}

/// Where the server's own are.
#[derive(Clone, Debug)]
enum Programs {
    Installed,
    Copied(PathBuf),
}

impl Programs {
    fn find(&self, name: &str) -> Result<PathBuf> {
        match self {
            Self::Installed => program(name),
            Self::Copied(folder) => Ok(folder.join("bin").join(name)),
        }
    }
}

impl Postgres {
    /// User `app` with password `tide`, database `app`, on 127.0.0.1 and ::1.
    pub fn start() -> Result<Self> {
        Setup::default().start()
    }

    pub fn with_tls() -> Result<Self> {
        Setup::default().tls(Key::P256).start()
    }

    pub fn setup() -> Setup {
        Setup::default()
    }

    fn make(setup: Setup) -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let (uid, gid) = server_user()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        give(&data, uid, gid)?;
        let password = folder.path().join("password");
        std::fs::write(&password, "tide\n")?;
        let programs = match setup.newer {
            true => Programs::Copied(newer::copied(folder.path())?),
            false => Programs::Installed,
        };
        let mut initdb = Place::new().user(uid, gid).command(programs.find("initdb")?)?;
        initdb
            .arg("-D")
            .arg(&data)
            .args(["-U", "app", "--auth-host=scram-sha-256", "--auth-local=trust"])
            .args(["-E", "UTF8", "--locale=C", "--no-sync"])
            .arg(format!("--pwfile={}", password.display()))
            .current_dir(folder.path());
        run(&mut initdb)?;
        if !setup.rules.is_empty() {
            let rules = format!("local all all trust\n{}\n", setup.rules.join("\n"));
            std::fs::write(data.join("pg_hba.conf"), rules)?;
        }
        let authority = match setup.tls {
            Some(key) => {
                let authority = Authority::fresh()?;
                let own = ["localhost", "db.tidegate.test", "127.0.0.1", "::1"];
                let other = setup.names.as_ref();
                let other = other.map(|names| names.iter().map(String::as_str).collect());
                let names: Vec<&str> = other.unwrap_or(own.into());
                let pair = authority.server(&data, &names, key)?;
                give(&pair.key, uid, gid)?;
                Some(authority)
            }
            None => None,
        };
        let port = ports::fresh()?;
        let server = spawn(&folder, &setup, &programs, authority.as_ref(), port)?;
        let mut postgres = Self { port, setup, server, authority, folder, programs };
        postgres.wait_ready()?;
        postgres.admin("postgres", "CREATE DATABASE app")?;
        Ok(postgres)
    }

    /// Ends the server (`SIGINT`: in order, `SIGQUIT`: at once) and starts it
    /// again, with the same data and port.
    pub fn restart(&mut self, signal: i32) -> Result<()> {
        self.stop(signal)?;
        let Self { folder, setup, programs, authority, .. } = &*self;
        self.server = spawn(folder, setup, programs, authority.as_ref(), self.port)?;
        self.wait_ready()
    }

    /// Ends the server, and nothing else.
    pub fn stop(&mut self, signal: i32) -> Result<()> {
        sys::signal(self.server.id(), signal)?;
        wait::until_true("postgres to end", Duration::from_secs(20), || {
            matches!(self.server.try_wait(), Ok(Some(_)))
        })
    }

    /// Waits for a server that recovers by itself.
    pub fn wait_back(&self) -> Result<()> {
        wait::until_true("PostgreSQL to be back", Duration::from_secs(30), || {
            self.admin("postgres", "SELECT 1").is_ok()
        })
    }

    /// The certificate of who has signed the server's, where there is TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Runs statements by the server's own socket, as its owner.
    pub fn admin(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = Command::new(program("psql")?);
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "app", "-d", database]);
        command.arg("-h").arg(self.data()).args(["-p", &self.port.to_string(), "-c", sql]);
        run(&mut command)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let ready = program("pg_isready")?;
        let port = self.port.to_string();
        wait::until("PostgreSQL to be ready", Duration::from_secs(30), || {
            if let Some(status) = self.server.try_wait()? {
                bail!("postgres has ended ({status}): {}", self.log());
            }
            let mut command = Command::new(&ready);
            command.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            Ok(command.status()?.success().then_some(()))
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's own process.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where the data lies.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As libpq takes it.
    pub fn dsn(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=app password=tide dbname={database} connect_timeout=10",
            self.port
        )
    }

    /// Runs a statement past every gate, and gives its output unaligned.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = Command::new(program("psql")?);
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.dsn(database));
        run(&mut command)
    }
}

fn spawn(
    folder: &TempFolder,
    setup: &Setup,
    programs: &Programs,
    authority: Option<&Authority>,
    port: u16,
) -> Result<Child> {
    let (uid, gid) = server_user()?;
    let data = folder.path().join("data");
    let log = File::options().create(true).append(true).open(folder.path().join("log"))?;
    let mut server = Place::new().user(uid, gid).command(programs.find("postgres")?)?;
    server
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1,::1"])
        .args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=50"])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", data.display()));
    if let Some(authority) = authority {
        server.args(["-c", "ssl=on", "-c"]);
        server.arg(format!("ssl_ca_file={}", authority.root().display()));
    }
    for setting in &setup.settings {
        server.args(["-c", setting]);
    }
    server.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    server.spawn().context("cannot start postgres")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, its children too.
        let _ = sys::signal(self.server.id(), libc::SIGQUIT);
        let ended = wait::until_true("postgres to end", Duration::from_secs(10), || {
            matches!(self.server.try_wait(), Ok(Some(_)))
        });
        if ended.is_err() {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// A program of the newest PostgreSQL that is installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") {
        for entry in entries.flatten() {
            let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            versions.push((version, entry.path().join("bin").join(name)));
        }
    }
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .chain(["/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name)))
        .find(|path| path.is_file())
        .with_context(|| format!("`{name}` is not there: install postgresql"))
}

/// PostgreSQL refuses to run as root.
fn server_user() -> Result<(u32, u32)> {
    let name = c"postgres";
    // SAFETY: getpwnam(3) takes a C string; the record is read at once.
    unsafe {
        let entry = libc::getpwnam(name.as_ptr());
        if !entry.is_null() {
            return Ok(((*entry).pw_uid, (*entry).pw_gid));
        }
    }
    Ok((65_534, 65_534))
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let path_c = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a valid C string.
    sys::check(unsafe { libc::chown(path_c.as_ptr(), uid, gid) })
        .with_context(|| format!("cannot give {} to user {uid}", path.display()))?;
    Ok(())
}

/// Runs to the end, and gives what was printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
