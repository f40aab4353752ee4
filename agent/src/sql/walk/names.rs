//! Names out of the tree: qualified names, object kinds, node kinds.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::RangeVar;
use pg_raw_parse::{Node, raw};

use super::super::facts::ObjectKind;

/// A name with what qualifies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Qualified<'t> {
    pub(super) schema: Option<&'t str>,
    pub(super) name: &'t str,
}

/// `a`, `b.a` or `c.b.a` from the strings of a list.
pub(super) fn qualified<'t>(names: impl Iterator<Item = Node<'t>>) -> Qualified<'t> {
    let mut found = Qualified::default();
    let mut any = false;
    for node in names {
        if let Some(name) = node.as_str() {
            found.schema = any.then_some(found.name);
            found.name = name;
            any = true;
        }
    }
    found
}

pub(super) fn of_list(list: &NodeList) -> Qualified<'_> {
    qualified(list.iter())
}

/// A name as the grammar gives it in statements on all kinds of objects.
pub(super) fn of_node(node: Node<'_>) -> Qualified<'_> {
    match node {
        Node::String(name) => Qualified { schema: None, name: name.sval().unwrap_or_default() },
        Node::NodeList(list) => match list.first() {
            // DROP CAST, TRANSFORM and operator classes have lists of other things.
            Some(Node::TypeName(of)) => qualified(of.names().iter().map(Node::String)),
            _ => of_list(list),
        },
        Node::TypeName(of) => qualified(of.names().iter().map(Node::String)),
        Node::ObjectWithArgs(of) => of_list(of.objname()),
        Node::RangeVar(of) => of_range(of),
        Node::RoleSpec(of) => Qualified { schema: None, name: of.rolename().unwrap_or_default() },
        _ => Qualified::default(),
    }
}

pub(super) fn of_range(range: &RangeVar) -> Qualified<'_> {
    Qualified { schema: range.schemaname(), name: range.relname().unwrap_or_default() }
}

/// For objects that belong to a table (`TRIGGER t ON s.r`), the last name is the
/// object's and those before it are the table's.
pub(super) fn of_member<'t>(node: Node<'t>) -> (Option<Qualified<'t>>, Qualified<'t>) {
    let Node::NodeList(list) = node else { return (None, of_node(node)) };
    let parts: Vec<&str> = list.iter().filter_map(Node::as_str).collect();
    match parts.as_slice() {
        [schema, table, name] | [_, schema, table, name] => (
            Some(Qualified { schema: Some(schema), name: table }),
            Qualified { schema: None, name },
        ),
        [table, name] => {
            (Some(Qualified { schema: None, name: table }), Qualified { schema: None, name })
        }
        _ => (None, of_node(node)),
    }
}

pub(super) fn object_kind(kind: raw::ObjectType::Type) -> ObjectKind {
    use raw::ObjectType as O;
    match kind {
        O::OBJECT_TABLE
        | O::OBJECT_FOREIGN_TABLE
        | O::OBJECT_COLUMN
        | O::OBJECT_PUBLICATION_REL => ObjectKind::Relation,
        O::OBJECT_VIEW => ObjectKind::View,
        O::OBJECT_MATVIEW => ObjectKind::MaterializedView,
        O::OBJECT_SEQUENCE => ObjectKind::Sequence,
        O::OBJECT_INDEX => ObjectKind::Index,
        O::OBJECT_FUNCTION | O::OBJECT_PROCEDURE | O::OBJECT_ROUTINE => ObjectKind::Function,
        O::OBJECT_AGGREGATE => ObjectKind::Aggregate,
        O::OBJECT_TYPE | O::OBJECT_ATTRIBUTE => ObjectKind::Type,
        O::OBJECT_DOMAIN | O::OBJECT_DOMCONSTRAINT => ObjectKind::Domain,
        O::OBJECT_SCHEMA | O::OBJECT_PUBLICATION_NAMESPACE => ObjectKind::Schema,
        O::OBJECT_DATABASE => ObjectKind::Database,
        O::OBJECT_TABLESPACE => ObjectKind::Tablespace,
        O::OBJECT_ROLE => ObjectKind::Role,
        O::OBJECT_EXTENSION => ObjectKind::Extension,
        O::OBJECT_TRIGGER => ObjectKind::Trigger,
        O::OBJECT_EVENT_TRIGGER => ObjectKind::EventTrigger,
        O::OBJECT_RULE => ObjectKind::Rule,
        O::OBJECT_POLICY => ObjectKind::Policy,
        O::OBJECT_TABCONSTRAINT => ObjectKind::Constraint,
        O::OBJECT_LANGUAGE => ObjectKind::Language,
        O::OBJECT_CAST => ObjectKind::Cast,
        O::OBJECT_OPERATOR
        | O::OBJECT_OPCLASS
        | O::OBJECT_OPFAMILY
        | O::OBJECT_AMOP
        | O::OBJECT_AMPROC => ObjectKind::Operator,
        O::OBJECT_COLLATION => ObjectKind::Collation,
        O::OBJECT_CONVERSION => ObjectKind::Conversion,
        O::OBJECT_STATISTIC_EXT => ObjectKind::Statistics,
        O::OBJECT_TSCONFIGURATION
        | O::OBJECT_TSDICTIONARY
        | O::OBJECT_TSPARSER
        | O::OBJECT_TSTEMPLATE => ObjectKind::TextSearch,
        O::OBJECT_PUBLICATION => ObjectKind::Publication,
        O::OBJECT_SUBSCRIPTION => ObjectKind::Subscription,
        O::OBJECT_FOREIGN_SERVER => ObjectKind::ForeignServer,
        O::OBJECT_FDW => ObjectKind::ForeignDataWrapper,
        O::OBJECT_USER_MAPPING => ObjectKind::UserMapping,
        O::OBJECT_ACCESS_METHOD => ObjectKind::AccessMethod,
        O::OBJECT_LARGEOBJECT => ObjectKind::LargeObject,
        O::OBJECT_PARAMETER_ACL => ObjectKind::Parameter,
        _ => ObjectKind::Other,
    }
}

/// What a node is called, for people who report that one isn't known here.
pub(super) fn kind(node: Node<'_>) -> String {
    match node {
        Node::None => "nothing".into(),
        // The first word of the debug form, which is written lazily: the rest of
        // the tree is never formatted.
        node => {
            let mut name = FirstWord(String::new());
            // The writer ends it early by an error, on purpose.
            let _ended = std::fmt::Write::write_fmt(&mut name, format_args!("{node:?}"));
            name.0
        }
    }
}

struct FirstWord(String);

impl std::fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let word = text.split(|c: char| !c.is_alphanumeric() && c != '_').next();
        self.0.push_str(word.unwrap_or_default());
        if word == Some(text) { Ok(()) } else { Err(std::fmt::Error) }
    }
}
