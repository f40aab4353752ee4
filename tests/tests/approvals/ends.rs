//! What becomes of it when policies, an enforcer, the keeper or the server change.

use anyhow::{Result, ensure};
use tidegate_tests::sys;

use super::{ASKER, Held};

#[test]
fn new_policies_hold_for_what_waits_and_drop_nothing() -> Result<()> {
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    let own = held.agent.policies().join("own.cedar");
    std::fs::write(
        &own,
        "@id(\"own/other\")\n@reason(\"no\")\nforbid (principal, action == Action::\"drop\", resource);",
    )?;
    held.agent.must(&["reload"])?;
    ensure!(held.hold(&id)?["state"]["is"] == "waiting", "{:?}", held.holds());
    held.approve(&id, &[])?;
    terminal.wait_for("DELETE 100")?;

    // What is forbidden meanwhile, no approval of before lets through.
    held.postgres.psql("app", "INSERT INTO customers VALUES (1, 'x')")?;
    let id = terminal.held("DELETE FROM customers WHERE true;")?;
    std::fs::write(
        &own,
        "@id(\"own/never\")\n@reason(\"nobody deletes here\")\nforbid (principal, action == Action::\"delete\", resource);",
    )?;
    held.agent.must(&["reload"])?;
    held.approve(&id, &[])?;
    terminal.wait_for("nobody deletes here")?;
    ensure!(held.rows()? == "1", "{}", held.rows()?);
    terminal.is_alive()
}

#[test]
fn what_waits_is_refused_when_the_enforcer_is_replaced_or_ends() -> Result<()> {
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    held.agent.must(&["upgrade"])?;
    terminal.wait_for("the agent was upgraded: run it again")?;
    held.wait_state(&id, "withdrawn")?;
    terminal.is_alive()?;
    drop(terminal);

    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    sys::signal(held.agent.enforcer()?, libc::SIGKILL)?;
    let hold = held.wait_state(&id, "withdrawn")?;
    ensure!(hold["state"]["why"] == "lost", "{hold}");
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}

#[test]
fn what_waits_is_refused_when_the_keeper_ends_and_ends_with_the_server() -> Result<()> {
    let mut held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    held.postgres.restart(libc::SIGINT)?;
    held.wait_state(&id, "withdrawn")?;
    terminal.wait_for("57P01")?;
    drop(terminal);
    ensure!(held.rows()? == "100", "{}", held.rows()?);

    let mut terminal = held.terminal(ASKER)?;
    terminal.held("DELETE FROM customers;")?;
    held.agent.kill_keeper()?;
    terminal.wait_for("the agent was restarted: run it again")?;
    terminal.is_alive()?;
    drop(terminal);
    // Nothing of before is known to the next.
    held.agent.run_again()?;
    held.agent.wait_healthy()?;
    ensure!(held.holds()?.is_empty(), "{:?}", held.holds());
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}
