//! A network namespace of the test's own. It has no name: the kernel removes
//! it with the last descriptor and process, so that nothing can be left over.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use crate::place::Place;
use crate::sys;

#[derive(Debug)]
pub struct Namespace {
    file: File,
    cookie: u64,
}

impl Namespace {
    /// With its loopback up.
    pub fn fresh() -> Result<Self> {
        Self::make(true)
    }

    /// With its loopback down, as the kernel makes it.
    pub fn bare() -> Result<Self> {
        Self::make(false)
    }

    fn make(loopback: bool) -> Result<Self> {
        apart(move || {
            sys::new_namespace().context("cannot make a network namespace")?;
            if loopback {
                sys::loopback_up().context("cannot bring a loopback up")?;
            }
            Ok(Self { file: sys::this_namespace()?, cookie: sys::namespace_cookie()? })
        })?
    }

    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    pub fn inode(&self) -> Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Runs `work` on a thread inside the namespace. Threads it starts, and
    /// sockets it makes, belong to the namespace too.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = self.descriptor();
        apart(move || {
            sys::enter_namespace(namespace).context("cannot enter a network namespace")?;
            work()
        })?
    }

    /// A pair of interfaces from here to `other`: `name` here, `name`p there.
    pub fn join(
        &self,
        other: &Namespace,
        name: &str,
        here: &[(IpAddr, u8)],
        there: &[(IpAddr, u8)],
    ) -> Result<()> {
        let peer = format!("{name}p");
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.descriptor());
        self.ip(&["link", "add", name, "type", "veth", "peer", "name", &peer, "netns", &path])?;
        for (namespace, device, addresses) in [(self, name, here), (other, &peer, there)] {
            namespace.ip(&["link", "set", device, "up"])?;
            for (address, prefix) in addresses {
                let address = format!("{address}/{prefix}");
                let mut arguments = vec!["address", "add", &address, "dev", device];
                if address.contains(':') {
                    // No waiting for duplicate address detection.
                    arguments.push("nodad");
                }
                namespace.ip(&arguments)?;
            }
        }
        Ok(())
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let output = Place::new()
            .namespace(self)
            .command("ip")?
            .args(arguments)
            .output()
            .context("cannot run `ip`: install iproute2")?;
        ensure!(
            output.status.success(),
            "`ip {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Sets a setting of the namespace, such as `ipv4/tcp_fastopen`.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{setting}");
        self.within(|| std::fs::write(&path, value).with_context(|| format!("cannot write {path}")))
    }
}

/// Runs on a thread of its own, whose namespace may change.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().map_err(|_| anyhow!("a thread of the harness panicked"))
    })
}

/// Whether `ip` is there, for those who want to say so first.
pub fn has_ip() -> bool {
    Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success())
}
