//! HAProxy as a plain TCP relay, with as many threads as there are cores.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::folder::TempFolder;
use crate::{ports, wait};

pub struct Haproxy {
    port: u16,
    child: Child,
    _folder: TempFolder,
}

impl Haproxy {
    pub fn start(server: u16) -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let port = ports::fresh()?;
        let cores = std::thread::available_parallelism()?;
        let settings = folder.path().join("haproxy.cfg");
        std::fs::write(
            &settings,
            format!(
                "global\n  nbthread {cores}\n  maxconn 8000\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  \
                 timeout server 10m\n\
                 frontend f\n  bind 127.0.0.1:{port} backlog 4096\n  default_backend b\n\
                 backend b\n  server s 127.0.0.1:{server}\n"
            ),
        )?;
        let child = Command::new("haproxy")
            .args(["-db", "-q", "-f"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start `haproxy`: install haproxy")?;
        let haproxy = Self { port, child, _folder: folder };
        wait::until_true("HAProxy to listen", Duration::from_secs(10), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(haproxy)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
