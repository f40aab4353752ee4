//! Expressions: which columns they are made of, what they call.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{self, A_Expr, SubLink, TypeName, WindowDef};
use pg_raw_parse::{Node, raw};

use super::super::builtin;
use super::super::effect::{ColumnUse, Step};
use super::super::facts::CallClass;
use super::super::facts::{Doubt, Meets, Note, ObjectKind, Source, Through, Way};
use super::super::numbers;
use super::{Role, Walk, names, reach};

impl<'t> Walk<'t, '_> {
    /// Visits an expression and says what it is made of.
    pub(super) fn expr(&mut self, node: Node<'t>, role: Role, out: &mut Vec<Source>) {
        if self.enter() {
            self.expr_inner(node, role, out);
        }
        self.leave();
    }

    /// Visits an expression whose value goes nowhere.
    pub(super) fn filter(&mut self, node: Node<'t>) {
        self.expr(node, Role::FILTER, &mut Vec::new());
    }

    pub(super) fn read(&mut self, node: Node<'t>) {
        self.expr(node, Role::READ, &mut Vec::new());
    }

    pub(super) fn exprs(
        &mut self,
        nodes: impl Iterator<Item = Node<'t>>,
        role: Role,
        out: &mut Vec<Source>,
    ) {
        for node in nodes {
            self.expr(node, role, out);
        }
    }

    fn expr_inner(&mut self, node: Node<'t>, role: Role, out: &mut Vec<Source>) {
        let condition = role.through(Step::Conditional);
        let function = role.through(Step::Function);
        let composite = role.through(Step::Composite);
        match node {
            Node::A_Const(of) => numbers::visit(of),
            Node::None
            | Node::ParamRef(_)
            | Node::SetToDefault(_)
            | Node::SQLValueFunction(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::String(_)
            | Node::BitString(_)
            | Node::CurrentOfExpr(_)
            | Node::A_Star(_) => {}
            Node::ColumnRef(column) => self.column_ref(column, role, out),
            Node::A_Expr(of) => self.operator_expr(of, role, out),
            Node::BoolExpr(of) => {
                self.exprs(of.args().iter(), role.through(Step::Operator), out);
            }
            Node::NullTest(of) => self.expr(of.arg(), role.through(Step::Operator), out),
            Node::BooleanTest(of) => self.expr(of.arg(), role.through(Step::Operator), out),
            Node::TypeCast(of) => {
                // `varchar(3)`, `numeric(10, 2)`, a domain over them: what is left isn't the
                // value.
                let cuts = of
                    .type_name()
                    .is_some_and(|to| !self.cast(to, of.arg()) || !to.typmods().is_empty());
                let step = if cuts { Step::Operator } else { Step::Cast };
                self.expr(of.arg(), role.through(step), out);
            }
            Node::CollateClause(of) => self.expr(of.arg(), role.through(Step::Cast), out),
            Node::FuncCall(call) => self.call(call, role, out),
            Node::A_Indirection(of) => self.indirection(of, role, out),
            Node::A_ArrayExpr(of) => self.exprs(of.elements().iter(), composite, out),
            Node::RowExpr(of) => self.exprs(of.args().iter(), composite, out),
            Node::NodeList(list) => self.exprs(list.iter(), role, out),
            Node::SubLink(of) => self.sub_link(of, role, out),
            Node::CaseExpr(of) => {
                // CASE x WHEN y: by whichever `=` is found.
                if !matches!(of.arg(), Node::None) {
                    self.operator("=");
                }
                self.expr(of.arg(), condition, out);
                for when in of.args() {
                    self.expr(when, role, out);
                }
                self.expr(of.defresult(), condition, out);
            }
            Node::CaseWhen(of) => {
                self.expr(of.expr(), condition, out);
                self.expr(of.result(), condition, out);
            }
            Node::CoalesceExpr(of) => self.exprs(of.args().iter(), condition, out),
            Node::MinMaxExpr(of) => self.exprs(of.args().iter(), condition, out),
            Node::NamedArgExpr(of) => self.expr(of.arg(), role, out),
            Node::MultiAssignRef(of) => self.expr(of.source(), role, out),
            Node::ResTarget(of) => self.expr(of.val(), role, out),
            Node::GroupingFunc(of) => self.exprs(of.args().iter(), function, out),
            Node::GroupingSet(of) => self.exprs(of.content().iter(), role, out),
            Node::SortBy(of) => {
                self.operator_name(of.use_op());
                self.expr(of.node(), role, out);
            }
            Node::WindowDef(of) => self.window(of, role, out),
            Node::XmlExpr(of) => {
                self.exprs(of.named_args().iter(), function, out);
                self.exprs(of.args().iter(), function, out);
            }
            Node::XmlSerialize(of) => {
                if let Some(of) = of.type_name() {
                    self.type_name(of);
                }
                self.expr(of.expr(), function, out);
            }
            Node::MergeSupportFunc(_) => self.grammar_call("merge_action", 17),
            Node::JsonObjectConstructor(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonArrayQueryConstructor(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_)
            | Node::JsonFuncExpr(_)
            | Node::JsonParseExpr(_)
            | Node::JsonScalarExpr(_)
            | Node::JsonSerializeExpr(_)
            | Node::JsonIsPredicate(_)
            | Node::JsonValueExpr(_)
            | Node::JsonKeyValue(_)
            | Node::JsonArgument(_)
            | Node::JsonBehavior(_)
            | Node::JsonTablePathSpec(_)
            | Node::JsonOutput(_) => self.json(node, function, out),
            Node::TypeName(of) => {
                self.type_name(of);
            }
            Node::DefElem(of) => self.expr(of.arg(), role, out),
            Node::SelectStmt(of) => {
                let given = self.query(of, role.used);
                self.stands_within(role.used, true);
                for one in given {
                    self.add(out, &one.sources, role.through(Step::Subquery));
                }
            }
            other => self.unknown_kind(other),
        }
    }

    fn column_ref(&mut self, column: &'t nodes::ColumnRef, role: Role, out: &mut Vec<Source>) {
        let fields = column.fields();
        let star = fields.iter().any(|field| matches!(field, Node::A_Star(_)));
        let mut parts = [""; 4];
        let mut count = 0;
        for (slot, name) in parts.iter_mut().zip(fields.iter().filter_map(Node::as_str)) {
            *slot = name;
            count += 1;
        }
        let [a, b, c, d] = parts;
        if star {
            // count(*) has none of these: this is t.* as a whole row.
            let given = match count {
                0 => self.star(role),
                1 => self.qualified_star(None, a, role),
                2 => self.qualified_star(Some(a), b, role),
                _ => self.qualified_star(Some(b), c, role),
            };
            for one in given {
                self.add(out, &one.sources, role.through(Step::WholeRow));
            }
            return;
        }
        match count {
            1 => self.bare_column(a, role, out),
            2 => self.qualified_column(None, a, b, role, out),
            3 => self.qualified_column(Some(a), b, c, role, out),
            4 => self.qualified_column(Some(b), c, d, role, out),
            _ => self.out.doubt(Doubt::Kind("column reference".into())),
        }
    }

    fn operator_expr(&mut self, of: &'t A_Expr, role: Role, out: &mut Vec<Source>) {
        use raw::A_Expr_Kind as K;
        let role = match of.kind {
            K::AEXPR_NULLIF => role.through(Step::Conditional),
            K::AEXPR_OP
            | K::AEXPR_OP_ANY
            | K::AEXPR_OP_ALL
            | K::AEXPR_DISTINCT
            | K::AEXPR_NOT_DISTINCT
            | K::AEXPR_IN
            | K::AEXPR_LIKE
            | K::AEXPR_ILIKE
            | K::AEXPR_SIMILAR
            | K::AEXPR_BETWEEN
            | K::AEXPR_NOT_BETWEEN
            | K::AEXPR_BETWEEN_SYM
            | K::AEXPR_NOT_BETWEEN_SYM => role.through(Step::Operator),
            _ => {
                self.out.doubt(Doubt::Kind("operator expression".into()));
                role
            }
        };
        // The grammar has a word here, and two operators behind it.
        let behind: &[&str] = match of.kind {
            K::AEXPR_BETWEEN | K::AEXPR_BETWEEN_SYM => &[">=", "<="],
            K::AEXPR_NOT_BETWEEN | K::AEXPR_NOT_BETWEEN_SYM => &["<", ">"],
            _ => &[],
        };
        match behind {
            [] => self.operator_name(of.name()),
            behind => behind.iter().for_each(|one| self.operator(one)),
        }
        self.expr(of.lexpr(), role, out);
        self.expr(of.rexpr(), role, out);
    }

    /// An operator that isn't the server's own runs somebody's function.
    pub(super) fn operator_name(&mut self, name: &'t NodeList) {
        self.operator_of(names::of_list(name));
    }

    /// One that the grammar puts in, and that is looked for like any other.
    pub(super) fn operator(&mut self, name: &'t str) {
        self.operator_of(names::Qualified { schema: None, name });
    }

    fn operator_of(&mut self, of: names::Qualified<'t>) {
        if of.name.is_empty() {
            return;
        }
        let own = of.schema.is_none_or(|schema| schema == "pg_catalog")
            && (of.schema.is_some() || self.state.catalog_first())
            && (builtin::operator(of.name) || of.name == "!=");
        if own {
            self.meets(Through::Operator, of.name, of.schema.is_some());
        } else {
            self.out.note(Note::ForeignOperator);
            self.record_call(of.schema, of.name, false, CallClass::Foreign);
        }
    }

    /// What is cast, and to what. Whether the type is the server's own.
    fn cast(&mut self, to: &'t TypeName, what: Node<'t>) -> bool {
        let own = self.type_name(to);
        // What is written as a text is read by the type itself.
        let read = matches!(what, Node::A_Const(of) if of.isnull || numbers::text(of).is_some());
        let name = names::qualified(to.names().iter().map(Node::String)).name;
        if own && !read && !name.is_empty() {
            self.meets(Through::Cast, name, true);
        }
        own
    }

    fn meets(&mut self, through: Through, name: &str, qualified: bool) {
        let known = |one: &Meets| {
            one.through == through && *one.name == *name && one.qualified == qualified
        };
        if !self.out.meets.iter().any(known) && self.spend(1 + self.out.meets.len() / 8) {
            self.out.meets.push(Meets { through, name: name.into(), qualified });
        }
    }

    /// A type that isn't the server's own brings its own functions. Whether it is.
    pub(super) fn type_name(&mut self, of: &'t TypeName) -> bool {
        self.exprs(of.typmods().iter(), Role::READ, &mut Vec::new());
        if of.pct_type {
            return true;
        }
        let name = names::qualified(of.names().iter().map(Node::String));
        let own = match name.schema {
            Some(schema) => schema == "pg_catalog",
            None => self.own_type(name.name) && self.state.catalog_first(),
        };
        let own = own || name.name.is_empty();
        if !own {
            self.out.note(Note::ForeignType);
            self.named(
                ObjectKind::Type,
                name.schema,
                name.name,
                super::super::effect::Uses::of(super::super::effect::Use::Read),
            );
        }
        own
    }

    fn indirection(&mut self, of: &'t nodes::A_Indirection, role: Role, out: &mut Vec<Source>) {
        // (t).email, (t.address).city, (f(x)).y, tags[1]: a field of what the
        // argument is made of. Of a plain row it can be told which.
        let first = of.indirection().first().and_then(Node::as_str);
        let mut rest = of.indirection().iter();
        if let (Node::ColumnRef(column), Some(field)) = (of.arg(), first)
            && let Some(alias) = self.row_alias(column)
        {
            self.qualified_column(None, alias, field, role, out);
            rest.next();
        } else {
            self.expr(of.arg(), role.through(Step::Part), out);
        }
        for step in rest {
            match step {
                Node::A_Indices(index) => {
                    self.expr(index.lidx(), role.through(Step::Operator), out);
                    self.expr(index.uidx(), role.through(Step::Operator), out);
                }
                Node::String(_) | Node::A_Star(_) => {}
                other => self.unknown_kind(other),
            }
        }
    }

    /// `(alias)` where the alias is one of this query's items and no column of a
    /// known subquery bears the name.
    fn row_alias(&self, column: &'t nodes::ColumnRef) -> Option<&'t str> {
        let mut fields = column.fields().iter();
        let name = fields.next()?.as_str()?;
        if fields.next().is_some() {
            return None;
        }
        let level = self.levels.iter().rev().find(|level| !level.hidden)?;
        let others = level.items.len();
        // With more than one table, another may have a column of that name.
        (others == 1 && level.items.iter().any(|item| item.alias == name)).then_some(name)
    }

    fn sub_link(&mut self, of: &'t SubLink, role: Role, out: &mut Vec<Source>) {
        match of.oper_name().is_empty() && !matches!(of.testexpr(), Node::None) {
            // IN (SELECT …)
            true => self.operator("="),
            false => self.operator_name(of.oper_name()),
        }
        self.expr(of.testexpr(), role.through(Step::Operator), out);
        let mut role = role;
        if of.sub_link_type == raw::SubLinkType::EXISTS_SUBLINK {
            // Nobody looks at what its rows hold.
            role.used = ColumnUse::Read;
        }
        let inner = role.through(Step::Subquery);
        match of.subselect() {
            Node::SelectStmt(query) => {
                let given = self.query(query, role.used);
                if let Some(whole) = reach::shows(of.sub_link_type) {
                    self.stands_within(role.used, whole);
                }
                for one in given {
                    self.add(out, &one.sources, inner);
                }
            }
            other => self.nested(other, Way::Cte),
        }
    }

    pub(super) fn window(&mut self, of: &'t WindowDef, role: Role, out: &mut Vec<Source>) {
        let role = role.through(Step::Window);
        let picks = Role { used: ColumnUse::Filtered, ..role };
        let mut sources = Vec::new();
        self.exprs(of.partition_clause().iter(), picks, &mut sources);
        for sort in of.order_clause() {
            self.expr(Node::SortBy(sort), picks, &mut sources);
        }
        self.expr(of.start_offset(), picks, &mut sources);
        self.expr(of.end_offset(), picks, &mut sources);
        self.add(out, &sources, role);
    }

    /// What the grammar of a version made an expression and earlier ones read as
    /// an ordinary function call.
    /// Whether a type is the server's own, in the version that it has.
    fn own_type(&self, name: &str) -> bool {
        builtin::data_type(name).is_some_and(|since| since <= 13 || self.state.at_least(since))
    }

    pub(super) fn grammar_call(&mut self, name: &str, since: u16) {
        if !self.state.at_least(since) {
            self.record_call(None, name, false, CallClass::Plain);
        }
    }

    fn json_output(&mut self, output: Option<&'t nodes::JsonOutput>) {
        if let Some(of) = output.and_then(|output| output.type_name()) {
            self.type_name(of);
        }
    }

    fn json_value(
        &mut self,
        value: Option<&'t nodes::JsonValueExpr>,
        role: Role,
        out: &mut Vec<Source>,
    ) {
        if let Some(value) = value {
            self.expr(Node::JsonValueExpr(value), role, out);
        }
    }

    fn json_aggregate(
        &mut self,
        of: Option<&'t nodes::JsonAggConstructor>,
        role: Role,
        out: &mut Vec<Source>,
    ) {
        if let Some(of) = of {
            self.gathers();
            self.json_output(of.output());
            self.filter(of.agg_filter());
            self.exprs(of.agg_order().iter(), role, out);
            if let Some(over) = of.over() {
                self.window(over, role, out);
            }
        }
    }

    pub(super) fn json(&mut self, node: Node<'t>, role: Role, out: &mut Vec<Source>) {
        match node {
            Node::JsonValueExpr(of) => {
                self.expr(of.raw_expr(), role, out);
                self.expr(of.formatted_expr(), role, out);
            }
            Node::JsonKeyValue(of) => {
                self.expr(of.key(), role, out);
                self.json_value(of.value(), role, out);
            }
            Node::JsonArgument(of) => self.json_value(of.val(), role, out),
            Node::JsonBehavior(of) => self.expr(of.expr(), role, out),
            Node::JsonTablePathSpec(of) => self.expr(of.string(), role, out),
            Node::JsonOutput(of) => self.json_output(Some(of)),
            Node::JsonObjectConstructor(of) => {
                // json_object(…) is a function of all versions.
                self.json_output(of.output());
                for one in of.exprs() {
                    self.expr(Node::JsonKeyValue(one), role, out);
                }
            }
            Node::JsonArrayConstructor(of) => {
                self.grammar_call("json_array", 16);
                self.json_output(of.output());
                for one in of.exprs() {
                    self.json_value(Some(one), role, out);
                }
            }
            Node::JsonArrayQueryConstructor(of) => {
                self.json_output(of.output());
                self.expr(of.query(), role, out);
            }
            Node::JsonObjectAgg(of) => {
                self.grammar_call("json_objectagg", 16);
                let role = role.through(Step::Aggregate);
                if let Some(one) = of.arg() {
                    self.expr(Node::JsonKeyValue(one), role, out);
                }
                self.json_aggregate(of.constructor(), role, out);
            }
            Node::JsonArrayAgg(of) => {
                self.grammar_call("json_arrayagg", 16);
                let role = role.through(Step::Aggregate);
                self.json_value(of.arg(), role, out);
                self.json_aggregate(of.constructor(), role, out);
            }
            Node::JsonFuncExpr(of) => {
                use raw::JsonExprOp as Op;
                self.grammar_call(
                    match of.op {
                        Op::JSON_EXISTS_OP => "json_exists",
                        Op::JSON_QUERY_OP => "json_query",
                        _ => "json_value",
                    },
                    17,
                );
                self.json_output(of.output());
                self.json_value(of.context_item(), role, out);
                self.expr(of.pathspec(), role, out);
                self.exprs(of.passing().iter(), role, out);
                for behaviour in [of.on_empty(), of.on_error()].into_iter().flatten() {
                    self.expr(behaviour.expr(), role, out);
                }
            }
            Node::JsonParseExpr(of) => {
                self.grammar_call("json", 17);
                self.json_output(of.output());
                self.json_value(of.expr(), role, out);
            }
            Node::JsonScalarExpr(of) => {
                self.grammar_call("json_scalar", 17);
                self.json_output(of.output());
                self.expr(of.expr(), role, out);
            }
            Node::JsonSerializeExpr(of) => {
                self.grammar_call("json_serialize", 17);
                self.json_output(of.output());
                self.json_value(of.expr(), role, out);
            }
            Node::JsonIsPredicate(of) => self.expr(of.expr(), role, out),
            other => self.unknown_kind(other),
        }
    }
}
