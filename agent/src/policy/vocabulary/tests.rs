use std::str::FromStr;

use cedar_policy::Schema;

use super::{Action, Fact, FactSet, schema};

#[test]
fn the_schema_in_the_repository_is_the_code_s() {
    let written = include_str!("../../../../policies/schema.cedarschema");
    assert_eq!(
        schema(),
        written,
        "write it anew: cargo run -p tidegate -- policy schema > policies/schema.cedarschema"
    );
}

#[test]
fn the_schema_is_one_and_knows_every_action() {
    let schema = Schema::from_str(&schema()).unwrap();
    let known: Vec<String> =
        schema.actions().map(|action| action.id().unescaped().to_owned()).collect();
    for action in Action::all() {
        assert!(known.contains(&action.to_string()), "{action}");
        for group in action.groups() {
            assert!(known.iter().any(|known| known == group), "{group}");
        }
    }
}

#[test]
fn each_fact_has_a_place_of_its_own() {
    for fact in Fact::ALL {
        let only = FactSet::NONE.with(*fact);
        assert!(Fact::ALL.iter().all(|other| only.contains(*other) == (other == fact)));
        assert!(FactSet::ALL.contains(*fact));
    }
}
