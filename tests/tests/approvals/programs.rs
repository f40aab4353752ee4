//! A program is refused, and its statement passes when it comes again.

use anyhow::{Context, Result, ensure};

use super::{ASKER, DELETES, Held, OTHER, exit, id_of};

#[test]
fn a_program_is_refused_with_the_id_and_passes_once_when_it_comes_again() -> Result<()> {
    let held = Held::start()?;
    let twice = "c = psycopg.connect(dsn, autocommit=True)\n\
                 for _ in range(2): say(attempt(c, 'DELETE FROM customers'))\n\
                 say(attempt(c, 'DELETE FROM customers WHERE true'))\n";
    let said = held.python(twice)?;
    let mut lines = said.lines();
    let id = id_of(lines.next())?;
    ensure!(id_of(lines.next())? == id, "{said}");
    let other = id_of(lines.next())?;
    ensure!(other != id, "{said}");
    let hold = held.hold(&id)?;
    ensure!(hold["waits"] == false && hold["times"] == 2, "{hold}");
    held.approve(&id, &[])?;
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    // Another actor, another database, another text: none of them is this one.
    let once =
        "c = psycopg.connect(dsn, autocommit=True)\nsay(attempt(c, 'DELETE FROM customers'))\n";
    ensure!(id_of(held.python_as(OTHER, once)?.lines().next())? != id, "another actor's");
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, 'DELETE FROM  customers'))\n\
         say(attempt(c, 'DELETE FROM customers'))\n\
         c.execute(\"INSERT INTO customers VALUES (1, 'x')\")\n\
         say(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 3 && lines[0].starts_with("held "), "{said}{}", held.agent.tail());
    ensure!(lines[1] == "passed 100", "{said}{}", held.agent.tail());
    ensure!(id_of(Some(lines[2]))? != id, "{said}");
    ensure!(held.rows()? == "1", "{}", held.rows()?);

    // For a time: as often as it comes, until it is taken back.
    let id = id_of(Some(lines[2]))?;
    held.approve(&id, &["--for", "1h"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for _ in range(3): say(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    ensure!(said == "passed 1\npassed 0\npassed 0\n", "{said}");
    held.agent.must(&["approvals", "deny", &id, "--reason", "enough"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\nsay(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    ensure!(said.starts_with("held "), "{said}");
    Ok(())
}

#[test]
fn values_that_are_bound_are_a_part_of_it() -> Result<()> {
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), DELETES)?;
    held.agent.must(&["reload"])?;
    let one = "c = psycopg.connect(dsn, autocommit=True)\n\
               say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n";
    let said = held.python(one)?;
    let id = id_of(said.lines().next())?;
    let hold = held.hold(&id)?;
    ensure!(hold["asked"]["parameters"].as_array().map(Vec::len) == Some(2), "{hold}");
    ensure!(hold["asked"]["parameters"][1]["text"] == "c5", "{hold}");
    held.approve(&id, &[])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (6, 'c6')))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n\
         say(c.execute('SELECT count(*) FROM customers').fetchone()[0])\n",
    )?;
    let lines: Vec<&str> = said.lines().collect();
    let passed = lines.len() == 4
        && lines[0].starts_with("held ")
        && lines[1] == "passed 1"
        && lines[2].starts_with("held ")
        && lines[3] == "99";
    ensure!(passed, "{said}{}", held.agent.tail());

    // Prepared by name, executed later: held by the Bind, each time it is bound.
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for n in (7, 7): say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,), prepare=True))\n",
    )?;
    let id = id_of(said.lines().next())?;
    held.approve(&id, &["--for", "1h", "--shape", "$1"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for n in (7, 8): say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,), prepare=True))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id >= %s', (0,)))\n",
    )?;
    ensure!(said.starts_with("passed 1\npassed 1\nheld "), "{said}{}", held.agent.tail());
    Ok(())
}

