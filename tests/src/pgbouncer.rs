//! PgBouncer in front of a server of the suites'.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::certificates::Pair;
use crate::folder::TempFolder;
use crate::{ports, wait};

/// How long a client keeps its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Session,
    /// All clients take turns with so many processes of the server.
    Transaction(u32),
}

impl Pooling {
    /// All take turns with one.
    pub const TURNS: Self = Self::Transaction(1);
}

/// What its two legs carry.
#[derive(Clone, Debug, Default)]
pub struct Legs {
    /// Clients must speak TLS, and see this.
    pub client: Option<Pair>,
    /// It speaks TLS to the server.
    pub server: bool,
}

pub struct Pgbouncer {
    port: u16,
    child: Child,
    folder: TempFolder,
}

impl Pgbouncer {
    /// Anybody may be `app`; the server is asked with the password of `app`.
    pub fn start(server: u16, pooling: Pooling, legs: &Legs) -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let port = ports::fresh()?;
        let (mode, size) = match pooling {
            Pooling::Session => ("session", 40),
            Pooling::Transaction(size) => ("transaction", size),
        };
        let path = folder.path();
        let mut settings = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={server} user=app password=tide\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\nmax_client_conn = 3000\n\
             default_pool_size = {size}\nignore_startup_parameters = extra_float_digits\n\
             server_login_retry = 1\n\
             logfile = {}\n",
            path.join("log").display(),
        );
        if let Some(pair) = &legs.client {
            // It drops root before it reads them.
            for (from, name) in [(&pair.certificate, "client.crt"), (&pair.key, "client.key")] {
                std::fs::copy(from, path.join(name))?;
                open_to_all(&path.join(name))?;
            }
            settings += &format!(
                "client_tls_sslmode = require\nclient_tls_cert_file = {0}/client.crt\n\
                 client_tls_key_file = {0}/client.key\n",
                path.display()
            );
        }
        if legs.server {
            settings += "server_tls_sslmode = require\n";
        }
        let file = path.join("pgbouncer.ini");
        std::fs::write(&file, settings)?;
        std::fs::write(path.join("log"), "")?;
        for file in [&file, &path.join("log")] {
            open_to_all(file)?;
        }
        let mut command = Command::new("pgbouncer");
        command.arg("-q").args(["-u", "nobody"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start `pgbouncer`: install pgbouncer")?;
        let mut pgbouncer = Self { port, child, folder };
        wait::until("PgBouncer to listen", Duration::from_secs(10), || {
            if let Some(status) = pgbouncer.child.try_wait()? {
                bail!("pgbouncer has ended ({status}): {}", pgbouncer.log());
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(()))
        })?;
        Ok(pgbouncer)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn open_to_all(file: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666))?;
    Ok(())
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
