"""asyncpg: prepared, types in binary, transactions, COPY, cursor, cancel, pool."""
import asyncio
import datetime
import decimal
import io
import os
import uuid

import asyncpg


def terms():
    import ssl

    mode = os.environ["PGSSLMODE"]
    if mode == "disable":
        return False
    if mode == "verify-full":
        return ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    return "require"


async def main():
    conn = await asyncpg.connect(ssl=terms())
    print("tls", await conn.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    statement = await conn.prepare(
        "SELECT $1::int4, $2::int8, $3::numeric, $4::text, $5::bytea, $6::timestamptz, $7::uuid, $8::json, $9::int4[], $10::text"
    )
    print(
        list(
            await statement.fetchrow(
                -7, 2**62, decimal.Decimal("1.000000000000000000001"), "Füße \u20ac", b"\x00\xff" * 500,
                datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
                uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), '{"a": 1}', [[1, 2], [None, 4]], None,
            )
        )
    )
    print(statement.get_attributes()[2].type.name)
    await conn.execute("CREATE TEMP TABLE t (i int, s text)")
    try:
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES ($1, $2)", 1, "x")
            await conn.execute("SELECT 1/0")
    except asyncpg.DivisionByZeroError as error:
        print(error.sqlstate, error)
    async with conn.transaction():
        try:
            async with conn.transaction():
                await conn.fetch("SELECT nonsense")
        except asyncpg.UndefinedColumnError as error:
            print(error.position, error.message)
        await conn.executemany("INSERT INTO t VALUES ($1, $2)", [(n, str(n)) for n in range(1000)])
    print(await conn.copy_records_to_table("t", records=[(n, "c") for n in range(20000)]))
    print(await conn.copy_to_table("t", source=io.BytesIO(b"1\tx\n2\ty\n")))
    out = io.BytesIO()
    print(await conn.copy_from_query("SELECT * FROM t ORDER BY i, s", output=out), len(out.getvalue()))
    async with conn.transaction():
        total = 0
        async for row in conn.cursor("SELECT i FROM t", prefetch=500):
            total += row["i"]
        print("cursor", total)
    try:
        await conn.execute("SELECT pg_sleep(30)", timeout=0.3)
    except asyncio.TimeoutError:
        print("timed out and cancelled")
    # The server signals twice, and the second may come while something else runs.
    await asyncio.sleep(0.3)
    print(await conn.fetchval("SELECT 'usable'"))
    heard = asyncio.get_running_loop().create_future()
    await conn.add_listener("tide", lambda c, pid, channel, payload: heard.set_result(payload))
    await conn.execute("NOTIFY tide, 'rises'")
    print(await asyncio.wait_for(heard, 5))
    await conn.close()
    async with asyncpg.create_pool(min_size=2, max_size=5, ssl=terms()) as pool:
        print(await asyncio.gather(*(pool.fetchval("SELECT $1::int + 1", n) for n in range(40))))
    try:
        await asyncpg.connect(password="wrong", ssl=terms())
    except asyncpg.InvalidPasswordError as error:
        print("refused", error.sqlstate)


asyncio.run(main())
