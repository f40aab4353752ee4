//! Small clients in many languages: each connects, says a word, and ends. What
//! they are is what the agent must tell of them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::folder::TempFolder;

/// The scripts, in a folder that everybody may read.
pub struct Clients {
    folder: TempFolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
    Java,
    /// bash, by /dev/tcp.
    Shell,
    Perl,
    Ruby,
}

const PYTHON: &str = "\
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'hello\\n')
";

const NODE: &str = "\
const s = require('net').connect(+process.argv[3], process.argv[2], () => s.end('hello\\n'));
s.on('error', () => process.exit(0));
s.on('close', () => process.exit(0));
s.resume();
";

const JAVA: &str = "\
public class Client {
    public static void main(String[] a) throws Exception {
        try (var s = new java.net.Socket(a[0], Integer.parseInt(a[1]))) {
            s.getOutputStream().write(\"hello\\n\".getBytes());
        }
    }
}
";

const SHELL: &str = "\
#!/bin/bash
exec 3<>/dev/tcp/$1/$2
echo hello >&3
";

const PERL: &str = "\
use IO::Socket::INET;
my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1]) or die;
print $s qq(hello\\n);
";

const RUBY: &str = "\
require 'socket'
s = TCPSocket.new(ARGV[0], ARGV[1].to_i)
s.write(\"hello\\n\")
s.close
";

impl Clients {
    pub fn fresh() -> Result<Self> {
        let folder = TempFolder::fresh()?;
        for (name, text) in [
            ("client.py", PYTHON),
            ("client.js", NODE),
            ("Client.java", JAVA),
            ("client.sh", SHELL),
            ("client.pl", PERL),
            ("client.rb", RUBY),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        let made = Command::new("javac")
            .arg("-d")
            .args([folder.path(), &folder.path().join("Client.java")])
            .output()
            .context("cannot run `javac`: install default-jdk-headless")?;
        ensure!(made.status.success(), "javac: {}", String::from_utf8_lossy(&made.stderr));
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Program and arguments of a client that bears a label.
    pub fn words(&self, language: Language, to: SocketAddr, label: &str) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut words = match language {
            Language::Python => vec!["/usr/bin/python3".into(), "-SE".into(), file("client.py")],
            Language::Node => vec!["node".into(), file("client.js")],
            Language::Java => {
                let folder = self.folder.path().display().to_string();
                ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([folder, "Client".into()])
                    .collect()
            }
            Language::Shell => vec![file("client.sh")],
            Language::Perl => vec!["/usr/bin/perl".into(), file("client.pl")],
            Language::Ruby => {
                vec![
                    "/usr/bin/ruby".into(),
                    "-W0".into(),
                    "-I".into(),
                    "lib".into(),
                    file("client.rb"),
                ]
            }
        };
        words.extend([to.ip().to_string(), to.port().to_string(), label.to_owned()]);
        words
    }

    /// What the agent must say that its interpreter runs.
    pub fn script(&self, language: Language) -> String {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        match language {
            Language::Python => file("client.py"),
            Language::Node => file("client.js"),
            Language::Java => "Client".into(),
            Language::Shell => file("client.sh"),
            Language::Perl => file("client.pl"),
            Language::Ruby => file("client.rb"),
        }
    }
}

impl Language {
    /// The program's file, links followed.
    pub fn program(self) -> Result<PathBuf> {
        let name = match self {
            Self::Python => "/usr/bin/python3",
            Self::Node => "node",
            Self::Java => "java",
            Self::Shell => "/bin/bash",
            Self::Perl => "/usr/bin/perl",
            Self::Ruby => "/usr/bin/ruby",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
            .with_context(|| format!("`{name}` is not there"))?
            .canonicalize()
            .context("a program's path")
    }
}
