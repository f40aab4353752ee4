use crate::sql::cell::Settings;
use crate::sql::{Bound, Cell, LexingState};

#[track_caller]
fn reads(bound: Bound, texts: &[&str]) {
    for text in texts {
        let (text, state) = (text.as_bytes(), LexingState::default());
        let cell = || Cell::start(Settings::default()).unwrap();
        let facts = Cell::quick(text, &state).unwrap_or_else(|| cell().read(text, &state));
        let text = String::from_utf8_lossy(text);
        assert!(facts.is_parsed(), "{text}: {facts:?}");
        let widest = facts.running().map(|one| one.reads).max();
        assert_eq!(widest, Some(bound), "{text}");
    }
}

#[test]
fn what_reads_no_table_has_no_bound() {
    reads(
        Bound::NotApplicable,
        &[
            "select 1",
            "values (1), (2)",
            "select * from generate_series(1, 10)",
            "select * from (values (1)) v",
            "insert into a values (1)",
            "update a set x = 1",
            "update a set x = b.x from b where a.id = b.id",
            "delete from a using b where a.id = b.id",
            "merge into a using b on a.id = b.id when matched then delete",
            "delete from a where id in (select id from b)",
            "explain select * from a",
            "copy a from stdin",
            "with d as (delete from a where id = 1 returning *) select * from d",
            "select exists (select 1 from a)",
        ],
    );
}

#[test]
fn a_condition_or_a_limit_bounds_what_comes_to_it() {
    reads(
        Bound::Bounded,
        &[
            "select * from a where id = 1",
            "select * from a where id = $1 limit $2",
            "select * from a limit 10",
            "select * from (select * from a) s where id = 1",
            "select * from (select * from a where id = 1) s",
            "select count(*) from (select * from a limit 1000) s",
            "with s as (select * from a) select * from s limit 10",
            "with s as (select * from a where id = 1) select count(*) from s",
            "select * from a join b on a.id = b.id where a.id = 1",
            "select * from a join b using (id) where a.id = 1",
            "select * from a, b where a.id = b.id and b.x = 'y'",
            "select * from a join b on a.id = b.id join c on b.x = c.x where c.y = 2",
            "select * from a join b on a.id = b.id where x = 1",
            "select * from a left join b on a.id = b.id where x = 1 and a.y > 2",
            "select * from a left join b on a.id = b.id where b.x = 1",
            "select * from a left join b using (id) where a.x is null",
            "select * from (a join b on a.id = b.id) as j where j.x = 1",
            "select * from a, b limit 7",
            "select * from a, lateral (select * from b where b.id = a.id limit 3) s where a.id = 1",
            "select * from a where id = 1 union all select * from b where id = 1",
            "(select * from a union select * from b) limit 10",
            "select (select name from b where b.id = a.id) from a where id = 1",
            "select * from a where id in (select id from b) limit 7",
            "select max(x) from a where id = 1",
            "select * from a where id in (select id from b)",
            "select * from a x where x.id = any(array[1, 2])",
            "insert into a select * from b where id = 1",
            "create table c as select * from a where id = 1",
            "copy (select * from a where id = 1) to stdout",
            "declare c cursor for select * from a where id = 1",
            "update a set x = (select x from b where b.id = 1) where a.id = 1",
        ],
    );
    reads(Bound::Weak, &["select * from a where id <> 1", "select * from a where x is not null"]);
}

#[test]
fn whole_tables_are_found_wherever_they_are_read() {
    reads(
        Bound::Unbounded,
        &[
            "select * from a",
            "table a",
            "select * from a where true",
            "select * from a where id = id",
            "select * from a x where id in (select id from a)",
            "select * from a limit all",
            "select * from a limit 1000000000",
            "select count(*) from a",
            "select string_agg(x, ',') from a limit 1",
            "select count(*) over (), x from a limit 10",
            "select json_arrayagg(x) from a limit 1",
            "select mine(x) from a limit 1",
            "select * from (select array_agg(x) from a) s limit 1",
            "select * from (select array_agg(x) as x from a) s where x is null",
            "with s as (select array_agg(x) from a) select * from s limit 1",
            "select (select string_agg(x, ',') from a)",
            "select array(select x from a)",
            "select array(select x from a) from b where b.id = 1",
            "select coalesce((select xmlagg(x) from a), null) from b limit 1",
            "values ((select array_agg(x) from a))",
            "select * from a where id = 1 union all select * from b",
            "select * from a, b where a.id = 1",
            "select * from a, b where x = 1",
            "select * from a, b join c on b.id = c.id where a.id = 1",
            "select * from a, b, c where a.id = b.id and c.id = 1",
            "select * from a join b using (id), c join d using (x) where a.id = 1",
            "select * from a left join b on b.id = a.id and b.id = -1 where b.id is null",
            "select * from a left join b on b.id = a.id where coalesce(b.id, 1) = 1",
            "select * from a full join b on b.id = a.id where a.x is null",
            "select * from (a join b on true) as j where j.x = 1",
            "select * from (select a.id, b.x from a, b) s where s.id = 1",
            "select * from a cross join b where a.id = 1",
            "select * from a join b on true where a.id = 1",
            "select * from a join b on b.id = b.id where a.id = 1",
            "select * from a, (select * from b) s where a.id = 1",
            "with recursive r as (select * from a) select * from r",
            "insert into a select * from b",
            "insert into a values ((select string_agg(x, ',') from b))",
            "update a set x = (select string_agg(x, ',') from b) where id = 1",
            "update a set x = s.x from (select array_agg(x) as x from b) s where id = 1",
            "delete from a where id = 1 returning (select array_agg(x) from b)",
            "create table c as select * from a",
            "select * into c from a",
            "create materialized view m as select * from a",
            "copy a to stdout",
            "copy (table a) to stdout",
            "declare c cursor for table a",
            "prepare p as select * from a",
            "explain analyze select * from a",
        ],
    );
}

#[test]
fn of_what_is_long_the_wider_is_taken() {
    let join = "select * from a join b on a.id = b.id where a.id = 1";
    let long = format!("{join} /* {} */", "x".repeat(20_000));
    let joined: String = (0..20).map(|at| format!(" join t{at} on t{at}.id = a.id")).collect();
    let many = format!("select * from a{joined} where a.id = 1");
    reads(Bound::Bounded, &[join]);
    reads(Bound::Unbounded, &[&long, &many]);
}
