//! Function calls: whose they are and what they do.

use pg_raw_parse::nodes::FuncCall;
use pg_raw_parse::{Node, const_val::ConstValue, raw};

use super::super::builtin::{self, FunctionKind};
use super::super::effect::{ColumnUse, Effect, Path, Step, Use, Uses};
use super::super::facts::{
    Call, CallClass, Doubt, Fill, Key, ObjectKind, Origin, Scope, SessionEffect, Setting, Source,
};
use super::super::numbers;
use super::{Role, Walk, names};

impl<'t> Walk<'t, '_> {
    pub(super) fn call(&mut self, call: &'t FuncCall, role: Role, out: &mut Vec<Source>) {
        let name = names::of_list(call.funcname());
        // A word of the grammar's since 16; before, a column's name like any other.
        let word = call.funcformat == raw::CoercionForm::COERCE_SQL_SYNTAX;
        if word && name.name == SYSTEM_USER && !self.state.at_least(16) {
            self.bare_column(SYSTEM_USER, role, out);
            return;
        }
        let origin = self.function(name);
        match name.name {
            "set_config" => self.set_config(call),
            "lo_unlink" => self.unlinks(role),
            _ => {}
        }
        let known = builtin::function(name.name);
        let step = match known.map(|function| function.kind) {
            Some(FunctionKind::Aggregate) => Step::Aggregate,
            Some(FunctionKind::Window) => Step::Window,
            _ => Step::Function,
        };
        let picks = role.used == ColumnUse::Filtered;
        if step == Step::Aggregate || origin == Origin::Foreign && !picks {
            self.gathers();
        }
        if step == Step::Function && makes_document(call, name) {
            self.document(call, role, out);
            return;
        }
        let rows = known.is_some_and(|function| function.rows);
        let mut own = Vec::new();
        let role = match call.agg_distinct {
            true => {
                self.exprs(call.args().iter(), Role { path: Path::NONE, ..role }, &mut own);
                self.told_apart(&own);
                role.through(step)
            }
            false => {
                let role = role.through(step);
                let into = if rows || origin == Origin::Foreign { &mut own } else { &mut *out };
                self.exprs(call.args().iter(), role, into);
                role
            }
        };
        self.add(out, &own, role);
        if rows {
            // How many come tells something of what it is given.
            self.used(&own, ColumnUse::Filtered);
        }
        if origin == Origin::Foreign {
            own.iter_mut().for_each(|source| source.path = source.path.union(role.path));
            self.gives(name, own);
        }
        for sort in call.agg_order() {
            self.expr(Node::SortBy(sort), role, out);
        }
        self.filter(call.agg_filter());
        if let Some(over) = call.over() {
            self.window(over, role, out);
        }
    }

    /// `json_build_object('mail', email)`: whose value stands under which key.
    fn document(&mut self, call: &'t FuncCall, role: Role, out: &mut Vec<Source>) {
        let mut key = None;
        for node in call.args() {
            let Some(name) = key.take() else {
                key = plain_key(node);
                self.expr(node, Role::READ, &mut Vec::new());
                continue;
            };
            let mut value = Vec::new();
            self.expr(node, role, &mut value);
            for source in value.iter().filter(|one| !one.path.contains(Step::Document)) {
                self.key(name, source.column);
            }
            self.add(out, &value, role.through(Step::Document));
        }
    }

    /// Somebody's own function may write what it is given.
    fn gives(&mut self, name: names::Qualified<'t>, sources: Vec<Source>) {
        if sources.is_empty() || !self.spend(1 + self.out.fills.len() / 16) {
            return;
        }
        let object = self.named(ObjectKind::Function, name.schema, name.name, Uses::of(Use::Read));
        let fill = Fill { object, place: None, column: None, sources };
        if !self.out.fills.contains(&fill) {
            self.out.fills.push(fill);
        }
    }

    fn key(&mut self, name: &str, column: u32) {
        let known = self.out.keys.iter().any(|key| &*key.name == name && key.column == column);
        if !known && self.spend(1 + self.out.keys.len() / 16) {
            self.out.keys.push(Key { name: name.into(), column });
        }
    }

    /// Records that a function runs, with what that means.
    pub(super) fn function(&mut self, name: names::Qualified<'t>) -> Origin {
        let known = builtin::function(name.name);
        let there = |since: u16| since <= 13 || self.state.at_least(since);
        // A call may also be a cast: text(x), regclass(x).
        let own = known.is_some_and(|function| there(function.since))
            || builtin::data_type(name.name).is_some_and(there);
        let origin = match name.schema {
            Some("pg_catalog") => Origin::BuiltIn,
            Some("information_schema") if builtin::information_schema_function(name.name) => {
                Origin::BuiltIn
            }
            None if own && self.state.catalog_first() => Origin::BuiltInName,
            _ => Origin::Foreign,
        };
        let by_name = builtin::class(name.name);
        let class = match (by_name, origin) {
            // Not in any list, though in the server's own schema: newer than this.
            (CallClass::Plain, Origin::BuiltIn)
                if name.schema == Some("pg_catalog") && known.is_none() && !own =>
            {
                CallClass::Foreign
            }
            (CallClass::Plain, Origin::Foreign) => CallClass::Foreign,
            (class, _) => class,
        };
        let volatile = origin == Origin::Foreign || known.is_none_or(|known| known.volatile);
        self.record(Call {
            schema: name.schema.map(Into::into),
            name: name.name.into(),
            origin,
            volatile,
            class,
        });
        origin
    }

    /// A call that isn't written as one.
    pub(super) fn record_call(
        &mut self,
        schema: Option<&str>,
        name: &str,
        own: bool,
        class: CallClass,
    ) {
        self.record(Call {
            schema: schema.map(Into::into),
            name: name.into(),
            origin: if own { Origin::BuiltIn } else { Origin::Foreign },
            volatile: !own,
            class: if own { class } else { CallClass::Foreign },
        });
    }

    fn record(&mut self, call: Call) {
        match call.class {
            // What is deleted is a part of its own.
            CallClass::Plain | CallClass::Session | CallClass::Deletes => {}
            CallClass::Reads => self.effect(Effect::Read),
            CallClass::Writes => self.effect(Effect::Update),
            CallClass::Administers => self.effect(Effect::Administer),
            CallClass::RunsText => {
                self.effect(Effect::Execute);
                self.out.doubt(Doubt::Dynamic);
            }
            CallClass::UnsafeIo => self.effect(Effect::UnsafeIo),
            CallClass::Foreign => self.effect(Effect::Execute),
        }
        if call.origin == Origin::Foreign {
            self.effect(Effect::Execute);
            self.named(
                ObjectKind::Function,
                call.schema.as_deref(),
                &call.name,
                Uses::of(Use::Read),
            );
        }
        if self.spend(1 + self.out.calls.len() / 8) && !self.out.calls.contains(&call) {
            self.out.calls.push(call);
        }
    }

    fn set_config(&mut self, call: &'t FuncCall) {
        let name = argument(call, 0, "setting_name");
        let setting = name.and_then(exact).or_else(|| self.only_value(name?));
        let value = argument(call, 1, "new_value").and_then(exact);
        let local = argument(call, 2, "is_local").and_then(exact_truth);
        match setting {
            Some(name) => self.guarded_setting(name),
            // It may be any.
            None => self.effect(Effect::Administer),
        }
        self.session(SessionEffect {
            // A setting whose name is a value may be any.
            setting: setting.map_or_else(|| "*".into(), |name| name.to_lowercase().into()),
            value: match (setting, value, local) {
                (Some(_), Some(value), Some(_)) if self.straight => Setting::To(value.into()),
                _ => Setting::Dynamic,
            },
            scope: if local == Some(true) { Scope::Transaction } else { Scope::Session },
        });
    }

    /// What a setting does beyond the session's own texts.
    pub(super) fn guarded_setting(&mut self, name: &str) {
        if let Some((_, effect)) = builtin::guarded_setting(name) {
            self.effect(effect);
        }
    }

    /// The one value that a bare column has, by the query's condition: as pg_dump
    /// asks for settings that a server may not have.
    fn only_value(&self, node: Node<'t>) -> Option<&'t str> {
        let Node::ColumnRef(column) = node else { return None };
        let name = column.fields().first().and_then(Node::as_str)?;
        let (only, value) = self.levels.last()?.only?;
        // Somebody's own `=` would mean something else.
        let own = self.state.catalog_first();
        (own && column.fields().len() == 1 && only == name).then_some(value)
    }

    pub(super) fn session(&mut self, effect: SessionEffect) {
        if !self.out.session.contains(&effect) {
            self.out.session.push(effect);
        }
    }
}

