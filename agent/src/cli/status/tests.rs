use super::*;
use crate::model::{PolicyMode, Timestamp, samples};

fn shown(wide: bool, change: impl Fn(&mut crate::model::StatusReport)) -> String {
    let mut report = samples::status();
    change(&mut report);
    let mut out = Vec::new();
    let page = Page { width: None, colour: false };
    let now = Timestamp(samples::AT.0 + 400_000_000);
    page::write(&mut out, page, &report, now, wide).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_page_is_this() {
    crate::cli::tests::snapshot("status", &shown(false, |_| {}));
    crate::cli::tests::snapshot("status-wide", &shown(true, |_| {}));
    let bad = shown(false, |report| {
        report.verdict = Verdict::Failing;
        report.canary.last = None;
        report.canary.crossed = 0;
        report.canary.last_error = Some("timed out\x1b[2J".into());
        report.enforcers[0].draining = true;
        report.enforcers[0].restarts = 7;
        let fences = report.enforcers[0].fences.as_mut().unwrap();
        fences.no_capabilities = false;
        fences.landlock = "the kernel has none".into();
        report.adopted.clear();
        report.policy.mode = PolicyMode::Off;
        report.powerful.clear();
        report.log.lost = 12;
        report.log.trouble = Some("no space left on device".into());
    });
    crate::cli::tests::snapshot("status-failing", &bad);
}

#[test]
fn the_exit_code_tells_the_verdict() {
    use Verdict::{Degraded, Failing, Healthy};
    for (verdict, fail_on, exit) in [
        (Healthy, FailOn::Failing, Exit::Ok),
        (Healthy, FailOn::Degraded, Exit::Ok),
        (Degraded, FailOn::Failing, Exit::Ok),
        (Degraded, FailOn::Degraded, Exit::Failed),
        (Failing, FailOn::Failing, Exit::Failed),
        (Failing, FailOn::Degraded, Exit::Failed),
    ] {
        assert_eq!(exit_code(verdict, fail_on), exit);
    }
}

#[test]
fn the_policies_are_told_in_one_line() {
    let line = |change: fn(&mut crate::model::PolicyReport)| {
        let page = shown(false, |report| change(&mut report.policy));
        page.lines().find_map(|line| line.trim().strip_prefix("policy ")).unwrap().trim().to_owned()
    };
    let generation = "generation 0f3a9c5512d4e860";
    assert_eq!(
        line(|_| {}),
        format!(
            "enforced; {generation}; pack ai-agents; 1 file of your own; services out of shadow: \
             shop.service"
        )
    );
    let shadow = line(|policy| {
        policy.mode = PolicyMode::Shadow;
        policy.bare = true;
        policy.packs.push("read-only".into());
        policy.files.push("b.cedar".into());
    });
    assert_eq!(
        shadow,
        format!(
            "shadow: decided and recorded, nothing is changed; {generation}; without the default \
             policies; packs ai-agents, read-only; 2 files of your own"
        )
    );
    assert_eq!(line(|policy| policy.mode = PolicyMode::Off), "off: nothing is decided");
}
