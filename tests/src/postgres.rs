//! A throwaway PostgreSQL: its own data, port and socket folder, and a
//! certificate of its own when TLS is wanted.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::folder::TempFolder;
use crate::place::Place;
use crate::{ports, sys, wait};

pub struct Postgres {
    port: u16,
    server: Child,
    folder: TempFolder,
}

impl Postgres {
    /// User `app` with password `tide`, database `app`, on 127.0.0.1 and ::1.
    pub fn start() -> Result<Self> {
        Self::make(false)
    }

    pub fn with_tls() -> Result<Self> {
        Self::make(true)
    }

    fn make(tls: bool) -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let (uid, gid) = server_user()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        give(&data, uid, gid)?;
        let password = folder.path().join("password");
        std::fs::write(&password, "tide\n")?;
        let mut initdb = Place::new().user(uid, gid).command(program("initdb")?)?;
        initdb
            .arg("-D")
            .arg(&data)
            .args(["-U", "app", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"])
            .arg(format!("--pwfile={}", password.display()))
            .current_dir(folder.path());
        run(&mut initdb)?;
        if tls {
            certificate(&data, uid, gid)?;
        }
        let port = ports::fresh()?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut server = Place::new().user(uid, gid).command(program("postgres")?)?;
        server
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1,::1"])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=50"])
            .args(["-c", if tls { "ssl=on" } else { "ssl=off" }])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", data.display()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let server = server.spawn().context("cannot start postgres")?;
        let mut postgres = Self { port, server, folder };
        postgres.wait_ready()?;
        postgres.psql("postgres", "CREATE DATABASE app")?;
        Ok(postgres)
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

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where the data lies (and `server.crt`, when there is TLS).
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

fn certificate(data: &Path, uid: u32, gid: u32) -> Result<()> {
    let (key, certificate) = (data.join("server.key"), data.join("server.crt"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run(&mut openssl)?;
    give(&key, uid, gid)?;
    give(&certificate, uid, gid)
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
