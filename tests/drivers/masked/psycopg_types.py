"""psycopg 3 decodes every type, as text and as binary."""
import psycopg
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

with psycopg.connect(autocommit=True) as conn:
    register_composite(CompositeInfo.fetch(conn, "pair"), conn)
    register_enum(EnumInfo.fetch(conn, "mood"), conn)
    for binary in (False, True):
        for table in ("kinds", "told()", "persons"):
            columns = [c.name for c in conn.execute(f"SELECT * FROM {table} LIMIT 0").description]
            for name in columns:
                # Some types have no binary loader in psycopg: it gives bytes.
                cur = conn.cursor(binary=binary)
                rows = cur.execute(f"SELECT {name} FROM {table}").fetchall()
                assert len(rows) == 2, (table, name, rows)
                print(binary, table, name, type(rows[0][0]).__name__, repr(rows[0][0]))
    cur = conn.cursor()
    with cur.copy("COPY persons TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(
            "int4 text varchar bpchar text date timestamptz bpchar numeric int8 inet macaddr varchar bytea text jsonb"
            " text text float8 float8 point text[] date[] inet[] jsonb uuid int4 money xml".split()
        )
        print("copied", len(list(copy.rows())))
print("done")
