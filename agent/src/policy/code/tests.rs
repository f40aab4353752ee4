use crate::model::ActorKind;
use crate::model::code::{Code, Kind};
use crate::policy::catalog::Supposed;
use crate::policy::testing::{Asker, facts, target, with};
use crate::policy::{Question, Scene, Set, Target};

/// What is asked of `execute`, in a database that has this code.
fn run(code: &Code, target: Target, text: &str) -> String {
    let asker = Asker { scene: Scene::new(target), ..Asker::new(ActorKind::Agent, None) };
    let facts = facts(text);
    let catalog = &Supposed { masked: &[], scanned: &[], code };
    let question = Question { catalog, ..asker.question(&facts) };
    let asked = Set::embedded().unwrap().asked(&question);
    let executed = asked.into_iter().filter(|(action, _)| action.to_string() == "execute");
    executed.map(|(_, thing)| thing).collect::<Vec<_>>().join(", ")
}

fn code() -> Code {
    let mut code = Code::default();
    code.add(Kind::Function, Some("public"), "lower", false);
    code.add(Kind::Function, Some("tools"), "upper", false);
    code.add(Kind::Function, Some("pg_temp_3"), "abs", false);
    code.add(Kind::Function, Some("pg_catalog"), "extract", false);
    code.add(Kind::Operator, Some("public"), "+", false);
    code.add(Kind::Operator, Some("public"), "=", true);
    code.add(Kind::Operator, Some("public"), ">=", false);
    code.add(Kind::Operator, Some("public"), "~~", false);
    code.add(Kind::Type, Some("public"), "checked", false);
    code.add(Kind::Type, Some("pg_temp_3"), "fleeting", false);
    code.add(Kind::Type, Some("pg_catalog"), "int4", false);
    code.add(Kind::Row, Some("public"), "moods", false);
    code
}

#[test]
fn a_name_of_the_servers_that_somebody_has_too_is_asked_for_as_his() {
    for (text, expected) in [
        ("select lower(1)", "function `public.lower`"),
        ("select pg_catalog.lower('X')", ""),
        ("select sum(lower(1)::int8) over () from t", "function `public.lower`"),
        ("select extract(hour from now())", "function `pg_catalog.extract`"),
        ("select upper('x')", ""),
        ("select abs(1)", ""),
        ("select 1 + 1", "function `public.+`"),
        ("select 1 operator(pg_catalog.+) 1", ""),
        ("select 1 - 1", ""),
        // What the grammar makes of its words.
        ("select 1 between 0 and 2", "function `public.>=`"),
        ("select 1 not between 0 and 2", ""),
        ("select 'a' like 'b'", "function `public.~~`"),
        ("select 1 in (1, 2)", "function `public.=`"),
        ("select 1 in (select 2)", "function `public.=`"),
        ("select nullif(1, 2)", "function `public.=`"),
        ("select 1 is distinct from 2", "function `public.=`"),
        ("select case 1 when 2 then 3 end", "function `public.=`"),
        ("select case when true then 3 end", ""),
        ("select 1 from a join b using (x)", "function `public.=`"),
        ("select 1 from a natural join b", "function `public.=`"),
        ("select exists (select 2)", ""),
        // Casts.
        ("select 1::checked", "type `public.checked`"),
        ("select 'x'::public.checked[]", "type `public.checked`"),
        ("select 'x'::tools.checked", ""),
        ("select 'x'::fleeting", "type `pg_temp_3.fleeting`"),
        ("select 'x'::pg_temp.fleeting", "type `pg_temp_3.fleeting`"),
        ("select x::int from t", "type `pg_catalog.int4`"),
        ("select '1'::int", ""),
        ("select x::text from t", ""),
        ("select 'sad'::mood", ""),
        ("select m from moods", "type `public.moods`"),
        ("select 1 from public.moods, t", "type `public.moods`"),
        ("select m from tools.moods", ""),
        // Also where it runs later.
        ("prepare p as select lower(1)", "function `public.lower`"),
        ("create view v as select lower(1)", "function `public.lower`"),
    ] {
        let found = run(&code(), target(None), text);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_schema_that_the_path_may_name_counts() {
    let text = "select upper('x')";
    let on = |path: &str| Target { search_path: Some(path.into()), ..target(None) };
    assert_eq!(run(&code(), on("public, tools"), text), "function `tools.upper`");
    assert_eq!(run(&code(), on("public"), text), "");
    let anywhere = Target { anywhere: true, ..target(None) };
    assert_eq!(run(&code(), anywhere.clone(), text), "function `tools.upper`");
    // A function is not looked for among what is temporary, wherever that is.
    assert_eq!(run(&code(), anywhere, "select abs(1)"), "");
    let own = Target { role: "tools".into(), ..target(None) };
    assert_eq!(run(&code(), own, text), "function `tools.upper`");
}

#[test]
fn what_an_extension_brings_is_known_and_anything_else_is_not() {
    let set = Set::embedded().unwrap();
    let asker = Asker::new(ActorKind::Agent, None);
    let told = |set: &Set, code: &Code, text: &str| {
        let facts = facts(text);
        let catalog = &Supposed { masked: &[], scanned: &[], code };
        let question = Question { catalog, ..asker.question(&facts) };
        set.decide(&question, asker.stance).as_str()
    };
    let (none, code) = (Code::default(), code());
    for text in ["select lower(1)", "select 1 + 1", "select x::int from t", "select 1::checked"] {
        assert_eq!((told(&set, &none, text), told(&set, &code, text)), ("allow", "hold"), "{text}");
    }
    assert_eq!(told(&set, &code, "select 1 from t where id = 1"), "allow");
    let none_at_all =
        with("@id(\"own\") forbid (principal, action == Action::\"execute\", resource);");
    assert_eq!(told(&none_at_all, &code, "select 1 from t where id = 1"), "refuse");
    assert_eq!(told(&none_at_all, &none, "select 1 from t where id = 1"), "allow");
    // Of two in one schema the stricter counts.
    let mut both = Code::default();
    both.add(Kind::Operator, Some("public"), "=", true);
    both.add(Kind::Operator, Some("public"), "=", false);
    assert_eq!(told(&set, &both, "select 1 from t where id = 1"), "hold");
}
