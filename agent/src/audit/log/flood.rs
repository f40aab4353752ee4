//! How much one workload may write, so that nobody's records push out the
//! others'.
//!
//! Nobody is refused for writing much. Over its rate, a workload's statements that are
//! alike are told together ([`super::sums`]): beforehand that any number of them may
//! run, and behind how many there were. For how long at a time depends on how far over
//! it is, so that it comes back to its rate; and where that isn't enough (always new
//! texts, always new connections), more of them count as alike, until nothing that it
//! does takes more room.
//!
//! Whatever the settings say, the rate is at most half of all that is kept a day, and
//! what may come at once a tenth of it: one alone takes more than a day and a half to
//! push out what the others wrote, and is named from its first minute over the rate.
//! What is counted is what it takes on the disk: a record that only refers to what was
//! told before counts for two thirds, since more is never left of it in a sealed
//! segment. A new text counts in full: nobody knows what is left of that.
//!
//! INVARIANT: whoever may make cgroups within a workload gets no further allowance by
//! doing so.

use foldhash::HashMap;

use crate::audit::statement::{Reach, key_of};
use crate::model::{LogTerms, Process, Workload};

#[derive(Debug, Default)]
pub struct Floods(HashMap<Payer, Bucket>);

/// Whose allowance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Payer(u128);

#[derive(Debug)]
struct Bucket {
    /// Bytes that may still be written; below 0: over the rate.
    left: i64,
    /// In microseconds since 1970, as records have it.
    filled: u64,
    /// Statements that are told together with others, and records of connections that
    /// are not told: since it was named.
    summed: u64,
    left_out: u64,
    told: Option<u64>,
    /// Who it is, once it has been named.
    named: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    Whole,
    /// Statements that are alike are told together, for so many microseconds at a time.
    Together {
        reach: Reach,
        window: u64,
    },
}

