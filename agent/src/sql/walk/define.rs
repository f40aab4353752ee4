//! CREATE and DROP.

use pg_raw_parse::nodes::{Constraint, CreateStmt, DefElem, DropStmt, IndexStmt};
use pg_raw_parse::{Node, raw};

use super::super::effect::{Effect, Use, Uses};
use super::super::facts::{Note, ObjectKind, Verb, Way};
use super::scope::{Gives, Item, Level};
use super::{Walk, names};

impl<'t> Walk<'t, '_> {
    fn creates(&mut self, kind: ObjectKind, name: names::Qualified<'t>) {
        self.verb(Verb::Create);
        self.effect(Effect::Create);
        self.named(kind, name.schema, name.name, Uses::of(Use::Defined));
    }

    fn creates_plain(&mut self, kind: ObjectKind, name: Option<&'t str>) {
        self.creates(kind, names::Qualified { schema: None, name: name.unwrap_or_default() });
    }

    pub(super) fn define(&mut self, node: Node<'t>) {
        match node {
            Node::CreateStmt(of) => self.create_table(of),
            Node::CreateFunctionStmt(of) => self.create_function(of),
            Node::ViewStmt(of) => self.view(of),
            Node::RuleStmt(of) => self.rule(of),
            Node::IndexStmt(of) => self.create_index(of),
            Node::CreateSchemaStmt(of) => {
                self.creates_plain(ObjectKind::Schema, of.schemaname());
                if let Some(role) = of.authrole() {
                    self.effect(Effect::Grant);
                    self.role(Node::RoleSpec(role), Uses::of(Use::Granted));
                }
                self.nested_all(of.schema_elts(), Way::SchemaElement);
            }
            Node::CreateSeqStmt(of) => {
                self.verb(Verb::Create);
                self.effect(Effect::Create);
                if let Some(range) = of.sequence() {
                    self.range_as(ObjectKind::Sequence, range, Uses::of(Use::Defined));
                }
            }
            Node::DefineStmt(of) => {
                let kind = names::object_kind(of.kind);
                let name = names::qualified(of.defnames().iter().map(Node::String));
                self.creates(kind, name);
                if of.replace {
                    self.effect(Effect::Alter);
                }
            }
            Node::CreateDomainStmt(of) => {
                let name = names::qualified(of.domainname().iter().map(Node::String));
                self.creates(ObjectKind::Domain, name);
                if let Some(of) = of.type_name() {
                    self.type_name(of);
                }
                for constraint in of.constraints() {
                    self.constraint(constraint, false);
                }
            }
            Node::CompositeTypeStmt(of) => {
                self.verb(Verb::Create);
                self.effect(Effect::Create);
                if let Some(range) = of.typevar() {
                    self.range_as(ObjectKind::Type, range, Uses::of(Use::Defined));
                }
                for column in of.coldeflist() {
                    self.column_def(Node::ColumnDef(column), false);
                }
            }
            Node::CreateEnumStmt(of) => {
                self.creates(
                    ObjectKind::Type,
                    names::qualified(of.type_name().iter().map(Node::String)),
                );
            }
            Node::CreateRangeStmt(of) => {
                self.creates(
                    ObjectKind::Type,
                    names::qualified(of.type_name().iter().map(Node::String)),
                );
            }
            Node::CreateTrigStmt(of) => {
                self.creates_plain(ObjectKind::Trigger, of.trigname());
                self.effect(Effect::Alter);
                if let Some(range) = of.relation() {
                    self.range(range, Uses::of(Use::Defined));
                }
                let function = names::of_list(of.funcname());
                self.named(
                    ObjectKind::Function,
                    function.schema,
                    function.name,
                    Uses::of(Use::Read),
                );
                self.stored_expr(of.when_clause());
            }
            Node::CreateEventTrigStmt(of) => {
                self.creates_plain(ObjectKind::EventTrigger, of.trigname());
                self.effect(Effect::Administer);
                let function = names::of_list(of.funcname());
                self.named(
                    ObjectKind::Function,
                    function.schema,
                    function.name,
                    Uses::of(Use::Read),
                );
            }
            Node::CreatePolicyStmt(of) => {
                self.creates_plain(ObjectKind::Policy, of.policy_name());
                self.effect(Effect::Alter);
                if let Some(range) = of.table() {
                    self.range(range, Uses::of(Use::Defined));
                }
                self.stored_expr(of.qual());
                self.stored_expr(of.with_check());
            }
            Node::CreateStatsStmt(of) => {
                let name = names::qualified(of.defnames().iter().map(Node::String));
                self.creates(ObjectKind::Statistics, name);
                for one in of.exprs() {
                    if let Node::StatsElem(of) = one {
                        self.filter(of.expr());
                    }
                }
                for relation in of.relations() {
                    self.range(relation, Uses::of(Use::Maintained));
                }
            }
            Node::CreateExtensionStmt(of) => {
                self.creates_plain(ObjectKind::Extension, of.extname());
                // Its script runs, and it may bring the server's files and network
                // into reach.
                self.effect(Effect::Execute);
                if let Some(
                    "dblink" | "file_fdw" | "adminpack" | "plpython3u" | "plperlu" | "pltclu"
                    | "pg_background" | "plsh" | "http" | "aws_s3" | "aws_lambda" | "postgres_fdw",
                ) = of.extname()
                {
                    self.effect(Effect::UnsafeIo);
                }
            }
            Node::CreateFdwStmt(of) => {
                self.creates_plain(ObjectKind::ForeignDataWrapper, of.fdwname());
                self.effect(Effect::UnsafeIo);
            }
            Node::CreateForeignServerStmt(of) => {
                self.creates_plain(ObjectKind::ForeignServer, of.servername());
                self.effect(Effect::UnsafeIo);
            }
            Node::ImportForeignSchemaStmt(of) => {
                self.creates_plain(ObjectKind::Schema, of.local_schema());
                self.verb(Verb::ImportForeignSchema);
                self.effect(Effect::UnsafeIo);
                let name = of.server_name().unwrap_or_default();
                self.named(ObjectKind::ForeignServer, None, name, Uses::of(Use::Read));
            }
            Node::CreateTableSpaceStmt(of) => {
                self.creates_plain(ObjectKind::Tablespace, of.tablespacename());
                self.effect(Effect::Administer);
                self.effect(Effect::UnsafeIo);
            }
            Node::CreatedbStmt(of) => {
                self.creates_plain(ObjectKind::Database, of.dbname());
                self.effect(Effect::Administer);
            }
            Node::CreatePLangStmt(of) => {
                self.creates_plain(ObjectKind::Language, of.plname());
                self.effect(Effect::Execute);
            }
            Node::CreateAmStmt(of) => {
                self.creates_plain(ObjectKind::AccessMethod, of.amname());
                self.effect(Effect::Execute);
            }
            Node::CreateOpClassStmt(of) => {
                self.creates(
                    ObjectKind::Operator,
                    names::qualified(of.opclassname().iter().map(Node::String)),
                );
            }
            Node::CreateOpFamilyStmt(of) => {
                self.creates(
                    ObjectKind::Operator,
                    names::qualified(of.opfamilyname().iter().map(Node::String)),
                );
            }
            Node::CreateConversionStmt(of) => {
                self.creates(ObjectKind::Conversion, names::of_list(of.conversion_name()));
            }
            Node::CreateCastStmt(of) => {
                let target = of.targettype().map(Node::TypeName).map(names::of_node);
                self.creates(ObjectKind::Cast, target.unwrap_or_default());
            }
            Node::CreateTransformStmt(of) => {
                let name = of.type_name().map(Node::TypeName).map(names::of_node);
                self.creates(ObjectKind::Other, name.unwrap_or_default());
            }
            Node::CreatePublicationStmt(of) => {
                self.creates_plain(ObjectKind::Publication, of.pubname());
                self.effect(Effect::Administer);
                self.published(of.pubobjects());
            }
            Node::CreateSubscriptionStmt(of) => {
                self.creates_plain(ObjectKind::Subscription, of.subname());
                self.effect(Effect::Administer);
                self.effect(Effect::UnsafeIo);
            }
            Node::DropStmt(of) => self.drop_objects(of),
            Node::DropdbStmt(of) => {
                self.drops(ObjectKind::Database, None, of.dbname().unwrap_or_default());
                self.effect(Effect::Administer);
            }
            Node::DropTableSpaceStmt(of) => {
                let name = of.tablespacename().unwrap_or_default();
                self.drops(ObjectKind::Tablespace, None, name);
                self.effect(Effect::Administer);
            }
            Node::DropSubscriptionStmt(of) => {
                self.drops(ObjectKind::Subscription, None, of.subname().unwrap_or_default());
                self.effect(Effect::Administer);
            }
            other => self.alter(other),
        }
    }

    fn drops(&mut self, kind: ObjectKind, schema: Option<&str>, name: &str) {
        self.verb(Verb::Drop);
        self.effect(Effect::Drop);
        self.named(kind, schema, name, Uses::of(Use::Dropped));
    }

    fn drop_objects(&mut self, of: &'t DropStmt) {
        use raw::ObjectType as O;
        self.verb(Verb::Drop);
        self.effect(Effect::Drop);
        if of.behavior == raw::DropBehavior::DROP_CASCADE {
            self.out.note(Note::Cascade);
        }
        let kind = names::object_kind(of.remove_type);
        let member =
            matches!(of.remove_type, O::OBJECT_TRIGGER | O::OBJECT_RULE | O::OBJECT_POLICY);
        for object in of.objects() {
            let name = if member {
                let (table, name) = names::of_member(object);
                if let Some(table) = table {
                    // The table will behave otherwise.
                    self.effect(Effect::Alter);
                    let uses = Uses::of(Use::Defined);
                    self.named(ObjectKind::Relation, table.schema, table.name, uses);
                }
                name
            } else {
                names::of_node(object)
            };
            self.drops(kind, name.schema, name.name);
        }
    }

    fn create_table(&mut self, of: &'t CreateStmt) {
        self.verb(Verb::Create);
        self.effect(Effect::Create);
        if let Some(range) = of.relation() {
            self.range(range, Uses::of(Use::Defined));
        }
        if of.if_not_exists {
            self.out.note(Note::IfNotExists);
        }
        if of.oncommit == raw::OnCommitAction::ONCOMMIT_DROP {
            self.out.note(Note::DropsAtCommit);
        }
        for element in of.table_elts() {
            self.table_element(element, false);
        }
        for constraint in of.constraints() {
            self.constraint(constraint, false);
        }
        for parent in of.inh_relations() {
            match parent {
                // INHERITS and PARTITION OF change the parent too.
                Node::RangeVar(range) => {
                    self.range(range, Uses::of(Use::Defined));
                }
                other => self.unknown_kind(other),
            }
        }
        if let Some(bound) = of.partbound() {
            self.partition_bound(bound);
        }
        if let Some(spec) = of.partspec() {
            for element in spec.part_params() {
                self.stored_expr(element.expr());
            }
        }
        if let Some(of) = of.of_typename() {
            self.type_name(of);
        }
    }

    pub(super) fn partition_bound(&mut self, of: &'t pg_raw_parse::nodes::PartitionBoundSpec) {
        for list in [of.listdatums(), of.lowerdatums(), of.upperdatums()] {
            for datum in list {
                // MINVALUE and MAXVALUE come as names of columns.
                if !matches!(datum, Node::ColumnRef(_) | Node::PartitionRangeDatum(_)) {
                    self.read(datum);
                }
            }
        }
    }

    pub(super) fn table_element(&mut self, node: Node<'t>, runs: bool) {
        match node {
            Node::ColumnDef(_) => self.column_def(node, runs),
            Node::Constraint(of) => self.constraint(of, runs),
            Node::TableLikeClause(of) => {
                if let Some(range) = of.relation() {
                    self.range(range, Uses::of(Use::Read));
                }
            }
            other => self.unknown_kind(other),
        }
    }

    pub(super) fn column_def(&mut self, node: Node<'t>, runs: bool) {
        let Node::ColumnDef(of) = node else {
            self.unknown_kind(node);
            return;
        };
        if let Some(of) = of.type_name() {
            self.type_name(of);
        }
        self.kept(of.raw_default(), runs);
        for constraint in of.constraints() {
            match constraint {
                Node::Constraint(of) => self.constraint(of, runs),
                other => self.unknown_kind(other),
            }
        }
    }

    /// A default or a check. On a table that has rows it runs at once.
    pub(super) fn kept(&mut self, node: Node<'t>, runs: bool) {
        if runs {
            self.filter(node);
        } else {
            self.stored_expr(node);
        }
    }

    pub(super) fn constraint(&mut self, of: &'t Constraint, runs: bool) {
        self.kept(of.raw_expr(), runs);
        self.kept(of.where_clause(), runs);
        if let Some(range) = of.pktable() {
            self.range(range, Uses::of(Use::Maintained));
        }
        for exclusion in of.exclusions() {
            let Node::NodeList(pair) = exclusion else { continue };
            for part in pair {
                if let Node::IndexElem(element) = part {
                    self.kept(element.expr(), runs);
                }
            }
        }
    }

    fn create_index(&mut self, of: &'t IndexStmt) {
        self.creates_plain(ObjectKind::Index, of.idxname());
        let Some(range) = of.relation() else { return };
        let object = self.range(range, Uses::of(Use::Maintained).with(Use::Defined));
        self.levels.push(Level::default());
        self.item(Item {
            alias: range.relname().unwrap_or_default(),
            schema: range.schemaname(),
            renamed: Vec::new(),
            gives: Gives::Relation(object),
        });
        // Its expressions are worked out for every row now.
        for element in of.index_params() {
            self.index_element(Node::IndexElem(element));
        }
        self.filter(of.where_clause());
        self.levels.pop();
    }

    pub(super) fn published(&mut self, list: &'t pg_raw_parse::list::NodeList) {
        for one in list {
            let Node::PublicationObjSpec(of) = one else {
                self.unknown_kind(one);
                continue;
            };
            if let Some(table) = of.pubtable() {
                if let Some(range) = table.relation() {
                    self.range(range, Uses::of(Use::Read));
                }
                self.stored_expr(table.where_clause());
            } else {
                let name = of.name().unwrap_or_default();
                self.named(ObjectKind::Schema, None, name, Uses::of(Use::Read));
            }
        }
    }

    pub(super) fn options(&mut self, options: impl Iterator<Item = &'t DefElem>) {
        for option in options {
            self.read(option.arg());
        }
    }
}
