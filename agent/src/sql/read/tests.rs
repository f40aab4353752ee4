use super::super::cell::Cell;
use super::super::effect::{ColumnUse, Step};
use super::super::facts::{
    Bound, Column, Doubt, ObjectKind, Output, Part, Setting, Statement, Verb, Way,
};
use super::*;

fn statement(text: &str) -> Statement {
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    assert!(facts.understood(), "{text}: {facts:?}");
    facts.statements[0].clone()
}

/// `name: relation.column(steps) …` of one output; a `?` for what isn't certain.
fn shown(statement: &Statement, output: &Output) -> String {
    let mut sources: Vec<String> = output
        .sources
        .iter()
        .map(|source| {
            let column = &statement.columns[source.column as usize];
            let relation = &statement.objects[column.relation as usize].name;
            let steps: Vec<_> = source.path.iter().map(Step::as_str).collect();
            format!(
                "{relation}.{}{}{}",
                column.name.as_deref().unwrap_or("*"),
                if column.certain { "" } else { "?" },
                if steps.is_empty() { String::new() } else { format!("({})", steps.join("+")) }
            )
        })
        .collect();
    sources.sort();
    let name = if output.star { "*" } else { output.name.as_deref().unwrap_or("-") };
    format!("{name}: {}", sources.join(" "))
}

