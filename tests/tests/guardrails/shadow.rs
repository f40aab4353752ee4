//! Services are only watched, until somebody says otherwise.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::postgres::{program, run};

use super::Guarded;

#[test]
fn in_shadow_nothing_is_refused() -> Result<()> {
    let guarded = Guarded::start("shadow")?;
    let mut psql = guarded.command(program("psql")?)?;
    psql.args(["-XAtq", "-c", "DELETE FROM customers", "-c", "SELECT count(*) FROM customers"]);
    let said = run(psql.arg(guarded.dsn())).with_context(|| guarded.agent.tail())?;
    ensure!(said.trim() == "0", "{said}");
    let found = guarded.agent.search(&["--verdict", "would_hold"])?;
    ensure!(found.len() == 1 && found[0]["policies"] == json!(["default/unbounded"]), "{found:?}");
    Ok(())
}

#[test]
fn what_the_shadow_shows_is_recorded_as_what_it_would_have_masked() -> Result<()> {
    let guarded = Guarded::start("shadow")?;
    let made = "CREATE TABLE people AS SELECT 'ann@shop.example' AS email, 'ann' AS nick";
    guarded.postgres.psql("app", made)?;
    let ask = |sql: &str| -> Result<String> {
        let mut psql = guarded.command(program("psql")?)?;
        run(psql.args(["-XAtqc", sql]).arg(guarded.dsn())).with_context(|| guarded.agent.tail())
    };
    ensure!(ask("SELECT * FROM people")?.contains("ann@shop.example"));
    ask("SELECT nick FROM people")?;
    let would = || guarded.agent.search(&["--verdict", "would_mask"]);
    let found = would()?;
    let [hit] = found.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(hit["verdict"] == "would_mask", "{hit}");
    ensure!(hit["outcome"]["would_mask"] == json!({ "email": 1 }), "{hit}");
    ensure!(hit["outcome"]["seen"] == json!({ "email": 1 }), "{hit}");
    // What it may see in force, the shadow hides nothing of.
    let permit = "@id(\"own/clear\")\npermit (principal, action == Action::\"reveal\", \
                  resource in Class::\"person\");";
    std::fs::write(guarded.agent.policies().join("own.cedar"), permit)?;
    guarded.agent.must(&["reload"])?;
    ensure!(ask("SELECT email /* clear */ FROM people")?.contains("ann@shop.example"));
    let clear = &guarded.agent.search(&["clear"])?[0];
    ensure!(clear["verdict"] == "allowed", "{clear}");
    ensure!(clear["outcome"]["seen"] == json!({ "email": 1 }), "{clear}");
    ensure!(clear["outcome"]["would_mask"].is_null(), "{clear}");
    ensure!(would()?.len() == 1);
    // Each is recorded under the policies that it was judged by.
    let generations = [&found[0], clear].map(|hit| hit["statement"]["generation"].as_str());
    let [Some(before), Some(after)] = generations else { anyhow::bail!("{generations:?}") };
    ensure!(before != after, "{before}");
    let status: Value = serde_json::from_str(&guarded.agent.must(&["status", "-o", "json"])?)?;
    ensure!(status["policy"]["generation"] == after, "{status}, {after}");
    Ok(())
}