#[test]
fn a_shape_varies_where_it_was_marked_and_nowhere_else() -> Result<()> {
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), DELETES)?;
    held.agent.must(&["reload"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, \"DELETE FROM customers WHERE id = 5 AND name <> 'c6' AND id < 50\"))\n",
    )?;
    let id = id_of(said.lines().next())?;
    let shown = held.agent.order(&["approvals", "show", &id])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("id = #1:5 AND name <> #2:'c6' AND id < #3:50"), "{shown}");
    let words = ["approvals", "approve", &id, "--reason", "x", "--shape", "#4"];
    let (code, said) = exit(&held.agent.order(&words)?);
    ensure!(code == Some(1) && said.contains("it has 3 literals"), "{said}");
    held.approve(&id, &["--for", "10m", "--shape", "#1,#2"])?;
    let said = held.python(
        r#"c = psycopg.connect(dsn, autocommit=True)
for text in [
    "DELETE FROM customers WHERE id = 9 AND name <> 'it''s' AND id < 50",
    "DELETE FROM customers WHERE id = 9 AND name <> 'c6' AND id < 51",
    "DELETE FROM customers WHERE id = '9' AND name <> 'c6' AND id < 50",
    "DELETE FROM customers WHERE id = 9 OR name <> 'c6' AND id < 50",
    "DELETE FROM customers WHERE id = 9 AND name <> 'c6' AND id < 50 OR true",
    "DELETE FROM customers WHERE id = 9 AND name <> E'c6' AND id < 50",
]:
    say(attempt(c, text).split()[0])
"#,
    )?;
    ensure!(said == "passed\nheld\nheld\nheld\nheld\nheld\n", "{said}{}", held.agent.tail());
    ensure!(held.rows()? == "99", "{}", held.rows()?);
    Ok(())
}

#[test]
fn in_a_transaction_nothing_waits() -> Result<()> {
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    terminal.type_in("BEGIN;\nUPDATE customers SET name = 'x' WHERE id = 1;\n")?;
    terminal.wait_for("UPDATE 1")?;
    terminal.type_in("DELETE FROM customers;\n")?;
    terminal.wait_for("42501: tidegate: delete on")?;
    terminal.wait_for("needs an approval (hold ")?;
    let shown = terminal.shown();
    let id = shown.split_once("needs an approval (hold ").context("no id")?.1;
    let id = id.split_once(')').context("no id")?.0.to_owned();
    ensure!(!shown.contains("waits for an approval"), "{shown}");
    let hold = held.hold(&id)?;
    ensure!(hold["waits"] == false, "{hold}");
    terminal.type_in("ROLLBACK;\n")?;
    terminal.wait_for("ROLLBACK")?;
    terminal.is_alive()?;
    held.approve(&id, &[])?;
    terminal.type_in("BEGIN;\nDELETE FROM customers;\n")?;
    terminal.wait_for("DELETE 100")?;
    terminal.type_in("COMMIT;\n")?;
    terminal.wait_for("COMMIT")?;
    ensure!(held.rows()? == "0", "{}", held.rows()?);

    // Unless the policy says so.
    held.postgres.psql("app", "INSERT INTO customers VALUES (1, 'x')")?;
    let policy = DELETES.replace("@hold(", "@hold_in_transaction\n@hold(");
    std::fs::write(held.agent.policies().join("own.cedar"), policy)?;
    held.agent.must(&["reload"])?;
    terminal.type_in("BEGIN;\n")?;
    let id = terminal.held("DELETE FROM customers WHERE id = 1;")?;
    held.approve(&id, &[])?;
    terminal.wait_for("DELETE 1\r")?;
    Ok(())
}

/// A cursor's rows come later, by statements of their own.
#[test]
fn what_was_opened_with_an_approval_is_fetched_by_it() -> Result<()> {
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), WHOLE)?;
    held.agent.must(&["reload"])?;
    let open = "c = psycopg.connect(dsn, autocommit=True)\n\
                say(attempt(c, 'DECLARE h CURSOR WITH HOLD FOR TABLE customers'))\n";
    let id = id_of(held.python(open)?.lines().next())?;
    held.approve(&id, &[])?;
    let said = held.python(&format!(
        "{open}for sql in ('FETCH 3 FROM h', 'MOVE 2 IN h', 'SELECT * FROM customers LIMIT 7',\n\
         \x20       'FETCH 1 FROM h; TABLE customers'): say(attempt(c, sql))\n"
    ))?;
    let lines: Vec<&str> = said.lines().collect();
    let [opened, fetched @ .., more] = &lines[..] else { anyhow::bail!("{said}") };
    ensure!(opened.starts_with("passed"), "{said}{}", held.agent.tail());
    ensure!(*fetched == ["passed 3", "passed 2", "passed 7"], "{said}{}", held.agent.tail());
    // It is good for the cursor alone, not for what comes with it.
    ensure!(!more.starts_with("passed"), "{said}");
    Ok(())
}

const WHOLE: &str = "@id(\"own/whole\") @reason(\"no whole tables\") @hold(\"approvers\") \
    forbid (principal, action == Action::\"read\", resource is Table) \
    when { !context.bounded };";
