//! Code that a statement carries: function bodies, DO blocks, rules, views.

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{CreateFunctionStmt, DoStmt, RuleStmt, ViewStmt};

use super::super::effect::{Effect, Effects, Use, Uses};
use super::super::facts::{Doubt, ObjectKind, Part, Statement, Verb, Way};
use super::super::lexer;
use super::super::text;
use super::from::is_temporary;
use super::{Budget, Role, Walk, names};

impl<'t> Walk<'t, '_> {
    pub(super) fn block(&mut self, of: &'t DoStmt) {
        let mut language = "plpgsql";
        let mut body = None;
        for option in of.args() {
            match (option.defname(), option.arg()) {
                (Some("language"), Node::String(name)) => {
                    language = name.sval().unwrap_or_default();
                }
                (_, Node::String(text)) => body = text.sval(),
                _ => {}
            }
        }
        self.effect(Effect::Execute);
        self.untrusted(language);
        self.code(language, body.unwrap_or_default(), Way::Block);
    }

    /// Languages that can do what the server's own user can.
    fn untrusted(&mut self, language: &str) {
        let language = language.to_lowercase();
        if matches!(language.as_str(), "c" | "internal" | "plsh" | "plr" | "pljavau")
            || language.starts_with("pl") && language.ends_with('u')
            || matches!(language.as_str(), "plpython2u" | "plpython3u" | "plperlu" | "pltclu")
        {
            self.effect(Effect::UnsafeIo);
        }
    }

    pub(super) fn create_function(&mut self, of: &'t CreateFunctionStmt) {
        self.verb(Verb::Create);
        self.effect(Effect::Create);
        if of.replace {
            self.effect(Effect::Alter);
        }
        let name = names::of_list(of.funcname());
        self.named(ObjectKind::Function, name.schema, name.name, Uses::of(Use::Defined));
        for parameter in of.parameters() {
            if let Some(of) = parameter.arg_type() {
                self.type_name(of);
            }
            self.stored_expr(parameter.defexpr());
        }
        if let Some(of) = of.return_type() {
            self.type_name(of);
        }
        let mut language = None;
        let mut body = Vec::new();
        for option in of.options() {
            match (option.defname(), option.arg()) {
                (Some("language"), Node::String(name)) => language = name.sval(),
                (Some("as"), Node::NodeList(parts)) => {
                    body.extend(parts.iter().filter_map(Node::as_str));
                }
                (Some("as"), Node::String(part)) => body.extend(part.sval()),
                (Some("set"), Node::VariableSetStmt(set)) => self.stored(set),
                _ => {}
            }
        }
        match of.sql_body() {
            Node::None => {
                let language = language.unwrap_or("plpgsql");
                self.untrusted(language);
                self.body(language, body.first().copied().unwrap_or_default());
            }
            atomic => self.aside(Way::FunctionBody, |walk| walk.atomic(atomic)),
        }
    }

    /// BEGIN ATOMIC … END, RETURN …
    fn atomic(&mut self, node: Node<'t>) {
        if !self.enter() {
            self.leave();
            return;
        }
        match node {
            Node::None => {}
            Node::ReturnStmt(of) => {
                self.verb(Verb::Select);
                self.effect(Effect::Read);
                self.read(of.returnval());
            }
            Node::NodeList(list) => {
                for one in list {
                    self.atomic(one);
                }
            }
            other => self.nested(other, Way::FunctionBody),
        }
        self.leave();
    }

    /// A function's text. SQL is read like any other; what isn't is a doubt of the
    /// body, not of the statement that stores it.
    fn body(&mut self, language: &str, body: &str) {
        let mut statement = Statement::new(Verb::Unknown, Way::FunctionBody);
        if matches!(language.to_lowercase().as_str(), "c" | "internal") {
            return;
        }
        if !language.eq_ignore_ascii_case("sql") {
            self.aside(Way::FunctionBody, |walk| {
                walk.effect(Effect::Execute);
                walk.code(language, body, Way::FunctionBody);
            });
            return;
        }
        let hints = || lexer::hints(body, self.state.strings, false);
        let limit = body.len();
        let readable = text::readable(body.as_bytes(), self.state, limit, self.max_depth as usize);
        // A body within a body within a body: each is a text of its own.
        let budget = Budget { depth: self.max_depth / 2, work: self.work };
        let tree = readable.map(|readable| super::super::read::parse(&readable.text));
        match tree {
            Ok(Ok(tree)) if budget.depth > 20 => {
                for raw in tree.iter() {
                    let mut walk = Walk::new(self.state, budget, Way::FunctionBody);
                    walk.work = self.work;
                    walk.top(raw.stmt());
                    self.work = walk.work;
                    let later = std::mem::take(&mut walk.later);
                    self.later.push(walk.finish());
                    self.later.extend(later);
                }
            }
            Ok(Ok(_)) => {
                statement.effects = hints();
                statement.doubt(Doubt::TooDeep);
                self.later.push(statement);
            }
            Ok(Err(error)) => {
                statement.effects = hints();
                statement.doubt(Doubt::Unparsable(error.to_string().into()));
                self.later.push(statement);
            }
            Err(doubt) => {
                statement.effects = hints();
                statement.doubt(doubt);
                self.later.push(statement);
            }
        }
    }

    pub(super) fn view(&mut self, of: &'t ViewStmt) {
        self.verb(Verb::Create);
        self.effect(Effect::Create);
        if of.replace {
            self.effect(Effect::Alter);
        }
        if let Some(range) = of.view() {
            self.range_as(ObjectKind::View, range, Uses::of(Use::Defined));
        }
        let temporary = of.view().is_some_and(is_temporary);
        self.aside(Way::View, |walk| {
            walk.statement(of.query());
            if temporary {
                walk.written_through(of.query());
            }
        });
    }

    /// What is written to a session's own view lands in the table that it shows.
    fn written_through(&mut self, query: Node<'t>) {
        let Node::SelectStmt(query) = query else { return };
        let [Node::RangeVar(shown)] = query.from_clause().iter().collect::<Vec<_>>()[..] else {
            return;
        };
        let made_of_several = !query.group_clause().is_empty()
            || !query.distinct_clause().is_empty()
            || !matches!(query.having_clause(), Node::None)
            || !matches!(query.limit_count(), Node::None)
            || !matches!(query.limit_offset(), Node::None)
            || query.with_clause().is_some()
            || super::bound::aggregates(query);
        if made_of_several {
            return;
        }
        let target = self.range(shown, Uses::of(Use::Read));
        self.out.parts.push(Part {
            verb: Verb::Delete,
            way: Way::View,
            effects: Effects::of(Effect::Insert).with(Effect::Update).with(Effect::Delete),
            bound: super::bound::of_select(query),
            target: Some(target),
        });
    }

    pub(super) fn rule(&mut self, of: &'t RuleStmt) {
        self.verb(Verb::Create);
        self.effect(Effect::Create);
        // The table will behave otherwise.
        self.effect(Effect::Alter);
        let name = of.rulename().unwrap_or_default();
        self.named(ObjectKind::Rule, None, name, Uses::of(Use::Defined));
        if let Some(range) = of.relation() {
            self.range(range, Uses::of(Use::Defined));
        }
        self.stored_expr(of.where_clause());
        for action in of.actions() {
            self.aside(Way::Rule, |walk| walk.statement(action));
        }
    }

    /// An expression that is kept and runs later: a default, a check, a policy.
    pub(super) fn stored_expr(&mut self, node: Node<'t>) {
        if matches!(node, Node::None | Node::A_Const(_)) {
            return;
        }
        if matches!(node, Node::TypeCast(of) if matches!(of.arg(), Node::A_Const(_))) {
            self.read(node);
            return;
        }
        self.aside(Way::SchemaElement, |walk| {
            walk.verb(Verb::Select);
            walk.expr(node, Role::FILTER, &mut Vec::new());
        });
    }
}