impl Floods {
    /// Takes what was written from a workload's allowance.
    pub fn spend(&mut self, payer: Payer, bytes: usize) {
        if let Some(bucket) = self.0.get_mut(&payer) {
            bucket.left = bucket.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    pub fn allowance(&mut self, payer: Payer, terms: &LogTerms, now: u64) -> Allowance {
        let (rate, burst) = bounds(terms);
        if self.0.len() > MOST {
            // Full buckets tell nothing that a new one wouldn't.
            self.0.retain(|_, bucket| {
                bucket.fill(rate, burst, now);
                bucket.left < burst || bucket.left_out > 0
            });
        }
        let bucket = self.0.entry(payer).or_insert(Bucket {
            left: burst,
            filled: now,
            summed: 0,
            left_out: 0,
            told: None,
            named: None,
        });
        bucket.fill(rate, burst, now);
        if bucket.left > 0 {
            return Allowance::Whole;
        }
        let debt = bucket.left.saturating_neg();
        let much = burst.max(LEAST_DEBT) / 4;
        let reach = match debt {
            debt if debt < much => Reach::Shape,
            debt if debt < much * 2 => Reach::Effects,
            _ => Reach::Workload,
        };
        // As long as it takes to pay what is owed.
        let seconds = (debt / rate).clamp(SHORTEST, LONGEST);
        Allowance::Together { reach, window: (seconds * SECOND).unsigned_abs() }
    }

    /// Counts a statement that is told together with others.
    pub fn sum(&mut self, payer: Payer) {
        if let Some(bucket) = self.0.get_mut(&payer) {
            bucket.summed += 1;
        }
    }

    /// Counts a record that is left out.
    pub fn leave_out(&mut self, payer: Payer) {
        if let Some(bucket) = self.0.get_mut(&payer) {
            bucket.left_out += 1;
        }
    }

    /// What is to be told of a workload that is limited, at times.
    pub fn due(
        &mut self,
        payer: Payer,
        named: impl FnOnce() -> serde_json::Value,
        now: u64,
    ) -> Option<serde_json::Value> {
        let bucket = self.0.get_mut(&payer)?;
        if bucket.told.is_some_and(|told| now.abs_diff(told) < TELL_EVERY) {
            return None;
        }
        let named = bucket.named.insert(named());
        let named = named.clone();
        Some(bucket.tell(named, now))
    }

    /// What is left to be told of those that have gone quiet since.
    pub fn overdue(&mut self, now: u64) -> Option<serde_json::Value> {
        let late = |bucket: &&mut Bucket| {
            (bucket.summed > 0 || bucket.left_out > 0)
                && bucket.told.is_some_and(|told| now.abs_diff(told) >= TELL_EVERY)
        };
        let bucket = self.0.values_mut().find(late)?;
        let named = bucket.named.clone()?;
        Some(bucket.tell(named, now))
    }
}

/// The rate a second, and what may come at once.
fn bounds(terms: &LogTerms) -> (i64, i64) {
    let burst = terms.flood_burst.min(terms.keep_bytes / BURST_SHARE);
    let rate = terms.flood_rate.min(terms.keep_bytes / DAY_SHARE / DAY);
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    (number(rate.max(1)), number(burst))
}

impl Bucket {
    fn tell(&mut self, mut named: serde_json::Value, now: u64) -> serde_json::Value {
        self.told = Some(now);
        if let Some(fields) = named.as_object_mut() {
            fields.insert("summed".into(), std::mem::take(&mut self.summed).into());
            fields.insert("left_out".into(), std::mem::take(&mut self.left_out).into());
        }
        named
    }

    fn fill(&mut self, rate: i64, burst: i64, now: u64) {
        // Who comes a moment late changes nothing; a clock that was set back begins anew.
        if self.filled > now.saturating_add(LATE) {
            self.filled = now;
        }
        let passed = now.saturating_sub(self.filled);
        let more = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(rate) / SECOND;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(burst);
            self.filled = now;
        }
    }
}

/// What a workload is called where people read it: the outermost that somebody else
/// than itself has made. All of a user's sessions and units are one, and so is a
/// container with those that run in it. Who has none of these and isn't root may have
/// been given a part of the tree of cgroups: then it is the user.
pub fn workload(process: &Process) -> String {
    let of = &process.workload;
    if let Some(uid) = of.user_slice {
        return format!("user-{uid}.slice");
    }
    let container = of.outer.first().or(of.container.as_ref());
    if let Some(named) = of.pod.as_ref().or(container).or(of.unit.as_ref()) {
        return named.clone();
    }
    match &process.cgroup {
        _ if process.uid != 0 => format!("uid {}", process.uid),
        Some(cgroup) => cgroup.clone(),
        None => process.comm.clone(),
    }
}

/// Who it is, as the record of a limit says.
pub fn named(process: &Process) -> serde_json::Value {
    serde_json::json!({
        "workload": workload(process),
        "cgroup_id": process.cgroup_id,
        "cgroup": process.cgroup,
        "uid": process.uid,
        "exe": process.exe,
    })
}

pub fn payer(process: &Process) -> Payer {
    let known = process.workload != Workload::default() || process.uid != 0;
    // Of root's own cgroups each is one, whatever it is called.
    let cgroup = if known { 0 } else { process.cgroup_id };
    Payer(key_of(PAYER, format!("{cgroup} {}", workload(process)).as_bytes()))
}

/// Who pays for what the kernel or the keeper tells. Who had ended before anybody could
/// see where it runs may be of any workload: all such are one, or their user and name, which
/// they choose, would be as many allowances.
pub fn payer_observed(process: Option<&Process>) -> (Payer, serde_json::Value) {
    match process.filter(|process| process.cgroup.is_some()) {
        Some(process) => (payer(process), named(process)),
        None => (Payer(key_of(PAYER, b"")), serde_json::json!({ "workload": "unknown" })),
    }
}

/// What records of so many bytes count for.
pub fn cost(records: usize, bytes: usize) -> usize {
    if records == 1 && bytes <= PLAIN { (bytes * 2).div_ceil(3) } else { bytes }
}

/// One record that tells nothing of its own.
const PLAIN: usize = 128;
const PAYER: u8 = 200;
/// Of all that is kept: so much at once, and so much a day.
const BURST_SHARE: u64 = 10;
const DAY_SHARE: u64 = 2;
const DAY: u64 = 86_400;
/// Workloads that are remembered before the calm ones are forgotten.
const MOST: usize = 10_000;
const TELL_EVERY: u64 = 60_000_000;
const LATE: u64 = 1_000_000;
const SECOND: i64 = 1_000_000;
const LEAST_DEBT: i64 = 1 << 20;
/// Seconds for which statements are told together.
const SHORTEST: i64 = 1;
const LONGEST: i64 = 60;

#[cfg(test)]
mod tests;
