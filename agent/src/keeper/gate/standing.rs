//! How the agent stands: healthy, degraded or failing, and why. Told in the log when it
//! changes.

use std::time::{Duration, Instant};

use super::Gate;
use crate::keeper::notary::Notary;
use crate::model::{LogNote, Verdict};

/// What was told of it last.
#[derive(Debug)]
pub(super) struct Standing {
    told: Verdict,
    /// Since when it is another one, and which.
    since: Option<(Verdict, Instant)>,
    look_at: Instant,
}

impl Default for Standing {
    fn default() -> Self {
        Self { told: Verdict::Healthy, since: None, look_at: Instant::now() + LOOK_EVERY }
    }
}

impl Standing {
    /// What is to be told: a verdict that has lasted.
    fn look(&mut self, now: Instant, verdict: Verdict) -> Option<Verdict> {
        self.look_at = now + LOOK_EVERY;
        if verdict == self.told {
            self.since = None;
            return None;
        }
        let since = match self.since {
            Some((one, since)) if one == verdict => since,
            _ => self.since.insert((verdict, now)).1,
        };
        if now.duration_since(since) < LASTING {
            return None;
        }
        (self.told, self.since) = (verdict, None);
        Some(verdict)
    }
}

impl Gate {
    pub(super) fn note_standing(&mut self) {
        let now = Instant::now();
        if self.parts.notary.is_none() || self.standing.look_at > now {
            return;
        }
        let (verdict, why) = self.verdict();
        let Some(verdict) = self.standing.look(now, verdict) else { return };
        let Some(notary) = &self.parts.notary else { return };
        notary.note(match verdict {
            Verdict::Healthy => LogNote::Whole,
            Verdict::Degraded | Verdict::Failing => {
                LogNote::Degraded { verdict, why: why.join("; ") }
            }
        });
    }

    /// How it stands now, and what speaks against it.
    pub(super) fn verdict(&mut self) -> (Verdict, Vec<String>) {
        let mut why = Vec::new();
        let stale = self
            .canary
            .last_crossed
            .is_none_or(|at| at.elapsed() > crate::keeper::stale_after(&self.parts.settings));
        if stale {
            why.push("no canary has crossed for too long".to_owned());
        }
        let serving = self.parts.enforcers.is_serving();
        if !serving {
            why.push("no enforcer takes connections".into());
        }
        let failing = !why.is_empty();
        for destination in self.parts.destinations.reports() {
            if let Some(error) = destination.error {
                why.push(format!("`{}` can't be resolved: {error}", destination.name));
            }
        }
        let lost = super::losses(&self.parts.maps).events.saturating_sub(self.parts.lost_before);
        if lost > 0 {
            why.push("events of the kernel found no room".into());
        }
        let log = self.parts.notary.as_ref().map(Notary::report).unwrap_or_default();
        why.extend(log.trouble.map(|trouble| format!("the log has trouble: {trouble}")));
        for hook in self.parts.hooks.reports().iter().filter(|hook| !hook.attached) {
            why.push(format!("hook {} is missing", hook.name));
        }
        let verdict = if failing {
            Verdict::Failing
        } else if why.is_empty() {
            Verdict::Healthy
        } else {
            Verdict::Degraded
        };
        (verdict, why)
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is over before is not told.
const LASTING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_its_end_too() {
        let start = Instant::now();
        let mut standing = Standing::default();
        let mut look =
            |second: u64, verdict| standing.look(start + Duration::from_secs(second), verdict);
        use Verdict::{Degraded, Failing, Healthy};
        assert_eq!(look(1, Failing), None);
        assert_eq!(look(2, Healthy), None);
        assert_eq!(look(3, Degraded), None);
        assert_eq!(look(4, Degraded), None);
        assert_eq!(look(5, Degraded), Some(Degraded));
        assert_eq!(look(6, Degraded), None);
        assert_eq!(look(7, Failing), None);
        assert_eq!(look(9, Failing), Some(Failing));
        assert_eq!(look(10, Healthy), None);
        assert_eq!(look(12, Healthy), Some(Healthy));
        assert_eq!(look(99, Healthy), None);
    }
}
