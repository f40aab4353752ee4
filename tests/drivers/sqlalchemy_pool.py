"""SQLAlchemy with its pool, on psycopg and on asyncpg's types by psycopg."""
import threading

import sqlalchemy as sa
from sqlalchemy import orm

engine = sa.create_engine("postgresql+psycopg://", pool_size=4, max_overflow=2, pool_pre_ping=True)


class Base(orm.DeclarativeBase):
    pass


class Port(Base):
    __tablename__ = "sa_ports"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]
    tags: orm.Mapped[list[str]] = orm.mapped_column(sa.ARRAY(sa.Text))
    ships: orm.Mapped[list["Ship"]] = orm.relationship(back_populates="port")


class Ship(Base):
    __tablename__ = "sa_ships"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    port_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("sa_ports.id"))
    port: orm.Mapped[Port] = orm.relationship(back_populates="ships")


Base.metadata.drop_all(engine)
Base.metadata.create_all(engine)
with orm.Session(engine) as session:
    session.add_all(Port(name=f"port {n}", tags=["a", "b"], ships=[Ship() for _ in range(n)]) for n in range(20))
    session.commit()
    found = session.scalars(sa.select(Port).options(orm.selectinload(Port.ships)).order_by(Port.id)).all()
    print([(p.name, len(p.ships)) for p in found])
    session.add(Ship(port_id=999999))
    try:
        session.commit()
    except sa.exc.IntegrityError as error:
        print(error.orig.sqlstate)
        session.rollback()
    print(session.scalar(sa.select(sa.func.count()).select_from(Ship)))


def work(total):
    for n in range(20):
        with engine.connect() as conn:
            total.append(conn.execute(sa.text("SELECT :n + 1"), {"n": n}).scalar())


totals = []
threads = [threading.Thread(target=work, args=(totals,)) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(totals), len(totals))
with engine.connect().execution_options(stream_results=True, yield_per=100) as conn:
    print(sum(row[0] for row in conn.execute(sa.text("SELECT generate_series(1, 5000)"))))
print(sorted(c["name"] for c in sa.inspect(engine).get_columns("sa_ports")))
Base.metadata.drop_all(engine)
engine.dispose()
