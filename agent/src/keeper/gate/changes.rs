//! What new settings change, for the record of it.

use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hasher};
use std::io;

use serde::Serialize;

use crate::config::Settings;
use crate::identity::Known;
use crate::model::Terms;

/// Each part of what holds, as a sum over it: what is in them are secrets too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(Vec<(&'static str, u64)>);

impl Parts {
    pub fn of(settings: &Settings, terms: &Terms, known: &Known) -> Self {
        let policy = &settings.policy;
        let auth = terms.destinations.iter().map(|to| (&to.name, &to.auth, &to.catalog));
        let tls = terms.destinations.iter().map(|to| (&to.name, &to.tls));
        Self(vec![
            ("policies", shown(&(&policy.packs, policy.bare, &policy.sources))),
            ("mode", shown(&policy.mode)),
            ("enforced", shown(&policy.enforced)),
            ("classes", whole(&terms.classes)),
            ("verifiers", whole(&auth.collect::<Vec<_>>())),
            ("tls", whole(&(tls.collect::<Vec<_>>(), &terms.system_roots, &terms.issuer))),
            ("destinations", shown(&settings.protect)),
            ("passthrough", whole(&terms.passthrough)),
            ("identity", shown(&(&settings.identity, known))),
            ("approvals", shown(&settings.approvals)),
            ("audit", shown(&settings.audit)),
            (
                "limits",
                shown(&(
                    settings.on_existing,
                    settings.enforcer.drain,
                    settings.resolve_grace,
                    settings.quota_user,
                    settings.quota_cgroup,
                )),
            ),
        ])
    }

    /// Which are others than before.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let pairs = self.0.iter().zip(&before.0);
        pairs.filter(|(new, old)| new != old).map(|((name, _), _)| (*name).to_owned()).collect()
    }
}

/// What shows all that it holds.
fn shown(value: &dyn Debug) -> u64 {
    let mut sum = Sum::default();
    let _ = fmt::write(&mut sum, format_args!("{value:?}"));
    sum.0.finish()
}

/// What holds secrets, which only its other form has.
fn whole(value: &impl Serialize) -> u64 {
    let mut sum = Sum::default();
    let _ = serde_json::to_writer(&mut sum, value);
    sum.0.finish()
}

#[derive(Default)]
struct Sum(DefaultHasher);

impl fmt::Write for Sum {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DestinationTerms, RoleVerifier, Secret};

    #[test]
    fn what_is_another_is_named_and_nothing_else() {
        let (mut settings, known) = (Settings::default(), Known::default());
        let mut terms = Terms::default();
        let mut to = DestinationTerms::named("db:5432".into());
        let verifier = |text: &str| RoleVerifier {
            role: "app".into(),
            verifier: Secret(text.as_bytes().to_vec()),
        };
        to.auth.verifiers = vec![verifier("one")];
        terms.destinations.push(to);
        let before = Parts::of(&settings, &terms, &known);
        assert_eq!(before.since(&before), [""; 0]);
        settings.policy.sources.push(("own.cedar".into(), "permit(…);".into()));
        let policies = Parts::of(&settings, &terms, &known);
        assert_eq!(policies.since(&before), ["policies"]);
        // A secret of the same length is another too.
        terms.destinations[0].auth.verifiers = vec![verifier("two")];
        let both = Parts::of(&settings, &terms, &known);
        assert_eq!(both.since(&policies), ["verifiers"]);
        assert_eq!(both.since(&before), ["policies", "verifiers"]);
    }
}
