use crate::model::ActorKind;
use crate::policy::testing::{Asker, target, with};
use crate::policy::{Scene, Target};

/// What a person is told outside of production.
#[track_caller]
fn told(policy: &str, text: &str, expected: &str) {
    let set = with(&format!("@id(\"hr\") @reason(\"r\") forbid {policy};"));
    let person = Asker::new(ActorKind::Terminal, Some("staging"));
    assert_eq!(person.told(&set, text), expected, "{policy} {text}");
}

const UNREAD: &[&str] = &[
    "do $$begin execute 'delete from ' || x; end$$",
    "do $$begin execute format('drop table %s', x); end$$",
    "do $$begin set search_path = hr; delete from x; end$$",
    "do language plpython3 $$ plpy.execute('x') $$",
    "execute p",
    "fetch c",
    "move 5 in c",
    "select query_to_xml('delete from x', true, true, '')",
    "delete from where",
];

#[test]
fn what_is_not_read_meets_whatever_forbids_a_table() {
    for policy in [
        "(principal, action, resource in Schema::\"db.example:5432/shop/hr\")",
        "(principal, action == Action::\"delete\", resource in Schema::\"db.example:5432/shop/hr\")",
        "(principal, action, resource == Table::\"db.example:5432/shop/hr/x\")",
        "(principal, action in Action::\"write\", resource is Table) when { resource.schema == \"hr\" }",
        "(principal, action == Action::\"read\", resource is Table) \
         when { resource.schema == \"hr\" && resource.name == \"x\" }",
        "(principal, action == Action::\"update\", resource is Table) \
         when { resource.name like \"*salar*\" && !context.bounded }",
        "(principal, action == Action::\"drop\", resource is Table) \
         unless { resource.name == \"mine\" }",
        "(principal, action == Action::\"read\", resource is Table) \
         when { [\"a\", \"b\"].contains(resource.name) && resource.kind == \"view\" }",
    ] {
        for text in UNREAD {
            told(policy, text, "refuse hr");
        }
    }
}

#[test]
fn who_and_where_the_policy_means_still_counts() {
    for policy in [
        "(principal in Kind::\"agent\", action, resource in Schema::\"db.example:5432/shop/hr\")",
        "(principal, action, resource in Schema::\"db.example:5432/other/hr\")",
        "(principal, action, resource is Table) when { resource.name == \"x\" && resource.temporary }",
        "(principal, action, resource is Table) when { resource.name == \"x\" && context.role == \"bob\" }",
        "(principal, action == Action::\"drop\", resource is Object) when { resource.name == \"x\" }",
    ] {
        for text in UNREAD {
            told(policy, text, "allow");
        }
    }
}

#[test]
fn a_block_that_is_read_is_asked_about_by_its_own_tables() {
    let hr = "(principal, action, resource in Schema::\"db.example:5432/shop/hr\")";
    told(hr, "do $$begin delete from hr.x; end$$", "refuse hr");
    told(hr, "do $$begin execute 'delete from hr.x'; end$$", "refuse hr");
    told(hr, "do $$begin delete from sales.x; end$$", "allow");
    told(hr, "do $$declare n int; begin select 1 into n from sales.x; end$$", "allow");
}

#[test]
fn a_policy_with_too_many_words_counts_as_met() {
    let names: Vec<_> = (0..20).map(|number| format!("\"t{number}\"")).collect();
    let policy = format!(
        "(principal, action == Action::\"drop\", resource is Table) \
         when {{ [{}].contains(resource.name) }}",
        names.join(", ")
    );
    told(&policy, UNREAD[0], "refuse hr");
}

#[test]
fn a_bare_name_lies_wherever_a_policy_means_while_nobody_can_say() {
    let mut person = Asker::new(ActorKind::Terminal, Some("staging"));
    person.scene = Scene::new(Target { anywhere: true, ..target(Some("staging")) });
    let told = |policy: &str, text: &str| {
        let set = with(&format!("@id(\"hr\") @reason(\"r\") {policy};"));
        person.told(&set, text)
    };
    let delete = "delete from x where id = 1";
    for policy in [
        "forbid (principal, action, resource in Schema::\"db.example:5432/shop/hr\")",
        "forbid (principal, action, resource == Table::\"db.example:5432/shop/hr/x\")",
        "forbid (principal, action == Action::\"delete\", resource is Table) \
         when { resource.schema like \"h*r\" || resource.schema == \"hr\" }",
        "forbid (principal, action, resource is Table) unless { resource.schema == \"public\" }",
    ] {
        assert_eq!(told(policy, delete), "refuse hr", "{policy}");
        assert_eq!(told(policy, "delete from public.x where id = 1"), "allow", "{policy}");
        assert_eq!(told(policy, "select 1"), "allow", "{policy}");
    }
    for policy in [
        "forbid (principal, action, resource == Table::\"db.example:5432/shop/hr/y\")",
        "forbid (principal, action == Action::\"read\", resource is Table) \
         when { resource.schema == \"hr\" }",
        "forbid (principal, action, resource is Table) \
         when { resource.schema == \"hr\" && !context.bounded }",
    ] {
        assert_eq!(told(policy, delete), "allow", "{policy}");
    }
}
