use super::{Sight, Viewed};
use crate::model::{ActorKind, Group, GroupKind};
use crate::policy::decide::tests::asked;
use crate::policy::testing::{Asker, actor, with};
use crate::policy::{Set, Subject};

const EMAIL: Viewed<'_> =
    Viewed { schema: "public", table: "customers", column: "email", class: "person.email" };
const CARD: Viewed<'_> =
    Viewed { schema: "public", table: "orders", column: "card", class: "money.card" };

fn seen(set: &Set, asker: &Asker) -> Vec<String> {
    let columns = [EMAIL, CARD, EMAIL];
    set.reveal(&asker.subject, &asker.scene, &asker.circumstances, &columns)
        .into_iter()
        .map(|sight| match sight {
            Sight::Clear { by } => format!("clear {}", by[0].id),
            Sight::Masked { mask, by } => {
                let by = by.first().map_or("nobody permits it", |policy| &policy.id);
                format!("masked {} {by}", mask.as_deref().unwrap_or("-"))
            }
        })
        .collect()
}

#[test]
fn nothing_sensitive_is_shown_unless_it_is_permitted() {
    let set = Set::embedded().unwrap();
    for kind in ActorKind::ALL {
        let masked = "masked - nobody permits it";
        assert_eq!(seen(&set, &Asker::new(*kind, Some("development"))), [masked; 3]);
    }
}

#[test]
fn a_class_a_table_and_a_group_can_be_named() {
    let set = with(
        r#"@id("support") permit (principal in Team::"support", action == Action::"reveal",
               resource in Class::"person");
           @id("never") @mask("partial") forbid (principal, action == Action::"reveal",
               resource in Table::"db.example:5432/shop/public/orders");
           @id("billing") permit (principal, action == Action::"reveal", resource)
               when { resource.class == "money.card" };"#,
    );
    let mut support = Asker::new(ActorKind::Terminal, None);
    assert_eq!(
        seen(&set, &support),
        ["masked - nobody permits it", "masked partial never", "masked - nobody permits it"]
    );
    let mut actor = actor(ActorKind::Terminal);
    actor.groups.push(Group { kind: GroupKind::Team, name: "support".into() });
    support.subject = Subject::new(actor);
    assert_eq!(seen(&set, &support), ["clear support", "masked partial never", "clear support"]);
}

#[test]
fn columns_of_one_class_that_no_policy_tells_apart_are_asked_about_once() {
    let tables: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    let columns: Vec<Viewed<'_>> = tables
        .iter()
        .flat_map(|table| [Viewed { table, ..EMAIL }, Viewed { table, ..CARD }])
        .collect();
    let asker = Asker::new(ActorKind::Terminal, None);
    let requests = |set: &Set| {
        let seen = || set.reveal(&asker.subject, &asker.scene, &asker.circumstances, &columns);
        asked(|| assert_eq!(seen().len(), columns.len()))
    };
    let by_class = with(
        r#"@id("a") permit (principal, action == Action::"reveal",
               resource in Class::"person");"#,
    );
    assert_eq!(requests(&by_class), 2);
    let by_name = with(
        r#"@id("a") permit (principal, action == Action::"reveal", resource)
               when { resource.table == "t7" };"#,
    );
    assert_eq!(requests(&by_name), 80);
}
