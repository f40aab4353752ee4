"""SQLAlchemy reads a database's structure, and an ORM its rows."""
import os

from sqlalchemy import MetaData, create_engine, inspect, select
from sqlalchemy.schema import CreateTable

engine = create_engine(
    f"postgresql+psycopg://app@{os.environ['PGHOST']}:{os.environ['PGPORT']}/app"
)
look = inspect(engine)
for table in sorted(look.get_table_names()):
    print(table, look.get_pk_constraint(table), look.get_foreign_keys(table))
    print(sorted(str(one) for one in look.get_indexes(table)), look.get_check_constraints(table))
    for column in look.get_columns(table):
        print(" ", column["name"], column["type"], column["nullable"], column["default"])
for view in sorted(look.get_view_names()):
    print(view, look.get_view_definition(view))
print(look.get_enums())
known = MetaData()
known.reflect(engine, only=["products", "orders", "order_items"])
with engine.connect() as connection:
    for table in known.sorted_tables:
        print(CreateTable(table).compile(engine))
        if table.name in ("products", "orders", "order_items"):
            for row in connection.execute(select(table).order_by(*table.primary_key)):
                print(row)
    orders = known.tables["orders"]
    made = connection.execute(
        orders.insert().returning(orders.c.order_number, orders.c.state), {"order_number": "SO-9", "total": 3}
    )
    print(made.one())
    connection.rollback()
