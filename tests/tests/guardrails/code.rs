//! Names of the server's that somebody has as well: an AI agent's read is no pure read
//! where his code would run.

use anyhow::{Context, Result, ensure};
use tidegate_tests::postgres::run;
use tidegate_tests::venv;

use super::Guarded;

impl Guarded {
    /// What comes of an AI agent's statements: `ran`, `refused`, or a server's error.
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
        c.execute(text, values or None, **how)
        return "ran"
    except psycopg.errors.InsufficientPrivilege:
        return "refused"
    except psycopg.Error as error:
        return error.sqlstate
"#;

#[test]
fn an_overload_runs_only_where_it_cant_be_met() -> Result<()> {
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
          ask(c, "EXPLAIN SELECT lower(1)"), ask(c, "SELECT pg_catalog.lower('X')"),
          ask(c, "SELECT length('X')"))
    # What lies elsewhere isn't met; the server is asked where that is.
    print(ask(c, "SELECT upper('x')"), ask(c, "SET search_path = public, tools"),
          ask(c, "SELECT upper('x')"), ask(c, "SET search_path = public"),
          ask(c, "SELECT upper('x')"))
    # What an extension does for its own types stops nobody.
    print(ask(c, "SELECT count(*) FROM customers WHERE id = 7"),
          ask(c, "SELECT replace(%s, 'a', 'b')", "a"), ask(c, "SELECT 'A'::citext = 'a'"))
"#,
    )?;
    let expected = "refused refused refused ran ran\nran ran refused ran ran\nran ran ran\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

/// What was let through, and is known, is let through no more.
#[test]
fn one_that_is_made_meanwhile_is_met_by_the_next_statement() -> Result<()> {
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
    let before = "['ran', '42883', 'ran']";
    let after = "['refused', 'refused', 'ran']";
    let expected = format!(
        "{before} {before} {before} {before}\nran refused refused refused\n\
         ran ran {after} {after}\nran ran refused\n"
    );
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

/// What is bound is read by the type that a client says it has, whatever the text says.
#[test]
fn a_parameter_of_a_checked_type_runs_its_check() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    for made in [
        "CREATE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS \
         'BEGIN DELETE FROM public.customers; RETURN true; END'",
        "CREATE DOMAIN checked AS int CHECK (fine(VALUE))",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    ] {
        guarded.postgres.psql("app", made)?;
    }
    let said = guarded.asks(
        r#"
from psycopg.adapt import Dumper
class Number(int):
    pass
with connect() as c:
    for name in ["checked", "positive"]:
        number = c.execute(f"SELECT '{name}'::regtype::oid::int").fetchone()[0]
        class Typed(Dumper):
            oid = number
            def dump(self, value):
                return str(value).encode()
        c.adapters.register_dumper(Number, Typed)
        print(name, ask(c, "SELECT %s", Number(7)), ask(c, "SELECT %s", Number(7), prepare=True))
"#,
    )?;
    ensure!(
        said == "checked refused refused\npositive ran ran\n",
        "{said}\n{}",
        guarded.agent.tail()
    );
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

/// Where it may run, it may have done anything to the session.
#[test]
fn what_an_overload_may_have_done_to_the_session_is_not_trusted() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    guarded.own(
        "@id(\"default/agent-code\") @off(\"functions are called here\")
         permit (principal, action, resource);",
    )?;
    let made = "CREATE FUNCTION public.lower(int) RETURNS void LANGUAGE plpgsql AS \
                'BEGIN DROP TABLE pg_temp.customers; END'";
    guarded.postgres.psql("app", made)?;
    let said = guarded.asks(
        r#"
with connect() as c:
    c.execute("CREATE TEMP TABLE customers AS SELECT 1 AS id")
    print(ask(c, "DELETE FROM customers"), ask(c, "SELECT upper('x')"), ask(c, "DELETE FROM customers"),
          ask(c, "SELECT lower(1)"), ask(c, "DELETE FROM customers"))
"#,
    )?;
    ensure!(said == "ran ran ran ran refused\n", "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}
