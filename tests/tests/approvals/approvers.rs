//! Who may approve, and who may not.

use anyhow::{Result, ensure};
use tidegate_tests::agent::binary;
use tidegate_tests::place::Place;

use super::{ASKER, GROUP, Held, OTHER, Terminal, exit, logged_in};

#[test]
fn nobody_approves_his_own_and_the_group_may() -> Result<()> {
    let held = Held::with(&[&format!("group = \"{}\"", GROUP.0)])?;
    let mut terminal = held.terminal(0)?;
    let id = terminal.held("DELETE FROM customers;")?;
    let approve = ["approvals", "approve", &id, "--reason", "mine"];
    let (code, said) = exit(&held.agent.order(&approve)?);
    ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    // Who isn't in the group isn't heard at all; who is hears of holds alone.
    let (code, said) = exit(&held.order_as(OTHER, OTHER, &approve)?);
    ensure!(code == Some(3), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["status"])?);
    ensure!(code != Some(0) && said.contains("only root"), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["reload"])?);
    ensure!(code != Some(0) && said.contains("only root"), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["approvals", "ls"])?);
    ensure!(code == Some(0), "{code:?} {said}");
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &approve)?);
    ensure!(code == Some(0), "{code:?} {said}{}", held.agent.tail());
    terminal.wait_for("DELETE 100")?;
    let hold = held.hold(&id)?;
    ensure!(hold["approvals"][0]["by"]["uid"] == OTHER, "{hold}");
    drop(terminal);

    // The same of a user's own, by his own uid.
    let mut terminal = held.terminal(OTHER)?;
    let id = terminal.held("DROP TABLE customers;")?;
    let approve = ["approvals", "approve", &id, "--reason", "mine"];
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &approve)?);
    ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    // To take it back is no approval.
    let deny = ["approvals", "deny", &id, "--reason", "mine"];
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &deny)?);
    ensure!(code == Some(0), "{code:?} {said}");
    terminal.wait_for("is denied")
}

#[test]
fn whoever_logged_in_to_run_it_does_not_approve_it_as_another() -> Result<()> {
    let held = Held::with(&[&format!("group = \"{}\"", GROUP.0)])?;
    const ALICE: u32 = 4300;
    const BOB: u32 = 4301;
    let mut script = logged_in(Place::new().cgroup(&held.work), ALICE, ASKER, ASKER)?;
    script.args(["script", "-qfec", &held.psql()?, "/dev/null"]);
    let mut terminal = Terminal::start(script.env("TERM", "dumb").env("HOME", "/nowhere"))?;
    let id = terminal.held("DELETE FROM customers;")?;
    ensure!(held.hold(&id)?["flow"]["process"]["login_uid"] == ALICE, "{}", held.hold(&id)?);
    let approve = |login: u32, uid: u32, gid: u32| -> Result<(Option<i32>, String)> {
        let mut command = logged_in(Place::new(), login, uid, gid)?;
        command.arg(binary()?).args(["approvals", "approve", &id, "--reason", "x", "--control"]);
        Ok(exit(&command.arg(held.agent.control()).env("NO_COLOR", "1").output()?))
    };
    // As another user, as root, and as whom it runs.
    for (login, uid, gid) in [(ALICE, OTHER, GROUP.1), (ALICE, 0, 0), (BOB, ASKER, GROUP.1)] {
        let (code, said) = approve(login, uid, gid)?;
        ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    }
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    let (code, said) = approve(BOB, OTHER, GROUP.1)?;
    ensure!(code == Some(0), "{code:?} {said}{}", held.agent.tail());
    terminal.wait_for("DELETE 100")?;
    let by = &held.hold(&id)?["approvals"][0]["by"];
    ensure!(by["uid"] == OTHER && by["login_uid"] == BOB, "{by}");
    Ok(())
}
