//! How much one workload may write, so that nobody's records push out the
//! others'.
//!
//! Over its rate, a workload's records become brief: outcomes are left out and
//! counted, intents stay. Far over it, its statements are refused.

use foldhash::HashMap;

use crate::model::{LogTerms, Process};

#[derive(Debug, Default)]
pub struct Floods(HashMap<u64, Bucket>);

#[derive(Debug)]
struct Bucket {
    /// Bytes that may still be written; below 0: over the rate.
    left: i64,
    /// In microseconds since 1970, as records have it.
    filled: u64,
    left_out: u64,
    told: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    Whole,
    Brief,
    Nothing,
}

impl Floods {
    /// Takes what was written from a workload's allowance.
    pub fn spend(&mut self, cgroup: u64, bytes: usize) {
        if let Some(bucket) = self.0.get_mut(&cgroup) {
            bucket.left = bucket.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    pub fn allowance(&mut self, cgroup: u64, terms: &LogTerms, now: u64) -> Allowance {
        let burst = i64::try_from(terms.flood_burst).unwrap_or(i64::MAX);
        let rate = i64::try_from(terms.flood_rate).unwrap_or(i64::MAX);
        if self.0.len() > MOST {
            // Full buckets tell nothing that a new one wouldn't.
            self.0.retain(|_, bucket| {
                bucket.fill(rate, burst, now);
                bucket.left < burst || bucket.left_out > 0
            });
        }
        let bucket = self.0.entry(cgroup).or_insert(Bucket {
            left: burst,
            filled: now,
            left_out: 0,
            told: None,
        });
        bucket.fill(rate, burst, now);
        match bucket.left {
            left if left > 0 => Allowance::Whole,
            left if left > -burst.max(LEAST_DEBT) => Allowance::Brief,
            _ => Allowance::Nothing,
        }
    }

    /// Counts a record that is left out.
    pub fn leave_out(&mut self, cgroup: u64) {
        if let Some(bucket) = self.0.get_mut(&cgroup) {
            bucket.left_out += 1;
        }
    }

    /// What is to be told of a workload that is limited, at times.
    pub fn due(&mut self, process: &Process, now: u64) -> Option<serde_json::Value> {
        let bucket = self.0.get_mut(&process.cgroup_id)?;
        if bucket.told.is_some_and(|told| now.abs_diff(told) < TELL_EVERY) {
            return None;
        }
        bucket.told = Some(now);
        let left_out = std::mem::take(&mut bucket.left_out);
        Some(serde_json::json!({
            "workload": workload(process),
            "cgroup_id": process.cgroup_id,
            "cgroup": process.cgroup,
            "uid": process.uid,
            "exe": process.exe,
            "left_out": left_out,
        }))
    }
}

impl Bucket {
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

/// What a workload is called where people read it.
pub fn workload(process: &Process) -> String {
    let of = &process.workload;
    let named = of.pod.as_ref().or(of.container.as_ref()).or(of.unit.as_ref());
    named.or(process.cgroup.as_ref()).cloned().unwrap_or_else(|| process.comm.clone())
}

/// Workloads that are remembered before the calm ones are forgotten.
const MOST: usize = 10_000;
const TELL_EVERY: u64 = 60_000_000;
const LATE: u64 = 1_000_000;
const SECOND: i64 = 1_000_000;
const LEAST_DEBT: i64 = 1 << 20;
