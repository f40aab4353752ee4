//! The agent's log, asked as its user asks: `tidegate audit …`.

use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::Agent;
use crate::place::Place;

/// `audit verify -o json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Verified {
    pub records: u64,
    pub checkpoints: u64,
    /// Behind the last checkpoint.
    pub tail: u64,
    /// The size of the checkpoint that it was held against.
    pub held: Option<u64>,
    pub findings: Vec<Value>,
    pub remarks: Vec<String>,
}

impl Agent {
    /// Runs `tidegate audit <arguments>` with this agent's settings.
    pub fn audit(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Place::new().command(&self.binary)?;
        command.arg("audit").args(arguments).arg("--config").arg(self.settings_file());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command.output().with_context(|| format!("cannot run {}", self.binary.display()))
    }

    fn must_audit(&self, arguments: &[&str]) -> Result<String> {
        let output = self.audit(arguments)?;
        ensure!(
            output.status.success(),
            "`tidegate audit {}` failed ({}): {}{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.tail()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a search finds, as `-o json` gives it.
    pub fn search(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let arguments = [&["search"], arguments, &["-o", "json"]].concat();
        let text = self.must_audit(&arguments)?;
        serde_json::from_str(&text).with_context(|| format!("no list of hits: {text}"))
    }

    /// Every record since, as `audit export` gives it.
    pub fn exported(&self, since: &str) -> Result<Vec<Value>> {
        let text = self.must_audit(&["export", "--since", since])?;
        let records = text.lines().map(serde_json::from_str::<Value>);
        records.collect::<Result<_, _>>().context("a line that is no record")
    }

    /// The log must be whole.
    pub fn verified(&self, more: &[&str]) -> Result<Verified> {
        let text = self.must_audit(&[&["verify", "-o", "json"], more].concat())?;
        serde_json::from_str(&text).with_context(|| format!("no result: {text}"))
    }

    /// The last head that was signed, as it would be kept elsewhere.
    pub fn checkpoint(&self) -> Result<String> {
        let log = self.log_folder();
        let tree = std::fs::read_dir(&log)?
            .flatten()
            .map(|entry| entry.path().join("tree/checkpoints"))
            .find(|path| path.is_file())
            .with_context(|| format!("no checkpoints in {}", log.display()))?;
        let text = std::fs::read_to_string(tree)?;
        let whole = text.trim_end();
        let start = whole.rfind("\n\ntidegate/").map_or(0, |at| at + 2);
        Ok(format!("{}\n", &whole[start..]))
    }
}
