//! The kernel's version, lockdown and numbers under /proc/sys.

use std::fmt;
use std::fs;
use std::path::Path;

/// `6.1.0-28-cloud-amd64`, comparable by its first two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub text: String,
    pub major: u32,
    pub minor: u32,
}

impl Release {
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub fn kernel_release(root: &Path) -> Option<Release> {
    let text = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok()?;
    let text = text.trim();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some(Release { text: text.into(), major, minor })
}

/// What the kernel keeps even from root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    None,
    Integrity,
    /// Tracing programs and reads of kernel memory are refused.
    Confidentiality,
    /// securityfs isn't mounted, or the kernel has no lockdown.
    Unknown,
}

pub fn lockdown(root: &Path) -> Lockdown {
    let text = fs::read_to_string(root.join("sys/kernel/security/lockdown")).unwrap_or_default();
    let chosen = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('[').and_then(|word| word.strip_suffix(']')));
    match chosen {
        Some("none") => Lockdown::None,
        Some("integrity") => Lockdown::Integrity,
        Some("confidentiality") => Lockdown::Confidentiality,
        _ => Lockdown::Unknown,
    }
}

/// The security modules in force; empty when securityfs isn't mounted.
pub fn security_modules(root: &Path) -> Vec<String> {
    fs::read_to_string(root.join("sys/kernel/security/lsm"))
        .unwrap_or_default()
        .trim()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The first number of a file under /proc/sys, such as `net/core/somaxconn`.
pub fn number(root: &Path, name: &str) -> Option<i64> {
    let text = fs::read_to_string(root.join("proc/sys").join(name)).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