/// Whether a call makes a document, and each of its keys is written in the text.
fn makes_document(call: &FuncCall, name: names::Qualified<'_>) -> bool {
    matches!(name.name, "json_build_object" | "jsonb_build_object")
        && !call.func_variadic
        && call.args().len().is_multiple_of(2)
        && call.args().iter().step_by(2).all(|key| plain_key(key).is_some())
}

/// A key that is in the document as it is in the text: no cast changes it, and it has
/// the same bytes in every encoding.
fn plain_key(node: Node<'_>) -> Option<&str> {
    let Node::A_Const(of) = node else { return None };
    let text = numbers::text(of)?;
    let plain = |sign: u8| sign.is_ascii_alphanumeric() || b"_-. :".contains(&sign);
    text.bytes().all(plain).then_some(text)
}

/// Whether a statement is a plain `SELECT f(…), g(…)` of constants and of calls that set
/// something: no condition, no row and no order may keep one of them from running, or
/// run it twice.
pub(super) fn straight(node: Node<'_>) -> bool {
    let Node::SelectStmt(of) = node else { return false };
    let none = |node: Node<'_>| matches!(node, Node::None);
    let bare = of.op == raw::SetOperation::SETOP_NONE
        && of.into_clause().is_none()
        && of.with_clause().is_none()
        && of.sort_clause().is_empty()
        && [of.from_clause(), of.group_clause(), of.distinct_clause()]
            .iter()
            .all(|list| list.is_empty())
        && [of.where_clause(), of.having_clause(), of.limit_count(), of.limit_offset()]
            .into_iter()
            .all(none);
    let constant = |node: Node<'_>| match node {
        Node::FuncCall(of) => {
            names::of_list(of.funcname()).name == "set_config" && of.args().iter().all(is_value)
        }
        other => is_value(other),
    };
    bare && of.target_list().iter().all(|one| constant(one.val()))
}

