//! Code in a language that isn't SQL, with the SQL in it: what it does counts as the
//! statement's own that carries it.
//!
//! INVARIANTS
//! - Code is never understood: its language has rules that only the server knows.
//! - Where something in it couldn't be read either, it has a doubt more than that: it
//!   may touch anything.

use pg_raw_parse::Node;

use super::super::effect::{ColumnUse, ColumnUses, Effect, Effects, Use};
use super::super::facts::{
    CallClass, Doubt, Object, PROCEDURAL, Part, SessionEffect, Setting, Statement, Verb, Way,
};
use super::super::procedural::{self, Piece};
use super::super::{lexer, numbers, read, text};
use super::{Budget, Walk, names};

impl Walk<'_, '_> {
    /// What runs when this body does.
    pub(super) fn code(&mut self, language: &str, body: &str, way: Way) {
        self.out.doubt(Doubt::Body(language.into()));
        // Words of other languages mean other things.
        if !language.eq_ignore_ascii_case(PROCEDURAL) {
            return;
        }
        for effect in lexer::hints(body, self.state.strings, true).iter() {
            self.effect(effect);
        }
        if !self.spend(1 + body.len() / 16) {
            return;
        }
        let found = procedural::body(body, self.state.strings);
        if !found.followed {
            self.out.doubt(Doubt::Kind("control flow".into()));
        }
        for piece in &found.pieces {
            match piece {
                Piece::Statement(text) | Piece::Values(text) => self.piece(text, way),
                Piece::Runs(text) => {
                    self.piece(text, way);
                    match self.constant(text) {
                        Some(text) => self.piece(&text, way),
                        None => {
                            self.effect(Effect::Execute);
                            self.out.doubt(Doubt::Dynamic);
                        }
                    }
                }
                // Of a cursor that may be older than this code.
                Piece::Fetches => self.effect(Effect::Read),
            }
        }
    }

    /// One text of the body's.
    fn piece(&mut self, piece: &str, way: Way) {
        let state = self.state;
        // A text within a text within a text: each has a tree of its own on the stack.
        let depth = self.max_depth.saturating_sub(self.depth) / 2;
        if depth <= LEAST_DEPTH {
            self.out.doubt(Doubt::TooDeep);
            return;
        }
        if !self.spend(8 + piece.len() / 16) {
            return;
        }
        let readable = text::readable(piece.as_bytes(), state, piece.len(), depth as usize);
        let tree = match readable.map(|readable| read::parse(&readable.text)) {
            Ok(Ok(tree)) => tree,
            Ok(Err(error)) => {
                return self.out.doubt(Doubt::Unparsable(error.to_string().into()));
            }
            Err(doubt) => return self.out.doubt(doubt),
        };
        for raw in tree.iter() {
            let mut walk = Walk::new(state, Budget { depth, work: self.work }, way);
            walk.top(raw.stmt());
            self.work = walk.work;
            self.exhausted |= walk.exhausted;
            let later = std::mem::take(&mut walk.later);
            self.take_in(walk.out, way);
            self.later.extend(later);
        }
    }

    /// The text that an expression of constants gives.
    fn constant(&self, text: &str) -> Option<String> {
        let depth = self.max_depth as usize;
        let readable = text::readable(text.as_bytes(), self.state, text.len(), depth).ok()?;
        let tree = read::parse(&readable.text).ok()?;
        let Node::SelectStmt(select) = tree.iter().next()?.stmt() else { return None };
        let mut targets = select.target_list().iter();
        let target = targets.next()?;
        if targets.next().is_some() || !select.from_clause().is_empty() {
            return None;
        }
        let mut given = String::new();
        joined(target.val(), CONSTANT_DEPTH, &mut given).then_some(given)
    }

    /// What one statement of the body does, as this one's own.
    fn take_in(&mut self, of: Statement, way: Way) {
        let executes = |verb| matches!(verb, Verb::Execute);
        if executes(of.verb) || of.parts.iter().any(|part| executes(part.verb)) {
            self.out.doubt(Doubt::Dynamic);
        }
        let places: Vec<u32> = of.objects.iter().map(|object| self.taken(object)).collect();
        let place = |old: u32| places.get(old as usize).copied();
        for column in &of.columns {
            let Some(relation) = place(column.relation) else { continue };
            // What it gives stays within the code.
            let uses = column.uses.iter().map(|used| match used {
                ColumnUse::Returned => ColumnUse::Read,
                used => used,
            });
            let uses: ColumnUses = uses.collect();
            let index = self.column(relation, column.name.as_deref(), ColumnUse::Read, false);
            if let Some(known) = self.out.columns.get_mut(index as usize) {
                known.uses.extend(uses);
                known.certain |= column.certain;
                known.qualified |= column.qualified;
            }
        }
        // An expression of variables alone reads nothing.
        let mut effects = of.effects;
        if of.verb == Verb::Select && of.objects.is_empty() {
            effects = effects.without(Effect::Read);
        }
        let target_of_part = |at: u32| of.parts.iter().any(|part| part.target == Some(at));
        let written = of
            .objects
            .iter()
            .zip(0..)
            .filter(|(object, at)| object.uses.contains(Use::Written) && !target_of_part(*at));
        let mut targets: Vec<Option<u32>> = written.map(|(_, at)| place(at)).collect();
        if targets.is_empty() {
            let plain = effects.within(Effects::of(Effect::Read));
            effects.iter().filter(|_| plain).for_each(|effect| self.effect(effect));
            targets.extend((!plain).then_some(None));
        }
        for target in targets {
            let (verb, bound) = (of.verb, of.bound);
            self.out.parts.push(Part { verb, way, effects, bound, target });
        }
        self.reads(of.reads);
        for part in of.parts {
            self.out.parts.push(Part { target: part.target.and_then(place), ..part });
        }
        for call in of.calls {
            if call.class != CallClass::Plain && !self.out.calls.contains(&call) {
                self.out.calls.push(call);
            }
        }
        for set in of.session {
            // Names without a schema mean other tables from there on.
            if matches!(&*set.setting, "search_path" | "role" | "session_authorization" | "*") {
                self.out.doubt(Doubt::Dynamic);
            }
            // Whether it comes to that is for the code to say.
            self.out.session.push(SessionEffect { value: Setting::Dynamic, ..set });
        }
        of.notes.into_iter().for_each(|note| self.out.note(note));
        of.doubts.into_iter().for_each(|doubt| self.out.doubt(doubt));
    }

    fn taken(&mut self, object: &Object) -> u32 {
        // A temporary table that it creates may not come to be: then the name means
        // another.
        let temporary = object.schema.as_deref() == Some("pg_temp");
        self.object(Object { temporary, ..object.clone() })
    }
}

/// Strings, and strings put together with `||`.
fn joined(node: Node<'_>, depth: u32, given: &mut String) -> bool {
    if depth == 0 {
        return false;
    }
    match node {
        Node::ResTarget(of) => joined(of.val(), depth, given),
        Node::A_Const(of) => numbers::text(of).map(|text| given.push_str(text)).is_some(),
        Node::A_Expr(of) => {
            let name = names::of_list(of.name());
            name.schema.is_none()
                && name.name == "||"
                && joined(of.lexpr(), depth - 1, given)
                && joined(of.rexpr(), depth - 1, given)
        }
        _ => false,
    }
}

/// With less left, nothing of use can be read.
const LEAST_DEPTH: u32 = 20;
const CONSTANT_DEPTH: u32 = 64;
