"""psycopg 3, async: tasks on several connections, pipeline, cancel."""
import asyncio

import psycopg


async def work(n):
    async with await psycopg.AsyncConnection.connect() as conn:
        async with conn.cursor() as cur:
            await cur.execute("SELECT %s::int * g FROM generate_series(1, 500) g", (n,))
            return sum(r[0] for r in await cur.fetchall())


async def main():
    print(await asyncio.gather(*(work(n) for n in range(8))))
    async with await psycopg.AsyncConnection.connect() as conn:
        print("tls", conn.pgconn.ssl_in_use)
        async with conn.pipeline():
            cursors = [await conn.execute("SELECT %s::int, repeat('p', %s)", (n, n * 10)) for n in range(50)]
            print([(await c.fetchone())[0] for c in cursors][-1])
        async with conn.cursor() as cur, cur.copy("COPY (SELECT generate_series(1, 10000)) TO STDOUT") as copy:
            print("rows", len([row async for row in copy.rows()]))
        task = asyncio.create_task(conn.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.3)
        await conn.cancel_safe()
        try:
            await task
        except psycopg.errors.QueryCanceled as error:
            print("cancelled", error.sqlstate)
        # The server signals twice, and the second may come while something else runs.
        await asyncio.sleep(0.3)
        await conn.rollback()
        print((await (await conn.execute("SELECT 'usable'")).fetchone())[0])


asyncio.run(main())
