"""asyncpg decodes every type: always as binary."""
import asyncio

import asyncpg


async def main():
    conn = await asyncpg.connect(ssl=False)
    for table in ("kinds", "told()", "persons"):
        prepared = await conn.prepare(f"SELECT * FROM {table} LIMIT 0")
        for column in prepared.get_attributes():
            rows = await conn.fetch(f"SELECT {column.name} FROM {table}")
            assert len(rows) == 2, (table, column, rows)
            print(table, column.name, type(rows[0][0]).__name__, repr(rows[0][0]))
        assert len(await conn.fetch(f"SELECT * FROM {table}")) == 2
    await conn.fetch("SELECT ROW(email, id, phones) FROM persons")
    await conn.close()
    print("done")


asyncio.run(main())
