//! `[approvals]`: who approves what policies hold, and how long it can wait.

use std::time::Duration;

use toml_edit::TableLike;

use super::draft::Located;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// Who is in this group may see and decide holds, as root may. `None`: nobody
    /// else.
    pub group: Option<String>,
    /// How long a statement waits for its approval on a terminal.
    pub hold_wait: Duration,
    /// How long what was refused can be approved, and an approval be used.
    pub open_for: Duration,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self {
            group: None,
            hold_wait: Duration::from_secs(15 * 60),
            open_for: Duration::from_secs(86_400),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct ApprovalDraft {
    group: Option<Located<String>>,
    hold_wait: Option<Located<Duration>>,
    open_for: Option<Located<Duration>>,
}

impl ApprovalDraft {
    pub fn settled(self, default: ApprovalSettings) -> ApprovalSettings {
        ApprovalSettings {
            group: self.group.map(|l| l.value).or(default.group),
            hold_wait: self.hold_wait.map_or(default.hold_wait, |l| l.value),
            open_for: self.open_for.map_or(default.open_for, |l| l.value),
        }
    }
}

impl super::file::Reader<'_> {
    pub(super) fn approvals(&mut self, table: &dyn TableLike, draft: &mut ApprovalDraft) {
        use super::file::{string, time};
        self.unknown_keys(table, &APPROVALS, " in [approvals]");
        draft.group = self.take(table, "group", |i| group(string(i)?));
        draft.hold_wait = self.take(table, "hold_wait", |i| time(i, WAIT));
        draft.open_for = self.take(table, "open_for", |i| time(i, OPEN));
    }
}

fn group(name: &str) -> Result<String, String> {
    let fine = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.$".contains(&b))
        && !name.starts_with('-');
    if fine { Ok(name.to_owned()) } else { Err(format!("`{name}` is not a group's name")) }
}

pub(super) const APPROVALS: [&str; 3] = ["group", "hold_wait", "open_for"];
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
const OPEN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30 * 86_400));
