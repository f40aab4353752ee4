//! The client reads why, and goes on.

use anyhow::{Result, ensure};
use tidegate_tests::postgres::program;

use super::Guarded;

#[test]
fn psql_is_refused_in_words_and_goes_on() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    let mut psql = guarded.command(program("psql")?)?;
    psql.args(["-XAtq", "-v", "VERBOSITY=verbose"]);
    for statement in [
        "SELECT 'before'",
        "DROP TABLE customers",
        "SELECT 'between'",
        "DELETE FROM customers",
        "COPY customers TO PROGRAM 'cat'",
        "UPDATE customers SET name = 'x' WHERE id = id",
        "DELETE FROM customers WHERE id = 7",
        "SELECT 'after', count(*) FROM customers",
    ] {
        psql.args(["-c", statement]);
    }
    let output = psql.arg(guarded.dsn()).output()?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(out == "before\nbetween\nafter|99\n", "{out}\n{err}\n{}", guarded.agent.tail());
    ensure!(err.matches("ERROR:  42501: tidegate: ").count() == 4, "{err}");
    for word in ["drop on", "default/drop", "default/unbounded", "default/server-access", "HINT:"] {
        ensure!(err.contains(word), "no `{word}` in {err}");
    }
    ensure!(guarded.rows()? == "99|c1", "{}", guarded.rows()?);
    Ok(())
}

#[test]
fn a_driver_goes_on_behind_each_refusal() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    let said = guarded.python(
        r#"
import sys, psycopg
dsn = sys.argv[1]
refused = psycopg.errors.InsufficientPrivilege

# A transaction is aborted by a refusal, and usable again after its rollback.
with psycopg.connect(dsn) as c:
    c.execute("INSERT INTO customers VALUES (1000, 'in a transaction')")
    try:
        c.execute("TRUNCATE customers")
    except refused as error:
        print("refused", error.sqlstate)
    try:
        c.execute("SELECT 1")
    except psycopg.errors.InFailedSqlTransaction:
        print("aborted")
    c.rollback()
    print(c.execute("SELECT count(*) FROM customers").fetchone()[0])

# A refusal in a savepoint undoes that savepoint alone.
with psycopg.connect(dsn) as c:
    c.execute("SELECT 1")
    try:
        with c.transaction():
            c.execute("DELETE FROM customers WHERE true")
    except refused:
        print("savepoint")
    print(c.execute("SELECT count(*) FROM customers").fetchone()[0])

# In a pipeline what stands before it runs, what stands behind it is skipped.
with psycopg.connect(dsn, autocommit=True) as c:
    try:
        with c.pipeline():
            c.execute("SELECT 1")
            c.execute("DROP TABLE customers")
            c.execute("DELETE FROM customers WHERE id = 1")
    except psycopg.errors.PipelineAborted:
        print("pipeline aborted")
    except refused:
        print("pipeline refused")
    print(c.execute("SELECT count(*) FROM customers WHERE id = 1").fetchone()[0])

# Prepared statements: refused each time, the others untouched.
with psycopg.connect(dsn, autocommit=True) as c:
    for _ in range(3):
        try:
            c.execute("DELETE FROM customers WHERE %s = %s", (1, 1), prepare=True)
        except refused:
            print("prepared")
        print(c.execute("SELECT %s::int", (7,), prepare=True).fetchone()[0])
    try:
        with c.cursor().copy("COPY customers TO PROGRAM 'cat'") as copy:
            copy.read()
    except refused:
        print("copy")
    with c.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
        print(b"".join(copy).decode().strip())
"#,
    )?;
    let expected = "refused 42501\naborted\n100\nsavepoint\n100\npipeline refused\n1\n\
                    prepared\n7\nprepared\n7\nprepared\n7\ncopy\n1\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

/// A pool throws away what it takes for broken: it is the same connection before and
/// behind a refusal, whichever way the statement was sent.
#[test]
fn pools_of_python_stay_healthy() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    let said = guarded.python(
        r#"
import sys, asyncio, psycopg, asyncpg
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
dsn = sys.argv[1]
ALTER, WHO, COUNT = ("ALTER TABLE customers ADD COLUMN x int", "SELECT pg_backend_pid()",
    "SELECT count(*) FROM customers")

# The first of each is sent as a simple query, the second is parsed and bound.
with ConnectionPool(dsn, min_size=1, max_size=1) as pool:
    seen = set()
    for refused in ((ALTER,), ("DELETE FROM customers WHERE %s = %s", (1, 1))):
        with pool.connection() as c:
            seen.add(c.execute(WHO).fetchone()[0])
        try:
            with pool.connection() as c:
                c.execute(*refused)
        except psycopg.errors.InsufficientPrivilege as error:
            print("psycopg_pool", error.sqlstate)
        with pool.connection() as c:
            seen.add(c.execute(WHO).fetchone()[0])
            print(c.execute(COUNT).fetchone()[0])
    print(len(seen))

async def a():
    host = dict(part.split("=", 1) for part in dsn.split())
    pool = await asyncpg.create_pool(host=host["host"], port=int(host["port"]), user=host["user"],
        password=host["password"], database=host["dbname"], ssl="require", min_size=1, max_size=1)
    seen = set()
    for refused in (lambda c: c.execute(ALTER),
            lambda c: c.fetch("DELETE FROM customers WHERE $1 = $1::int", 1)):
        async with pool.acquire() as c:
            seen.add(await c.fetchval(WHO))
            try:
                await refused(c)
            except asyncpg.InsufficientPrivilegeError as error:
                print("asyncpg", error.sqlstate)
        async with pool.acquire() as c:
            seen.add(await c.fetchval(WHO))
            print(await c.fetchval(COUNT))
    print(len(seen))
    await pool.close()
asyncio.run(a())

engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), pool_size=1,
    max_overflow=0, pool_pre_ping=True)
seen = set()
for refused in ((text(ALTER),), (text("DELETE FROM customers WHERE :a = :b"), {"a": 1, "b": 1})):
    with engine.connect() as c:
        seen.add(c.execute(text(WHO)).scalar())
        try:
            c.execute(*refused)
        except DBAPIError as error:
            print("sqlalchemy", error.orig.sqlstate, error.connection_invalidated)
    with engine.connect() as c:
        seen.add(c.execute(text(WHO)).scalar())
        print(c.execute(text(COUNT)).scalar())
print(len(seen))
"#,
    )?;
    let of = |pool: &str| format!("{pool}\n100\n{pool}\n100\n1\n");
    let expected = [of("psycopg_pool 42501"), of("asyncpg 42501"), of("sqlalchemy 42501 False")];
    ensure!(said == expected.concat(), "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}