/// A constant or a parameter, also under casts.
fn is_value(node: Node<'_>) -> bool {
    match node {
        Node::A_Const(_) | Node::ParamRef(_) => true,
        Node::TypeCast(of) => is_value(of.arg()),
        Node::NamedArgExpr(of) => is_value(of.arg()),
        _ => false,
    }
}

/// What a function is given by this name, or in this place.
fn argument<'t>(call: &'t FuncCall, place: usize, name: &str) -> Option<Node<'t>> {
    let mut arguments = call.args().iter().enumerate();
    arguments.find_map(|(at, node)| match node {
        Node::NamedArgExpr(of) => (of.name() == Some(name)).then(|| of.arg()),
        node => (at == place).then_some(node),
    })
}

/// A literal text that no cast changes.
fn exact(node: Node<'_>) -> Option<&str> {
    plainly_cast(node, &["text", "varchar"]).then(|| text(node)).flatten()
}

fn exact_truth(node: Node<'_>) -> Option<bool> {
    plainly_cast(node, &["text", "bool"]).then(|| truth(node)).flatten()
}

fn plainly_cast(node: Node<'_>, types: &[&str]) -> bool {
    match node {
        Node::TypeCast(of) => {
            let plain = of.type_name().is_some_and(|of| {
                let name = names::qualified(of.names().iter().map(Node::String));
                types.contains(&name.name) && of.typmods().is_empty()
            });
            plain && plainly_cast(of.arg(), types)
        }
        Node::A_Const(_) => true,
        _ => false,
    }
}

/// A literal text, also under casts.
pub(super) fn text(node: Node<'_>) -> Option<&str> {
    let mut node = node;
    loop {
        match node {
            Node::TypeCast(of) => node = of.arg(),
            Node::NamedArgExpr(of) => node = of.arg(),
            Node::A_Const(of) => return numbers::text(of),
            _ => return None,
        }
    }
}

/// A literal truth value, also written as a text.
pub(super) fn truth(node: Node<'_>) -> Option<bool> {
    let mut node = node;
    loop {
        match node {
            Node::TypeCast(of) => node = of.arg(),
            Node::CollateClause(of) => node = of.arg(),
            Node::A_Const(of) => {
                return match numbers::value(of)? {
                    ConstValue::Boolean(value) => Some(value),
                    ConstValue::Integer(value) => Some(value != 0),
                    ConstValue::String(text) => match text.trim().to_lowercase().as_str() {
                        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
                        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => {
                            Some(false)
                        }
                        _ => None,
                    },
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

const SYSTEM_USER: &str = "system_user";
