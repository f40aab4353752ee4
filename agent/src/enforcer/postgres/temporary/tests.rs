use super::*;
use crate::sql::{Cell, LexingState};

/// A session in which everything is answered at once, unless it says otherwise.
#[derive(Default)]
struct Lived {
    temporary: Temporary,
    serial: u64,
    rest: Option<Rest>,
}

impl Lived {
    fn sends(&mut self, text: &str) -> Facts {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        self.serial += 1;
        self.temporary.follow(&facts, self.serial, true);
        facts
    }

    fn hears(&mut self, facts: &Facts) {
        for (statement, index) in facts.running().zip(0..) {
            let tag: &[u8] = match statement.verb {
                Verb::Rollback | Verb::RollbackTo => b"ROLLBACK",
                Verb::Commit => b"COMMIT",
                _ => b"OTHER",
            };
            match statement.verb {
                Verb::Begin => self.rest = Some(Rest::Open),
                Verb::Commit | Verb::Rollback => self.rest = Some(Rest::Idle),
                _ => {}
            }
            self.temporary.completed(self.serial, index, tag);
        }
        self.temporary.ended(self.serial, false);
        self.temporary.rests(self.rest.unwrap_or(Rest::Idle));
    }

    fn runs(&mut self, text: &str) -> &mut Self {
        let facts = self.sends(text);
        self.hears(&facts);
        self
    }

    fn fails(&mut self, text: &str) -> &mut Self {
        self.sends(text);
        self.temporary.ended(self.serial, true);
        let open = self.rest == Some(Rest::Open);
        self.temporary.rests(if open { Rest::Failed } else { Rest::Idle });
        self
    }

    fn knows(&self, names: &[&str]) {
        let known = self.temporary.names();
        let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        assert_eq!(known, names);
    }
}

fn session() -> Lived {
    Lived::default()
}

#[test]
fn what_is_created_is_known_and_what_is_dropped_is_not() {
    let mut session = session();
    session.runs("create temp table b (a int)").knows(&["b"]);
    session.runs("create temporary table a as select 1").knows(&["a", "b"]);
    session.runs("select 1 as x into temp c").knows(&["a", "b", "c"]);
    session
        .runs("insert into a values (1); create index on a (x); analyze")
        .knows(&["a", "b", "c"]);
    session.runs("drop table b").knows(&["a", "c"]);
    session.runs("discard temp").knows(&[]);
}

#[test]
fn whatever_may_be_another_thing_is_not_known() {
    for text in [
        "create table a (x int)",
        "create temp table if not exists a (x int)",
        "create temp view a as select * from customers",
        "create temp sequence a",
        "create temp table a () inherits (customers)",
        "create temp table a partition of customers default",
        "create temp table a as select f()",
        "create temp table a (x int); select f()",
        "create temp table a (x int); drop table a",
        "create temp table a (x int); alter table a rename to b",
        "create table public.a (x int)",
    ] {
        session().runs(text).knows(&[]);
    }
}

#[test]
fn what_may_have_changed_anything_takes_all_names_off() {
    for text in [
        "select f()",
        "call p()",
        "do $$ begin drop table a; end $$",
        "execute p",
        "discard all",
        "discard temp",
        "drop type t cascade",
        "drop table a",
        "drop view if exists a",
        "alter table a rename to b",
        "alter table a inherit customers",
        "this is not sql",
    ] {
        session().runs("create temp table a (x int)").runs(text).knows(&[]);
        // Already when it is let through: what comes behind it is judged before it ends.
        let mut unanswered = session();
        unanswered.runs("create temp table a (x int)").sends(text);
        unanswered.knows(&[]);
    }
    let mut planned = session();
    planned.runs("create temp table a (x int)");
    let facts = Cell::quick(b"select f()", &LexingState::default()).unwrap();
    planned.temporary.follow(&facts, 99, false);
    planned.knows(&[]);
}

#[test]
fn what_everybody_uses_leaves_them_alone() {
    for text in [
        "select * from a",
        "delete from a",
        "insert into a select 1",
        "set x.y = 1",
        "begin",
        "savepoint s",
        "update customers set x = lower(x) where id = 1",
    ] {
        session().runs("create temp table a (x int)").runs(text).knows(&["a"]);
    }
}

#[test]
fn nobody_knows_before_the_server_has_said_so() {
    let mut session = session();
    let facts = session.sends("create temp table a (x int)");
    session.knows(&[]);
    session.temporary.completed(1, 0, b"CREATE TABLE");
    // It may be undone yet by what is in the same transaction.
    session.knows(&[]);
    session.hears(&facts);
    session.knows(&["a"]);
    let mut failed = Lived::default();
    failed.fails("create temp table a (x int)").knows(&[]);
    failed.runs("select 1").knows(&[]);
}

#[test]
fn a_text_of_which_the_end_fails_has_created_nothing() {
    let mut session = session();
    session.sends("create temp table a (x int); select 1 / 0");
    session.temporary.completed(1, 0, b"CREATE TABLE");
    session.temporary.ended(1, true);
    session.temporary.rests(Rest::Idle);
    session.knows(&[]);
}

#[test]
fn a_transaction_that_is_rolled_back_takes_what_it_created() {
    let mut session = session();
    session.runs("create temp table before (x int)");
    session.runs("begin").runs("create temp table a (x int)").knows(&["a", "before"]);
    session.runs("rollback").knows(&["before"]);
    session.runs("begin; create temp table a (x int)").knows(&["a", "before"]);
    session.runs("commit").knows(&["a", "before"]);
    session.runs("begin").runs("savepoint s").runs("create temp table b (x int)");
    session.runs("rollback to s").knows(&["a", "before"]);
    session.runs("create temp table c (x int)").runs("commit").knows(&["a", "before", "c"]);
    session.runs("begin").runs("create temp table d (x int)").fails("select 1 / 0");
    session.runs("rollback").knows(&["a", "before", "c"]);
}

#[test]
fn while_a_transaction_ends_nobody_knows_whether_it_holds() {
    let mut session = session();
    session.runs("begin").runs("create temp table a (x int)").knows(&["a"]);
    let commit = session.sends("commit");
    session.knows(&[]);
    session.hears(&commit);
    session.knows(&["a"]);
}

#[test]
fn on_commit_drop_drops_at_commit() {
    let mut session = session();
    session.runs("create temp table a (x int) on commit drop").knows(&[]);
    session.runs("begin").runs("create temp table a on commit drop as select 1").knows(&["a"]);
    session.runs("commit").knows(&[]);
}
