//! `tidegate run`: becomes the keeper.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{classify, policy};
use crate::config::{self, OnExisting, Overrides, Settings};
use crate::keeper;
use crate::model::PolicyMode;

/// Runs the agent, in the foreground, until it is told to end
///
/// SIGHUP (or `tidegate reload`) reads the settings again; SIGUSR2 (or `tidegate
/// upgrade`) starts a new enforcer beside the old one. When the agent ends,
/// strict destinations stay shut: `tidegate detach` opens them. Where there is
/// no CA yet, the first start makes one (see `tidegate ca`).
#[derive(Debug, Args)]
pub struct Run {
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Protect this destination; several times for more. Replaces the settings
    /// file's whole list
    ///
    /// PORT (on any address), HOST:PORT, CIDR:PORT or [IPV6]:PORT, each with
    /// `,permissive` behind it if connections may go direct while the agent
    /// isn't there, or `,exclude` if it is to be left alone; and `,postgres` or
    /// `,unread` if what is spoken there doesn't follow from the port; and
    /// `,environment=NAME` for what policies know it as. In the variable
    /// TIDEGATE_PROTECT, blanks stand between them.
    #[arg(long, value_name = "DESTINATION", env = "TIDEGATE_PROTECT", value_delimiter = ' ')]
    #[arg(hide_env_values = true)]
    protect: Vec<String>,
    /// Govern the processes in this cgroup and below [default: all]
    #[arg(long, value_name = "PATH", env = "TIDEGATE_CGROUP", hide_env_values = true)]
    cgroup: Option<PathBuf>,
    /// The listeners' port in every network namespace [default: 15999]
    #[arg(long, value_name = "PORT", env = "TIDEGATE_LISTEN_PORT", hide_env_values = true)]
    listen_port: Option<u16>,
    /// The control socket [default: /run/tidegate/control.sock]
    #[arg(long, value_name = "PATH", env = "TIDEGATE_CONTROL", hide_env_values = true)]
    control: Option<PathBuf>,
    /// Where bpffs is mounted, or is to be [default: /sys/fs/bpf]
    #[arg(long, value_name = "PATH", env = "TIDEGATE_BPFFS", hide_env_values = true)]
    bpffs: Option<PathBuf>,
    /// Let connections older than the agent go on, or end them [default: adopt]
    #[arg(long, value_name = "WHAT", env = "TIDEGATE_ON_EXISTING", hide_env_values = true)]
    #[arg(value_parser = on_existing)]
    on_existing: Option<OnExisting>,
    /// Carry the policies out, only record what they say, or decide nothing
    /// [default: enforce]
    #[arg(long, value_name = "MODE", env = "TIDEGATE_POLICY", hide_env_values = true)]
    #[arg(value_parser = policy_mode)]
    policy: Option<PolicyMode>,
    /// Log the kernel programs' own debug lines
    #[arg(long, env = "TIDEGATE_DEBUG_PROGRAMS", hide_env_values = true)]
    #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    debug_programs: Option<bool>,
}

impl Run {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        // Mistakes first: they can be seen without being root.
        let settings = self.settings()?;
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::text(
                Exit::Denied,
                "the agent needs root: it loads kernel programs and enters network namespaces: \
                 run it with sudo, or `systemctl start tidegate`",
            ));
        }
        let reload = Box::new(move || self.settings().map_err(|failure| failure.to_string()));
        match keeper::run(settings, reload) {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(Failure::new(Exit::Failed, error)),
        }
    }

    /// The settings and the policies that they name, whole and right, or all that is
    /// wrong.
    fn settings(&self) -> Result<Settings, Failure> {
        let overrides = Overrides {
            cgroup: self.cgroup.clone(),
            bpffs: self.bpffs.clone(),
            listen_port: self.listen_port,
            control: self.control.clone(),
            on_existing: self.on_existing,
            protect: self.protect.iter().filter(|text| !text.is_empty()).cloned().collect(),
            policy: self.policy,
            debug_programs: self.debug_programs,
        };
        let mut settings = config::resolve(self.config.as_deref(), overrides)?;
        policy::complete(&mut settings.policy)?;
        classify::complete(&mut settings.classes)?;
        Ok(settings)
    }
}

fn policy_mode(text: &str) -> Result<PolicyMode, String> {
    match text {
        "enforce" => Ok(PolicyMode::Enforce),
        "shadow" => Ok(PolicyMode::Shadow),
        "off" => Ok(PolicyMode::Off),
        _ => Err("it is `enforce`, `shadow` or `off`".into()),
    }
}

fn on_existing(text: &str) -> Result<OnExisting, String> {
    match text {
        "adopt" => Ok(OnExisting::Adopt),
        "kill" => Ok(OnExisting::Kill),
        _ => Err("it is `adopt` or `kill`".into()),
    }
}
