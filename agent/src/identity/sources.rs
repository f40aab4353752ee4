//! Where each group of an actor's facts comes from, and how sure that is: told once
//! with the process. A group of which nothing is known isn't told.

use super::directory::Found;
use super::facts::Facts;
use crate::model::{Confidence, ENVIRONMENT, Origin, Provenance, Source};

pub(super) fn of(facts: &Facts, found: &Found) -> Vec<Provenance> {
    use Confidence::{Certain, Claimed, Likely};
    let (seen, workload) = (&facts.process, &facts.workload);
    // A user's own cgroups and runtime may say anything.
    let placed = if workload.user_slice.is_none() { Certain } else { Claimed };
    let named = facts.all().any(|one| one.user.is_some() || one.group.is_some());
    let by_path = workload.unit.is_some() || workload.slice.is_some();
    let described = workload.image.is_some() || workload.container_name.is_some();
    let entered = found.person.is_some() || !found.teams.is_empty() || !found.groups.is_empty();
    let command = match facts.command {
        Source::Kernel => Some(Origin::Hook),
        Source::Proc => Some(Origin::Proc),
        Source::Missing => None,
    };
    let pod = workload.pod_name.as_ref().and(facts.pod_named_by);
    let rest = [
        (command, "command", Claimed),
        (seen.exe.as_ref().map(|_| Origin::Proc), "program", Certain),
        ((!facts.ancestors.is_empty()).then_some(Origin::Proc), "ancestry", Certain),
        (seen.script.as_ref().map(|_| Origin::Proc), "script", Likely),
        (named.then_some(Origin::Host), "names", Certain),
        (facts.environment_read.then_some(Origin::Process), ENVIRONMENT, Claimed),
        ((by_path || workload.container.is_some()).then_some(Origin::Cgroup), "workload", placed),
        (described.then_some(Origin::Runtime), "image", placed),
        (pod, "pod", placed),
        (entered.then_some(Origin::Directory), "teams", Certain),
    ]
    .into_iter()
    .filter_map(|(origin, facts, confidence)| {
        Some(Provenance { facts: facts.to_owned(), origin: origin?, confidence })
    });
    std::iter::once(Provenance::of_hook()).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, of_user, seen};
    use super::*;

    fn told(facts: &Facts) -> Vec<String> {
        let word = |it: &Provenance| {
            let origin = serde_json::to_value(it.origin).unwrap();
            let confidence = serde_json::to_value(it.confidence).unwrap();
            let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            format!("{}: {} {}", it.facts, word(&origin), word(&confidence))
        };
        of(facts, &Found::default()).iter().map(word).collect()
    }

    #[test]
    fn each_group_says_where_it_comes_from_and_how_sure_it_is() {
        let mut python = of_user(1000, "alice", seen(9, 1, "/usr/bin/python3", "python3"));
        python.script = Some("/srv/nightly.py".into());
        let above = of_user(0, "root", seen(1, 0, "/sbin/init", "init"));
        let mut known = facts(vec![python, above], "/system.slice/docker-x.scope");
        known.command = Source::Kernel;
        known.environment_read = true;
        known.workload.container = Some("c".into());
        known.workload.image = Some("shop/web".into());
        known.workload.pod_name = Some("web-1".into());
        known.pod_named_by = Some(Origin::Kubelet);
        let expected = [
            "process: kernel-hook certain",
            "command: kernel-hook claimed",
            "program: proc certain",
            "ancestry: proc certain",
            "script: proc likely",
            "names: host certain",
            "environment: process claimed",
            "workload: cgroup certain",
            "image: runtime certain",
            "pod: kubelet certain",
        ];
        assert_eq!(told(&known), expected);
        // What a user's own runtime says is that user's word.
        known.workload.user_slice = Some(1000);
        let theirs = told(&known);
        for group in ["workload: cgroup claimed", "image: runtime claimed"] {
            assert!(theirs.iter().any(|it| it == group), "{theirs:?}");
        }
    }

    #[test]
    fn of_a_process_that_could_not_be_read_only_the_hook_speaks() {
        let gone = Facts { command: Source::Missing, ..Facts::default() };
        assert_eq!(told(&gone), ["process: kernel-hook certain"]);
    }
}
