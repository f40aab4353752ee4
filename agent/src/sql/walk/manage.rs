//! The session, transactions and the server's upkeep.

use pg_raw_parse::nodes::VariableSetStmt;
use pg_raw_parse::{Node, raw};

use super::super::effect::{Effect, Use, Uses};
use super::super::facts::{Note, ObjectKind, Scope, SessionEffect, Setting, Verb};
use super::{Role, Walk, names};

impl<'t> Walk<'t, '_> {
    pub(super) fn manage(&mut self, node: Node<'t>) {
        let maintained = Uses::of(Use::Maintained);
        match node {
            Node::TransactionStmt(of) => {
                use raw::TransactionStmtKind as T;
                let verb = match of.kind {
                    T::TRANS_STMT_BEGIN | T::TRANS_STMT_START => Verb::Begin,
                    T::TRANS_STMT_COMMIT => Verb::Commit,
                    T::TRANS_STMT_ROLLBACK => Verb::Rollback,
                    T::TRANS_STMT_SAVEPOINT => Verb::Savepoint,
                    T::TRANS_STMT_RELEASE => Verb::ReleaseSavepoint,
                    T::TRANS_STMT_ROLLBACK_TO => Verb::RollbackTo,
                    T::TRANS_STMT_PREPARE => Verb::PrepareTransaction,
                    T::TRANS_STMT_COMMIT_PREPARED => Verb::CommitPrepared,
                    T::TRANS_STMT_ROLLBACK_PREPARED => Verb::RollbackPrepared,
                    _ => {
                        self.unknown_kind(node);
                        Verb::Unknown
                    }
                };
                self.verb(verb);
            }
            Node::VariableSetStmt(of) => self.set(of),
            Node::VariableShowStmt(_) => {
                self.verb(Verb::Show);
                self.effect(Effect::Read);
                self.unknown_rows();
            }
            Node::DiscardStmt(of) => {
                self.verb(Verb::Discard);
                if of.target == raw::DiscardMode::DISCARD_ALL {
                    self.session(SessionEffect {
                        setting: "*".into(),
                        value: Setting::Default,
                        scope: Scope::Session,
                    });
                }
            }
            Node::ConstraintsSetStmt(of) => {
                self.verb(Verb::SetConstraints);
                for constraint in of.constraints() {
                    let name = names::of_node(constraint);
                    self.named(ObjectKind::Constraint, name.schema, name.name, maintained);
                }
            }
            Node::LockStmt(of) => {
                self.verb(Verb::Lock);
                // The weakest, which reading takes too, keep nobody from reading and writing.
                if of.mode > ROW_SHARE {
                    self.effect(Effect::Administer);
                }
                self.ranges(of.relations().iter(), maintained);
            }
            Node::ListenStmt(_) => self.verb(Verb::Listen),
            Node::UnlistenStmt(_) => self.verb(Verb::Unlisten),
            Node::NotifyStmt(_) => self.verb(Verb::Notify),
            Node::TruncateStmt(of) => {
                self.verb(Verb::Truncate);
                self.effect(Effect::Truncate);
                if of.behavior == raw::DropBehavior::DROP_CASCADE {
                    self.out.note(Note::Cascade);
                }
                self.ranges(of.relations().iter(), Uses::of(Use::Written));
            }
            Node::VacuumStmt(of) => {
                self.verb(if of.is_vacuumcmd { Verb::Vacuum } else { Verb::Analyze });
                self.effect(Effect::Administer);
                for option in of.options() {
                    self.read(option.arg());
                }
                for one in of.rels() {
                    if let Some(range) = one.relation() {
                        self.range(range, maintained);
                    }
                }
            }
            Node::ClusterStmt(of) => {
                self.verb(Verb::Cluster);
                self.effect(Effect::Administer);
                if let Some(range) = of.relation() {
                    self.range(range, maintained);
                }
            }
            Node::ReindexStmt(of) => {
                use raw::ReindexObjectType as R;
                self.verb(Verb::Reindex);
                self.effect(Effect::Administer);
                if let Some(range) = of.relation() {
                    let index = of.kind == R::REINDEX_OBJECT_INDEX;
                    let kind = if index { ObjectKind::Index } else { ObjectKind::Relation };
                    self.range_as(kind, range, maintained);
                }
                if let Some(name) = of.name() {
                    let schema = of.kind == R::REINDEX_OBJECT_SCHEMA;
                    let kind = if schema { ObjectKind::Schema } else { ObjectKind::Database };
                    self.named(kind, None, name, maintained);
                }
            }
            Node::RefreshMatViewStmt(of) => {
                self.verb(Verb::Refresh);
                // Its query runs, with whatever that calls; what it held is replaced.
                self.effect(Effect::Update);
                if let Some(range) = of.relation() {
                    let kind = ObjectKind::MaterializedView;
                    self.range_as(kind, range, maintained.with(Use::Written));
                }
            }
            Node::CheckPointStmt(_) => {
                self.verb(Verb::Checkpoint);
                self.effect(Effect::Administer);
            }
            Node::LoadStmt(_) => {
                self.verb(Verb::Load);
                self.effect(Effect::UnsafeIo);
            }
            Node::AlterSystemStmt(of) => {
                self.verb(Verb::AlterSystem);
                self.effect(Effect::Administer);
                // archive_command, shared_preload_libraries … run programs.
                self.effect(Effect::UnsafeIo);
                if let Some(set) = of.setstmt() {
                    self.stored(set);
                }
            }
            Node::AlterDatabaseSetStmt(of) => {
                self.verb(Verb::Alter);
                self.effect(Effect::Alter);
                self.effect(Effect::Administer);
                let name = of.dbname().unwrap_or_default();
                self.named(ObjectKind::Database, None, name, Uses::of(Use::Defined));
                if let Some(set) = of.setstmt() {
                    self.stored(set);
                }
            }
            other => {
                if !self.access(other) {
                    self.define(other);
                }
            }
        }
    }

    pub(super) fn ranges(&mut self, nodes: impl Iterator<Item = Node<'t>>, uses: Uses) {
        for node in nodes {
            match node {
                Node::RangeVar(range) => {
                    self.range(range, uses);
                }
                other => self.unknown_kind(other),
            }
        }
    }

    fn set(&mut self, of: &'t VariableSetStmt) {
        use raw::VariableSetKind as K;
        let reset = matches!(of.kind, K::VAR_RESET | K::VAR_RESET_ALL);
        self.verb(if reset { Verb::Reset } else { Verb::Set });
        let name = of.name().map(str::to_lowercase);
        if of.kind == K::VAR_SET_MULTI {
            // SET TRANSACTION … and SESSION CHARACTERISTICS: each option a setting.
            let session = name.as_deref() == Some("session characteristics");
            for option in of.args() {
                if let Node::DefElem(option) = option {
                    self.exprs([option.arg()].into_iter(), Role::READ, &mut Vec::new());
                    let name = option.defname().unwrap_or("transaction");
                    let default = || format!("default_{name}").into();
                    self.session(SessionEffect {
                        setting: if session { default() } else { name.into() },
                        value: Setting::Dynamic,
                        scope: if session { Scope::Session } else { Scope::Transaction },
                    });
                }
            }
            return;
        }
        let (value, scope) = self.setting(of);
        if let Some(name) = &name {
            self.guarded_setting(name);
        }
        self.session(SessionEffect {
            setting: name.map_or_else(|| "*".into(), Into::into),
            value,
            scope,
        });
    }
}

/// The lock that SELECT … FOR UPDATE takes; below it there is only that of SELECT.
const ROW_SHARE: i32 = 2;
