"""SQLAlchemy's own types read what the driver gives."""
import os
import warnings

from sqlalchemy import MetaData, create_engine, select, text

warnings.simplefilter("ignore")
engine = create_engine(f"postgresql+psycopg://app@{os.environ['PGHOST']}:{os.environ['PGPORT']}/app")
known = MetaData()
known.reflect(engine, only=["kinds", "persons"])
with engine.connect() as connection:
    for table in known.sorted_tables:
        for column in table.columns:
            rows = connection.execute(select(column)).all()
            assert len(rows) == 2, (column, rows)
            print(column, repr(rows[0][0]))
    for name in known.tables["kinds"].columns.keys():
        typed = text(f"SELECT {name} FROM told()").columns(known.tables["kinds"].columns[name])
        rows = connection.execute(typed).all()
        assert len(rows) == 2, (name, rows)
        print("told", name, repr(rows[0][0]))
print("done")
