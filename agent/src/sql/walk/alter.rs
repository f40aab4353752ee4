//! ALTER, COMMENT, SECURITY LABEL.

use pg_raw_parse::nodes::{AlterTableCmd, AlterTableStmt};
use pg_raw_parse::{Node, raw};

use super::super::effect::{Effect, Use, Uses};
use super::super::facts::{Note, ObjectKind, Verb};
use super::scope::{Gives, Item, Level};
use super::{Walk, names};

impl<'t> Walk<'t, '_> {
    fn alters(&mut self, kind: ObjectKind, name: names::Qualified<'t>) {
        self.verb(Verb::Alter);
        self.effect(Effect::Alter);
        self.named(kind, name.schema, name.name, Uses::of(Use::Defined));
    }

    fn alters_plain(&mut self, kind: ObjectKind, name: Option<&'t str>) {
        self.alters(kind, names::Qualified { schema: None, name: name.unwrap_or_default() });
    }

    /// What is said of a column, a trigger … is said of its table.
    fn describes(&mut self, kind: raw::ObjectType::Type, object: Node<'t>) {
        use raw::ObjectType as O;
        let members =
            [O::OBJECT_COLUMN, O::OBJECT_TABCONSTRAINT, O::OBJECT_TRIGGER, O::OBJECT_RULE];
        let table = match members.contains(&kind) || kind == O::OBJECT_POLICY {
            true => names::of_member(object).0,
            false => None,
        };
        match table {
            Some(table) => self.alters(ObjectKind::Relation, table),
            None => self.alters(names::object_kind(kind), names::of_node(object)),
        }
    }

    pub(super) fn alter(&mut self, node: Node<'t>) {
        match node {
            Node::AlterTableStmt(of) => self.alter_table(of),
            Node::RenameStmt(of) => {
                let kind = names::object_kind(of.rename_type);
                // A trigger's, a policy's and a rule's are called by their table.
                let kind = match of.relation() {
                    Some(_) if is_member(kind) => ObjectKind::Relation,
                    _ => kind,
                };
                self.alters_object(kind, of.relation(), of.object());
                // Roles and databases have only this name.
                if let (None, Node::None) = (of.relation(), of.object()) {
                    self.alters_plain(kind, of.subname());
                }
            }
            Node::AlterObjectSchemaStmt(of) => {
                let kind = names::object_kind(of.object_type);
                self.alters_object(kind, of.relation(), of.object());
            }
            Node::AlterObjectDependsStmt(of) => {
                let kind = names::object_kind(of.object_type);
                self.alters_object(kind, of.relation(), of.object());
            }
            Node::CommentStmt(of) => {
                self.describes(of.objtype, of.object());
                self.verb(Verb::Comment);
            }
            Node::SecLabelStmt(of) => {
                self.describes(of.objtype, of.object());
                self.verb(Verb::SecurityLabel);
            }
            Node::AlterDomainStmt(of) => {
                self.alters(ObjectKind::Domain, names::of_list(of.type_name()));
                match of.def() {
                    // Checked against the rows there are.
                    Node::Constraint(constraint) => self.constraint(constraint, true),
                    other => self.kept(other, true),
                }
                if of.behavior == raw::DropBehavior::DROP_CASCADE {
                    self.out.note(Note::Cascade);
                }
            }
            Node::AlterEnumStmt(of) => {
                let name = names::qualified(of.type_name().iter().map(Node::String));
                self.alters(ObjectKind::Type, name);
            }
            Node::AlterTypeStmt(of) => {
                self.alters(ObjectKind::Type, names::of_list(of.type_name()));
            }
            Node::AlterSeqStmt(of) => {
                self.verb(Verb::Alter);
                self.effect(Effect::Alter);
                if let Some(range) = of.sequence() {
                    self.range_as(ObjectKind::Sequence, range, Uses::of(Use::Defined));
                }
            }
            Node::AlterFunctionStmt(of) => {
                let name = of.func().map(|of| names::of_list(of.objname()));
                self.alters(ObjectKind::Function, name.unwrap_or_default());
                for action in of.actions() {
                    if let Node::VariableSetStmt(set) = action.arg() {
                        self.stored(set);
                    }
                }
            }
            Node::AlterOperatorStmt(of) => {
                let name = of.opername().map(|of| names::of_list(of.objname()));
                self.alters(ObjectKind::Operator, name.unwrap_or_default());
            }
            Node::AlterOpFamilyStmt(of) => {
                let name = names::qualified(of.opfamilyname().iter().map(Node::String));
                self.alters(ObjectKind::Operator, name);
            }
            Node::AlterCollationStmt(of) => {
                self.alters(ObjectKind::Collation, names::of_list(of.collname()));
            }
            Node::AlterPolicyStmt(of) => {
                self.alters_plain(ObjectKind::Policy, of.policy_name());
                if let Some(range) = of.table() {
                    self.range(range, Uses::of(Use::Defined));
                }
                self.stored_expr(of.qual());
                self.stored_expr(of.with_check());
            }
            Node::AlterEventTrigStmt(of) => {
                self.alters_plain(ObjectKind::EventTrigger, of.trigname());
                self.effect(Effect::Administer);
            }
            Node::AlterStatsStmt(of) => {
                let name = names::qualified(of.defnames().iter().map(Node::String));
                self.alters(ObjectKind::Statistics, name);
            }
            Node::AlterExtensionStmt(of) => {
                self.alters_plain(ObjectKind::Extension, of.extname());
                self.options(of.options().iter());
                // Its update script runs.
                self.effect(Effect::Execute);
            }
            Node::AlterExtensionContentsStmt(of) => {
                self.alters_plain(ObjectKind::Extension, of.extname());
                let kind = names::object_kind(of.objtype);
                self.alters(kind, names::of_node(of.object()));
            }
            Node::AlterFdwStmt(of) => {
                self.alters_plain(ObjectKind::ForeignDataWrapper, of.fdwname());
                self.effect(Effect::UnsafeIo);
            }
            Node::AlterForeignServerStmt(of) => {
                self.alters_plain(ObjectKind::ForeignServer, of.servername());
                self.effect(Effect::UnsafeIo);
            }
            Node::AlterTableSpaceOptionsStmt(of) => {
                self.alters_plain(ObjectKind::Tablespace, of.tablespacename());
                self.effect(Effect::Administer);
            }
            Node::AlterTableMoveAllStmt(of) => {
                self.alters_plain(ObjectKind::Tablespace, of.orig_tablespacename());
                self.effect(Effect::Administer);
            }
            Node::AlterDatabaseStmt(of) => {
                self.alters_plain(ObjectKind::Database, of.dbname());
                self.effect(Effect::Administer);
            }
            Node::AlterDatabaseRefreshCollStmt(of) => {
                self.alters_plain(ObjectKind::Database, of.dbname());
                self.effect(Effect::Administer);
            }
            Node::AlterTSDictionaryStmt(of) => {
                let name = names::qualified(of.dictname().iter().map(Node::String));
                self.alters(ObjectKind::TextSearch, name);
            }
            Node::AlterTSConfigurationStmt(of) => {
                let name = names::qualified(of.cfgname().iter().map(Node::String));
                self.alters(ObjectKind::TextSearch, name);
            }
            Node::AlterPublicationStmt(of) => {
                self.alters_plain(ObjectKind::Publication, of.pubname());
                self.effect(Effect::Administer);
                self.published(of.pubobjects());
            }
            Node::AlterSubscriptionStmt(of) => {
                self.alters_plain(ObjectKind::Subscription, of.subname());
                self.effect(Effect::Administer);
                self.effect(Effect::UnsafeIo);
            }
            other => self.unknown_kind(other),
        }
    }

    fn alters_object(
        &mut self,
        kind: ObjectKind,
        relation: Option<&'t pg_raw_parse::nodes::RangeVar>,
        object: Node<'t>,
    ) {
        self.verb(Verb::Alter);
        self.effect(Effect::Alter);
        if let Some(range) = relation {
            self.range_as(kind, range, Uses::of(Use::Defined));
        } else if !matches!(object, Node::None) {
            let name = names::of_node(object);
            self.named(kind, name.schema, name.name, Uses::of(Use::Defined));
        }
    }

    fn alter_table(&mut self, of: &'t AlterTableStmt) {
        self.verb(Verb::Alter);
        self.effect(Effect::Alter);
        let Some(range) = of.relation() else {
            self.unknown_kind(Node::AlterTableStmt(of));
            return;
        };
        let kind = names::object_kind(of.objtype);
        let object = self.range_as(kind, range, Uses::of(Use::Defined));
        self.levels.push(Level::default());
        self.item(Item {
            alias: range.relname().unwrap_or_default(),
            schema: range.schemaname(),
            renamed: Vec::new(),
            gives: Gives::Relation(object),
        });
        for command in of.cmds() {
            match command {
                Node::AlterTableCmd(command) => self.alter_table_command(object, command),
                other => self.unknown_kind(other),
            }
        }
        self.levels.pop();
    }

    fn alter_table_command(&mut self, object: u32, of: &'t AlterTableCmd) {
        use raw::AlterTableType as A;
        match of.subtype {
            A::AT_DropColumn | A::AT_DropConstraint => self.effect(Effect::Drop),
            A::AT_ChangeOwner => {
                self.effect(Effect::Grant);
                if let Some(role) = of.newowner() {
                    self.role(Node::RoleSpec(role), Uses::of(Use::Granted));
                }
            }
            _ => {}
        }
        if of.behavior == raw::DropBehavior::DROP_CASCADE {
            self.out.note(Note::Cascade);
        }
        match of.def() {
            Node::None
            | Node::String(_)
            | Node::Integer(_)
            | Node::ReplicaIdentityStmt(_)
            | Node::ATAlterConstraint(_) => {}
            // Options of the table; nothing of them runs, but for a foreign one's program.
            Node::NodeList(options) => {
                let reaches = |option: Node<'_>| {
                    let Node::DefElem(option) = option else { return false };
                    let dropped = option.defaction == raw::DefElemAction::DEFELEM_DROP;
                    matches!(option.defname(), Some("program" | "filename")) && !dropped
                };
                if of.subtype == A::AT_GenericOptions && options.iter().any(reaches) {
                    self.effect(Effect::UnsafeIo);
                }
            }
            Node::ColumnDef(column) => {
                self.column_def(of.def(), true);
                let name = of.name().or(column.colname());
                self.refills(object, name, column.raw_default());
                for constraint in column.constraints() {
                    if let Node::Constraint(constraint) = constraint
                        && constraint.contype != raw::ConstrType::CONSTR_CHECK
                    {
                        self.refills(object, name, constraint.raw_expr());
                    }
                }
            }
            Node::Constraint(constraint) => self.constraint(constraint, true),
            // An heir's rows are its parent's too, and no longer are told by it.
            Node::RangeVar(range) => {
                let other = self.range(range, Uses::of(Use::Defined));
                match of.subtype {
                    A::AT_AddInherit => self.takes_rows(other, object),
                    A::AT_DropInherit => self.takes_rows(object, other),
                    _ => {}
                }
            }
            Node::PartitionCmd(command) => {
                if let Some(range) = command.name() {
                    let part = self.range(range, Uses::of(Use::Defined));
                    match of.subtype {
                        A::AT_AttachPartition => self.takes_rows(object, part),
                        A::AT_DetachPartition => self.takes_rows(part, object),
                        _ => {}
                    }
                }
                if let Some(bound) = command.bound() {
                    self.partition_bound(bound);
                }
            }
            Node::TypeName(name) => {
                self.type_name(name);
            }
            // A default, a generation expression.
            other => self.filter(other),
        }
    }
}

/// Whether it is part of a table.
fn is_member(kind: ObjectKind) -> bool {
    use ObjectKind::{Constraint, Policy, Rule, Trigger};
    matches!(kind, Constraint | Policy | Rule | Trigger)
}
