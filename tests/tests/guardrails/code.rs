//! Names of the server's that somebody has as well: an AI agent's read is no pure read
//! where his code would run.

use anyhow::{Context, Result, ensure};
use tidegate_tests::postgres::run;
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

use super::Guarded;

impl Guarded {
    /// What an AI agent is answered: `refused`, a value, or a server's error.
    fn asks(&self, script: &str) -> Result<String> {
        let mut python = self.command(venv::python()?)?;
        python.env("GEMINI_CLI", "1").args(["-c", &format!("{ASKS}{script}")]).arg(self.dsn());
        run(&mut python).with_context(|| self.agent.tail())
    }
}

const ASKS: &str = r#"
import sys, psycopg
def connect():
    return psycopg.connect(sys.argv[1], autocommit=True)
def ask(c, text, *values, **how):
    try:
        cursor = c.execute(text, values or None, **how)
        return cursor.fetchone()[0] if cursor.description else "ok"
    except psycopg.errors.InsufficientPrivilege:
        return "refused"
    except psycopg.Error as error:
        return error.sqlstate
"#;

#[test]
fn an_overload_runs_only_where_it_cant_be_met() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start("enforce")?;
    for made in [
        "CREATE FUNCTION public.lower(int) RETURNS int LANGUAGE plpgsql AS \
         'BEGIN DELETE FROM public.customers; RETURN 1; END'",
        "CREATE SCHEMA tools",
        "CREATE FUNCTION tools.upper(int) RETURNS int LANGUAGE plpgsql AS \
         'BEGIN DELETE FROM public.customers; RETURN 1; END'",
        "CREATE EXTENSION citext",
    ] {
        guarded.postgres.psql("app", made)?;
    }
    let said = guarded.asks(
        r#"
with connect() as c:
    print(ask(c, "SELECT lower(1)"), ask(c, "SELECT lower(%s)", 1, prepare=True),
          ask(c, "EXPLAIN SELECT lower(1)"), ask(c, "SELECT pg_catalog.lower('X')"))
    # What lies elsewhere isn't met; the server is asked where that is.
    print(ask(c, "SELECT upper('x')"), ask(c, "SET search_path = public, tools"),
          ask(c, "SELECT upper('x')"), ask(c, "SET search_path = public"),
          ask(c, "SELECT upper('x')"))
    # What an extension does for its own types stops nobody.
    print(ask(c, "SELECT count(*) FROM customers WHERE name = 'c7'"),
          ask(c, "SELECT replace(%s, 'a', 'b')", "a"), ask(c, "SELECT 'A'::citext = 'a'"))
"#,
    )?;
    let expected = "refused refused refused x\nX ok refused ok X\n1 b True\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

/// What was let through, and is known, is let through no more.
#[test]
fn one_that_is_made_meanwhile_is_met_by_the_next_statement() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start("enforce")?;
    guarded.own(
        "@id(\"default/define\") @off(\"made by whoever wants to\")
         permit (principal, action, resource);",
    )?;
    let said = guarded.asks(
        r#"
body = "LANGUAGE plpgsql AS 'BEGIN DELETE FROM customers; RETURN $1; END'"
with connect() as one, connect() as other:
    texts = ["SELECT initcap('x')", "SELECT 'a'::text # 'b'", "SELECT 1 - 1"]
    def all(c, **how):
        return [ask(c, text, **how) for text in texts]
    print(all(one), all(one), all(other, prepare=True), all(other, prepare=True))
    print(ask(one, "CREATE FUNCTION initcap(int) RETURNS int " + body),
          all(one)[0], all(other)[0], all(other, prepare=True)[0])
    print(ask(one, "CREATE FUNCTION gone(text, text) RETURNS text " + body),
          ask(one, "CREATE OPERATOR # (leftarg = text, rightarg = text, function = gone)"),
          all(other), all(one))
    # In a transaction nothing can be learnt.
    one.execute("BEGIN")
    print(ask(one, "SELECT ltrim('  x')"), ask(one, "CREATE FUNCTION ltrim(int) RETURNS int " + body),
          ask(one, "SELECT ltrim(1)"))
"#,
    )?;
    let expected = "['X', '42883', 0] ['X', '42883', 0] ['X', '42883', 0] ['X', '42883', 0]\n\
                    ok refused refused refused\n\
                    ok ok ['refused', 'refused', 0] ['refused', 'refused', 0]\n\
                    x ok refused\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}
