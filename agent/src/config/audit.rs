//! `[audit]`: where the log lies, what it keeps, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use super::draft::Located;
use crate::model::{Durability, LogTerms, TextKept};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Without it nothing is recorded.
    pub enabled: bool,
    pub folder: PathBuf,
    pub terms: LogTerms,
}

#[derive(Clone, Debug, Default)]
pub(super) struct AuditDraft {
    pub enabled: Option<Located<bool>>,
    pub folder: Option<Located<PathBuf>>,
    pub text: Option<Located<TextKept>>,
    pub durability: Option<Located<Durability>>,
    pub keep: Option<Located<Duration>>,
    pub keep_size: Option<Located<u64>>,
    pub segment_size: Option<Located<u64>>,
    pub flood_rate: Option<Located<u64>>,
    pub flood_burst: Option<Located<u64>>,
}

impl AuditDraft {
    pub fn settled(self, default: AuditSettings) -> AuditSettings {
        let usual = default.terms;
        let keep = self.keep.map(|keep| u64::try_from(keep.value.as_millis()).unwrap_or(u64::MAX));
        let or = |written: Option<Located<u64>>, usual| written.map_or(usual, |l| l.value);
        AuditSettings {
            enabled: self.enabled.map_or(default.enabled, |l| l.value),
            folder: self.folder.map_or(default.folder, |l| l.value),
            terms: LogTerms {
                text: self.text.map_or(usual.text, |l| l.value),
                durability: self.durability.map_or(usual.durability, |l| l.value),
                segment: or(self.segment_size, usual.segment),
                keep_ms: keep.unwrap_or(usual.keep_ms),
                keep_bytes: or(self.keep_size, usual.keep_bytes),
                flood_rate: or(self.flood_rate, usual.flood_rate),
                flood_burst: or(self.flood_burst, usual.flood_burst),
            },
        }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            folder: PathBuf::from("/var/lib/tidegate/log"),
            terms: LogTerms::default(),
        }
    }
}

pub(super) fn text(text: &str) -> Result<TextKept, String> {
    match text {
        "full" => Ok(TextKept::Full),
        "redacted" => Ok(TextKept::Redacted),
        "fingerprint" => Ok(TextKept::Fingerprint),
        other => Err(super::file::unknown("value", other, &["full", "redacted", "fingerprint"])),
    }
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "process" => Ok(Durability::Process),
        "power-for-writes" => Ok(Durability::PowerForWrites),
        "power" => Ok(Durability::Power),
        other => {
            Err(super::file::unknown("value", other, &["process", "power-for-writes", "power"]))
        }
    }
}

/// `64MiB`, `20GiB`, or a number of bytes.
pub(super) fn size(text: &str, range: (u64, u64)) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: write `64MiB` or `20GiB`");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.filter(|size| (range.0..=range.1).contains(size)).ok_or_else(|| {
        let (least, most) = (range.0 >> 10, range.1 >> 30);
        format!("`{text}` is out of range: from {least}KiB to {most}GiB")
    })
}

pub(super) const SEGMENT: (u64, u64) = (4 << 20, 1 << 30);
pub(super) const KEEP_SIZE: (u64, u64) = (64 << 20, 1 << 50);
pub(super) const KEEP: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(100 * 366 * 86_400));
pub(super) const RATE: (u64, u64) = (1 << 10, 1 << 40);