#[track_caller]
fn returns(text: &str, expected: &[&str]) {
    let statement = statement(text);
    let found: Vec<_> =
        statement.returns.iter().flatten().map(|output| shown(&statement, output)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn plain_columns_keep_their_origin() {
    returns("select email from c", &["email: c.email"]);
    returns("select c.email as x from c", &["x: c.email"]);
    returns("select x.email from public.c x", &["email: c.email"]);
    returns("select public.c.email from public.c", &["email: c.email"]);
    returns("select * from c", &["*: c.*"]);
    returns("select a.*, b.x from a, b", &["*: a.*", "x: b.x"]);
    returns("select email from (select email from c) s", &["email: c.email"]);
    returns("select e from (select email from c) s(e)", &["e: c.email"]);
    returns("select s.email from (select * from c) s", &["email: c.email?"]);
    returns("with s as (select email from c) select * from s", &["email: c.email"]);
    returns("with s(e) as (select email from c) select e from s", &["e: c.email"]);
    returns("delete from c where id = 1 returning email", &["email: c.email"]);
    returns("insert into c values (1) returning c.*", &["*: c.*"]);
    returns(
        "with d as (delete from c where id = 1 returning email) select * from d",
        &["email: c.email"],
    );
    returns("copy c (email) to stdout", &["email: c.email"]);
    returns("table c", &["*: c.*"]);
    returns("select 1, $1, 'x'", &["-: ", "-: ", "-: "]);
}

#[test]
fn a_part_of_a_recursive_with_may_be_named_before_it_stands() {
    returns(
        "with recursive a as (select * from b), b as (select email from c) select * from a",
        &["email: c.email"],
    );
    returns(
        "with recursive a as (select x from (with z as (select 1 as y) select b.x from z, b) s),
         b as (select z.email as x from z) select * from a",
        &["x: z.email"],
    );
    returns(
        "with recursive a as (select n from b union all select n + 1 from a),
         b as (select id as n from c) select * from a",
        &["n: c.id(operator+set_operation) c.id(set_operation)"],
    );
    // Neither ends, or is read in order by those who look for a bound.
    for text in [
        "with recursive a as (select * from b), b as (select * from a) select * from a",
        "with recursive a as (select * from a) select * from a",
        "with recursive a as (select * from b), b as (select 1 as id) \
         delete from c where id in (select id from a)",
        "with recursive a as (select * from b), b as (delete from c where id = 1 returning id) \
         select * from a",
    ] {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        assert!(!facts.understood(), "{text}");
    }
}

#[test]
fn expressions_say_how_a_column_went_through_them() {
    returns("select lower(email) from c", &["lower: c.email(function)"]);
    returns("select email::text from c", &["email: c.email(cast)"]);
    returns("select max(email) from c", &["max: c.email(aggregate)"]);
    returns("select 'x' || email from c", &["-: c.email(operator)"]);
    returns(
        "select case when id = 1 then email end from c",
        &["-: c.email(conditional) c.id(operator+conditional)"],
    );
    returns("select (select email from c limit 1)", &["-: c.email(subquery)"]);
    returns("select c from c", &["c: c.*(whole_row) c.c"]);
    returns("select row_to_json(c.*) from c", &["row_to_json: c.*(function+whole_row)"]);
    returns("select (c).email from c", &["email: c.email"]);
    returns("select array_agg(email) from c", &["array_agg: c.email(aggregate)"]);
    returns("select lag(email) over (order by id) from c", &["lag: c.email(window) c.id(window)"]);
    returns(
        "select email from c union select name from d",
        &["email: c.email(set_operation) d.name(set_operation)"],
    );
    returns(
        "select x from c, unnest(c.tags) x",
        &["x: c.tags(function) c.tags(function+whole_row) c.x?"],
    );
    returns("select * from (values (1)) v", &["-: "]);
    returns(
        "with recursive r as (select email from c union all select email from r) select * from r",
        &["email: c.email(set_operation)"],
    );
    returns(
        "with recursive r(a, b) as (select x, y from c union all select b, a from r) select a from r",
        &["a: c.x(set_operation) c.y(set_operation)"],
    );
}

#[test]
fn a_name_that_only_the_catalog_can_place_names_all_it_could_be() {
    returns("select email from a, b", &["email: a.email? b.email?"]);
    returns("select email from a join b using (email)", &["email: a.email? b.email?"]);
    returns(
        "select (select email from b limit 1) from a",
        &["-: a.email?(subquery) b.email?(subquery)"],
    );
    returns("select * from a natural join b", &["*: a.*", "*: b.*"]);
    returns("select s.x from (select * from a, b) s", &["x: a.x? b.x?"]);
    returns("select x from a t(x, y)", &["x: a.*(unknown)"]);
    returns("select j.email from (a join b on true) j", &["email: a.email? b.email?"]);
}

#[test]
fn columns_say_what_they_were_used_for() {
    let statement = statement("update c set a = b where id = 1 returning email");
    let used = |name: &str| {
        let column = statement.columns.iter().find(|c| c.name.as_deref() == Some(name)).unwrap();
        column.uses.iter().collect::<Vec<_>>()
    };
    assert_eq!(used("a"), [ColumnUse::Written]);
    assert_eq!(used("b"), [ColumnUse::Read]);
    assert_eq!(used("id"), [ColumnUse::Filtered]);
    assert_eq!(used("email"), [ColumnUse::Returned]);
}

#[test]
fn filters_reach_through_subqueries() {
    let statement = statement("select 1 from (select salary as s from c) x where s > 5 order by s");
    assert!(statement.columns[0].uses.contains(ColumnUse::Filtered));
}

/// A column's name, `#` and its place, or `*` for all.
fn called(column: &Column) -> String {
    match (&column.name, column.place) {
        (Some(name), _) if column.row => format!("{name} or row"),
        (Some(name), _) => name.to_string(),
        (None, Some(place)) => format!("#{place}"),
        (None, None) => "*".into(),
    }
}

#[test]
fn an_output_that_rows_are_picked_by_is_filtered_on_whatever_it_is_called() {
    let picked = |text: &str| -> String {
        let statement = statement(text);
        let picked = statement.columns.iter().filter(|c| c.uses.contains(ColumnUse::Filtered));
        picked.map(called).collect::<Vec<_>>().join(" ")
    };
    for (text, columns) in [
        ("select id, email from c order by email", "email"),
        ("select id, email as e from c order by e", "email"),
        ("select id, email from c order by 2 desc limit 1", "email"),
        ("select id, email from c order by 1", "id"),
        ("select id, email from c order by 3", ""),
        ("select id, email from c order by 2 + 0", ""),
        ("select email, count(*) from c group by 1", "email"),
        // Only the catalog knows that `e` is none of the table's.
        ("select email as e, count(*) from c group by rollup (e)", "email e"),
        ("select id, email from c group by cube (1, 2)", "id email"),
        ("select id, email from c group by grouping sets ((1, 2), ())", "id email"),
        ("select id as email from c order by email", "id"),
        ("select id as email from c order by (email, 1)", "id email"),
        ("select max(id) as email from c group by email", "id email"),
        ("select distinct on (2) id, email from c", "email"),
        ("select id from c union select email from c order by 1", "id email"),
        ("select id, c.* from c order by 1", "id"),
        ("select id, c.* from c order by 2", "#0"),
        ("select * from c order by 1", "#0"),
        ("select id, c.* from c order by 3", "#1"),
        ("select c.*, id from c order by 2", "* id"),
        ("select * from (select * from c) s order by 1", "#0"),
        // Where the first has no column, the second's is the first.
        ("select * from c, d order by 1", "* *"),
    ] {
        assert_eq!(picked(text), columns, "{text}");
    }
}

#[test]
fn rows_are_picked_by_whatever_decides_which_there_are() {
    for (text, columns) in [
        // Whole rows, and columns under other names.
        ("select id from c where c::text like '%j%'", "c or row"),
        ("select id from c as x where x::text like '%j%'", "x or row"),
        ("select id from c order by c", "c or row"),
        ("select x.id from c x, d where (x).email = 'j'", "x x or row"),
        ("select id from c where c.* is distinct from row('j')", "*"),
        ("select count(*) from c as x(a, b) where b = 'j'", "#1"),
        ("select count(*) from c x(a, b) join (values ('j')) v(b) using (b)", "#1"),
        // Columns that a join finds by itself.
        ("select count(*) from c natural join (values ('j')) v(email)", "email"),
        ("select count(*) from (values ('j')) v(email) natural join c", "email"),
        ("select count(*) from c natural join (select 'j' as email) v", "email"),
        ("select count(*) from c natural join d", "* *"),
        ("select count(*) from c natural join (select * from d) v", "* *"),
        // How many rows there are, and from where on.
        (
            "select g from generate_series(0, 255) g offset (select ascii(email) from c) limit 1",
            "email",
        ),
        ("select g from generate_series(0, 255) g limit (select length(email) from c)", "email"),
        ("select 1 from d tablesample system ((select length(email) from c))", "email email"),
        // Functions that give rows.
        ("select 1 from c, regexp_matches(c.email, '^j')", "email"),
        ("select 1 from generate_series(1, (select ascii(email) from c))", "email"),
        ("select 1 from c, jsonb_each(c.data) d", "data"),
        ("select 1 from c, xmltable('/a' passing c.email columns a text path '.')", "email"),
        ("select 1 from c, json_table(c.data, '$.a' columns (a text path '$'))", "data"),
        ("select regexp_matches(email, '^j') from c", "email"),
        ("select generate_series(1, length(email)) from c", "email"),
        ("select 1 + unnest(array[length(email)]) from c", "email"),
        ("select lower(email), length(phone) from c", ""),
        // What is in two sets, or in one of them alone.
        ("select email from c intersect select 'j'", "email"),
        ("select email from c except all select 'j'", "email"),
        ("select email from c union select 'j'", "email"),
        ("select email from c union all select 'j'", ""),
        ("select email from c union all select b from d union select 'j'", "b email"),
        ("select email from c union select b from d union all select a from e", "b email"),
        ("select a from e union all (select email from c union select 'j')", "email"),
        ("with recursive r(x) as (select email from c union select 'j') select 1 from r", "email"),
        ("with recursive r(x) as (select email from c union all select 'j') select 1 from r", ""),
        // Of a column it tells what is alike; of what is made of it, more.
        ("select distinct email, id from c", ""),
        ("select count(distinct email) from c", ""),
        ("select distinct email = 'j' from c", "email"),
        ("select distinct left(email, 1) from c", "email"),
        ("select count(distinct nullif(email, 'j')) from c", "email"),
        ("select distinct x from (select email as x from c union all select 'j') s", "email"),
        (
            "select count(distinct x) from (select email as x from c union all select 'j') s",
            "email",
        ),
        // Windows.
        ("select id, count(*) over (order by email) from c", "email"),
        ("select id, count(*) over (partition by email = 'j') from c", "email"),
        ("select id, count(*) over w from c window w as (order by email)", "email"),
        ("select lag(email) over (order by id) from c", "id"),
        // Whether there is a row, nobody sees by what it holds.
        ("select 1 from d where exists (select * from c where c.id = d.id)", "id id"),
        ("select 1 from d where id in (select email from c)", "email email id"),
    ] {
        let statement = statement(text);
        let picked = statement.columns.iter().filter(|c| c.uses.contains(ColumnUse::Filtered));
        let mut picked: Vec<_> = picked.map(called).collect();
        picked.sort();
        assert_eq!(picked.join(" "), columns, "{text}");
    }
}

#[test]
fn statements_know_their_place_and_what_they_define() {
    let text = "select 1; create view v as select email from c; drop table x";
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let places: Vec<_> = facts
        .running()
        .map(|s| s.span.map(|span| text[span.start as usize..span.end as usize].trim()))
        .collect();
    assert_eq!(
        places,
        [Some("select 1"), Some("create view v as select email from c"), Some("drop table x"),]
    );
    let view = facts.statements.iter().find(|s| s.way == Way::View).unwrap();
    assert_eq!(view.later_of, Some(1));
    assert_eq!(shown(view, &view.returns.as_ref().unwrap()[0]), "email: c.email");
}

#[test]
fn a_function_body_is_read_for_later() {
    let text = "create function f() returns int language sql as 'delete from c; select 1'";
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let later: Vec<_> =
        facts.statements.iter().filter(|s| s.later_of.is_some()).map(|s| s.verb).collect();
    assert_eq!(later, [super::super::Verb::Delete, super::super::Verb::Select]);
}

/// `written b.a` … of what runs with the text, and whether something wasn't read.
fn code(text: &str) -> (Vec<String>, bool) {
    // What nests is read where there is more stack.
    let cell = Cell::start(crate::sql::cell::Settings::default()).unwrap();
    let facts = cell.read(text.as_bytes(), &LexingState::default());
    let statement = &facts.statements[0];
    let of_tables = statement.objects.iter().filter(|one| one.kind == ObjectKind::Relation);
    let mut shown: Vec<String> = of_tables
        .flat_map(|one| {
            let schema = one.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
            one.uses.iter().map(move |used| format!("{used} {schema}{}", one.name))
        })
        .collect();
    shown.sort();
    let body = |doubt: &Doubt| *doubt == Doubt::Body("plpgsql".into());
    assert!(statement.doubts.iter().any(body), "{text}: {statement:?}");
    (shown, !statement.doubts.iter().all(body))
}

#[test]
fn a_block_does_what_stands_in_it() {
    for (text, tables) in [
        ("do $$begin delete from hr.x; end$$", &["written hr.x"][..]),
        ("do $$begin if true then truncate a, b; end if; end$$", &["written a", "written b"]),
        ("do $$begin perform 1 from hr.x; end$$", &["read hr.x"]),
        ("do $$declare n int := (select count(*) from hr.x); begin end$$", &["read hr.x"]),
        (
            "do $$begin for r in select a from hr.x loop drop table b; end loop; end$$",
            &["dropped b", "read hr.x"],
        ),
        ("do $$declare n int; begin select count(*) into n from hr.x; end$$", &["read hr.x"]),
        ("do $$begin execute 'delete from ' || 'hr.x'; end$$", &["written hr.x"]),
        ("do $$begin execute $x$do 'begin delete from hr.x; end'$x$; end$$", &["written hr.x"]),
        (
            "do $$begin while exists (select from a) loop update b set c = 1; end loop; end$$",
            &["read a", "written b"],
        ),
    ] {
        let expected: Vec<_> = tables.iter().map(|one| (*one).to_owned()).collect();
        assert_eq!(code(text), (expected, false), "{text}");
    }
}

#[test]
fn code_that_cannot_be_read_has_a_doubt_more() {
    for text in [
        "do $$begin execute 'delete from ' || name; end$$",
        "do $$begin execute format('delete from %I', 'x'); end$$",
        "do $$begin set search_path = hr; delete from x; end$$",
        "do $$begin perform set_config('search_path', 'hr', true); end$$",
        "do $$begin perform query_to_xml('delete from x', true, true, ''); end$$",
        "do $$begin execute 'execute p'; end$$",
        "do $$begin no sql at all; end$$",
        "do $$begin delete from a; end if; end$$",
    ] {
        assert!(code(text).1, "{text}");
    }
}

#[test]
fn parts_of_a_block_know_their_target_and_how_much_of_it() {
    let text = "do $$begin delete from a; update b set c = 1 where id = 2; end$$";
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let statement = &facts.statements[0];
    let of = |part: &Part| {
        let target = &statement.objects[part.target.unwrap() as usize];
        (part.verb, part.way, part.bound, &*target.name)
    };
    let parts: Vec<_> = statement.parts.iter().map(of).collect();
    assert_eq!(
        parts,
        [
            (Verb::Delete, Way::Block, Bound::Unbounded, "a"),
            (Verb::Update, Way::Block, Bound::Bounded, "b"),
        ]
    );
}

#[test]
fn a_table_that_a_block_creates_for_itself_may_be_another() {
    let text = "do $$begin if false then create temp table a (); end if; delete from a; end$$";
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    assert!(facts.statements[0].objects.iter().all(|one| !one.temporary));
}

#[test]
fn system_user_is_a_column_before_16() {
    let of = |major: Option<u16>| {
        let state = LexingState { server_major: major, ..LexingState::default() };
        let facts = Cell::quick(b"select system_user from logins", &state).unwrap();
        assert!(facts.understood());
        let statement = facts.statements[0].clone();
        let output = &statement.returns.as_ref().unwrap()[0];
        shown(&statement, output)
    };
    assert_eq!(of(Some(15)), "system_user: logins.system_user");
    assert_eq!(of(None), "system_user: logins.system_user");
    assert_eq!(of(Some(16)), "system_user: ");
}

#[test]
fn facts_survive_the_pipe() {
    let facts =
        Cell::quick(b"select lower(email), c.* from c where x = 1", &LexingState::default());
    let mut facts = facts.unwrap();
    // Places in a text: nothing for another process.
    assert_eq!(*std::mem::take(&mut facts.free), [0]);
    let bytes = postcard::to_stdvec(&facts).unwrap();
    assert_eq!(postcard::from_bytes::<Facts>(&bytes).unwrap(), facts);
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
}

#[test]
fn a_setting_named_by_a_condition_is_that_one() {
    let settings = |text: &str| -> Vec<String> {
        statement(text).session.iter().map(|one| one.setting.to_string()).collect()
    };
    let ask = "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = ";
    assert_eq!(settings(&format!("{ask}'restrict_x'")), ["restrict_x"]);
    for text in [
        format!("{ask}'a' OR true"),
        format!("{ask}lower('a')"),
        "SELECT set_config(name, 'x', false) FROM pg_settings".to_owned(),
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE setting = 'a'".to_owned(),
    ] {
        assert_eq!(settings(&text), ["*"], "{text}");
    }
}

#[test]
fn what_a_session_s_transactions_begin_with_is_a_setting_of_its_own() {
    let settings = |text: &str| -> Vec<String> {
        statement(text).session.iter().map(|one| one.setting.to_string()).collect()
    };
    assert_eq!(settings("SET TRANSACTION READ ONLY"), ["transaction_read_only"]);
    assert_eq!(
        settings("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
        ["default_transaction_read_only"]
    );
}

#[test]
fn an_update_of_pg_settings_sets_settings() {
    let any = |text: &str| {
        let session = statement(text).session;
        session.iter().any(|one| &*one.setting == "*" && one.value == Setting::Dynamic)
    };
    assert!(any("UPDATE pg_settings SET setting = 'evil' WHERE name = 'search_path'"));
    assert!(any("WITH a AS (UPDATE pg_catalog.pg_settings SET setting = $1 RETURNING 1) SELECT 1"));
    assert!(!any("UPDATE own.pg_settings SET setting = 'x' WHERE name = 'search_path'"));
    assert!(!any("SELECT setting FROM pg_settings"));
}
