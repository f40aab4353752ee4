//! What a text of SQL means for a decision: flat, owned, comparable, and free of
//! any database's grammar, so that policies and records speak of every dialect
//! alike.
//!
//! INVARIANT: what was not understood carries at least one [`Doubt`] and the
//! effect `unknown`; nothing in here ever stands for "probably fine".

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::effect::{ColumnUses, Effect, Effects, Path, Uses};

/// Everything known of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// In the order of the text. What a statement defines for later (a function's
    /// body, a view's query) follows it, with [`Statement::later_of`] set.
    pub statements: Vec<Statement>,
    /// Indices, in order: what [`Facts::telling`] leaves out.
    #[serde(skip)]
    repeats: Option<Box<[u32]>>,
    /// Which of the text's numbers they don't hang on: [`super::numbers`].
    #[serde(skip)]
    pub free: Box<[u16]>,
}

/// One statement with all that runs when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub verb: Verb,
    /// Its place in the text, in bytes. Absent where it has none of its own.
    pub span: Option<Span>,
    /// The statement (an index) that defines this one without running it.
    pub later_of: Option<u32>,
    /// How it came to be known; [`Way::Text`] for what stands in the text itself.
    pub way: Way,
    /// Everything that running it may do, hidden parts included.
    pub effects: Effects,
    pub bound: Bound,
    /// Of the rows that it reads to give them away: as its result, as an export, or to
    /// another table.
    pub reads: Bound,
    /// Statements hidden within, that run with it.
    pub parts: Vec<Part>,
    pub objects: Vec<Object>,
    pub columns: Vec<Column>,
    /// The columns of its result. `None`: it gives no rows. An output with
    /// `star` stands for any number of columns.
    pub returns: Option<Vec<Output>>,
    /// Under which keys of the text columns stand in documents that it makes.
    pub keys: Vec<Key>,
    /// What it puts into tables that it makes or fills, column by column, and into
    /// functions.
    pub fills: Vec<Fill>,
    pub calls: Vec<Call>,
    /// Operators and casts that are the server's own by their names.
    pub meets: Vec<Meets>,
    /// The prepared statement or cursor that it names: what is known of that one
    /// counts for this too.
    pub handle: Option<Box<str>>,
    pub session: Vec<SessionEffect>,
    pub notes: Vec<Note>,
    pub doubts: Vec<Doubt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// A statement within a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub verb: Verb,
    pub way: Way,
    pub effects: Effects,
    pub bound: Bound,
    /// What it writes to: an index of [`Statement::objects`].
    pub target: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Text,
    Cte,
    Explain,
    ExplainAnalyze,
    Copy,
    Prepare,
    Cursor,
    CreateTableAs,
    FunctionBody,
    /// The text of a DO block.
    Block,
    View,
    Rule,
    SchemaElement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Select,
    Values,
    Insert,
    Update,
    Delete,
    Merge,
    Truncate,
    Copy,
    Call,
    Do,
    Execute,
    Prepare,
    Deallocate,
    DeclareCursor,
    Fetch,
    Move,
    CloseCursor,
    Explain,
    Show,
    Set,
    Reset,
    Discard,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    ReleaseSavepoint,
    RollbackTo,
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,
    SetConstraints,
    Lock,
    Listen,
    Unlisten,
    Notify,
    Create,
    CreateTableAs,
    SelectInto,
    Alter,
    Drop,
    Comment,
    SecurityLabel,
    Grant,
    Revoke,
    AlterDefaultPrivileges,
    DropOwned,
    ReassignOwned,
    Vacuum,
    Analyze,
    Cluster,
    Reindex,
    Refresh,
    Checkpoint,
    Load,
    AlterSystem,
    ImportForeignSchema,
    /// Could not be read; `effects` may still tell what it begins with.
    Unknown,
}

/// Whether the rows that are touched are bounded by a condition.
///
/// A condition that is the same for every row (`true`, `1=1`, `id=id`, `$1`,
/// `exists(select 1)`) bounds nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The question doesn't arise.
    #[default]
    NotApplicable,
    /// Some rows, by a condition or a limit.
    Bounded,
    /// Only by what usually leaves nearly all: `<>`, NOT IN, IS NOT NULL.
    Weak,
    /// All rows.
    Unbounded,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    pub catalog: Option<Box<str>>,
    /// As written: without one, the session's search path decides.
    pub schema: Option<Box<str>>,
    /// Folded and cut as the server does. Empty: unnamed, or all of the kind.
    pub name: Box<str>,
    pub uses: Uses,
    /// Created as temporary, or named in `pg_temp`.
    pub temporary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A table, or anything that is used like one: view, sequence, foreign table.
    Relation,
    View,
    MaterializedView,
    Sequence,
    Index,
    Function,
    Aggregate,
    Type,
    Domain,
    Schema,
    Database,
    Tablespace,
    Role,
    Extension,
    Trigger,
    EventTrigger,
    Rule,
    Policy,
    Constraint,
    Language,
    Cast,
    Operator,
    Collation,
    Conversion,
    Statistics,
    TextSearch,
    Publication,
    Subscription,
    ForeignServer,
    ForeignDataWrapper,
    UserMapping,
    AccessMethod,
    LargeObject,
    Parameter,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// An index of [`Statement::objects`].
    pub relation: u32,
    /// `None`: all of them, or one that can't be told.
    pub name: Option<Box<str>>,
    pub uses: ColumnUses,
    /// False: only the catalog can tell whether the name means this relation's
    /// column or another's.
    pub certain: bool,
    /// Somewhere its relation stands before it: `t.f` calls `f(t)` where `t` has no
    /// such column. A bare name never does.
    pub qualified: bool,
    /// Its relation is called so as well: where it has no such column, the name means its
    /// whole row.
    pub row: bool,
    /// Without a name: the one in this place, from 0.
    pub place: Option<u32>,
}

/// One output column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Output {
    pub name: Option<Box<str>>,
    /// Stands for all columns of its source.
    pub star: bool,
    /// Empty: made of constants and parameters only.
    pub sources: Vec<Source>,
}

/// A key of a document, written in the text, and a column that is in its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    pub name: Box<str>,
    /// An index of [`Statement::columns`].
    pub column: u32,
}

/// What one column of a table is filled with; or what a function of somebody's own is
/// given, which may write it somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fill {
    /// An index of [`Statement::objects`].
    pub object: u32,
    /// The column's place, from 0, where no name is given: `None` is any.
    pub place: Option<u32>,
    pub column: Option<Box<str>>,
    pub sources: Vec<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// An index of [`Statement::columns`].
    pub column: u32,
    pub path: Path,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Call {
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
    pub origin: Origin,
    /// Declared to change something or to differ from call to call; always so for
    /// what isn't the server's own.
    pub volatile: bool,
    pub class: CallClass,
}

/// What runs code under a name of the server's own, as [`Call`] does with
/// [`Origin::BuiltInName`]: somebody may have one of that name that fits better.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meets {
    pub through: Through,
    /// Of the operator, or of the type that is cast to.
    pub name: Box<str>,
    /// Named in the server's own schema, or by its grammar.
    pub qualified: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    Operator,
    Cast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Qualified with the server's own schema, or part of its grammar.
    BuiltIn,
    /// A name of the server's own, unqualified: a function of the same name with
    /// better fitting arguments, elsewhere on the search path, would win.
    BuiltInName,
    /// Somebody wrote it.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallClass {
    Plain,
    /// Reads through another door than its arguments show (large objects …).
    Reads,
    Writes,
    /// Deletes large objects: of as many as a [`Part`] of the statement says.
    Deletes,
    /// Changes the session (set_config, advisory locks).
    Session,
    Administers,
    /// Runs a text as SQL, or reads a relation that a value names.
    RunsText,
    /// Files, programs or network of the server's host.
    UnsafeIo,
    /// Not the server's own: may do anything.
    Foreign,
}

/// A change of the session that later statements are read under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionEffect {
    /// Lower case; `*` is all settings.
    pub setting: Box<str>,
    pub value: Setting,
    pub scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    To(Box<str>),
    Default,
    /// Known only when it runs.
    Dynamic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Session,
    Transaction,
    /// A role's or a database's default, or the server's configuration.
    Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A type that isn't the server's own: what a cast to it runs, the catalog tells.
    ForeignType,
    /// An operator that isn't the server's own: counted as `execute`.
    ForeignOperator,
    /// Rows are locked (FOR UPDATE …).
    RowLocks,
    /// Names hold characters whose folding depends on the server's encoding.
    InexactNames,
    /// A temporary relation may stand before one of the same name.
    Temporary,
    /// IF NOT EXISTS: what is there already may be of another kind.
    IfNotExists,
    /// ON COMMIT DROP.
    DropsAtCommit,
    /// DROP … CASCADE, TRUNCATE … CASCADE: more goes than is named.
    Cascade,
}

/// Why something was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The grammar's own message.
    Unparsable(Box<str>),
    TooLong {
        bytes: u64,
        limit: u64,
    },
    TooDeep,
    TooComplex,
    /// A character set in which a byte of a character can look like a quote.
    Encoding(Box<str>),
    NotUtf8,
    Nul,
    /// Whether a backslash escapes can't be told at this moment.
    Strings,
    /// A name outside ASCII in a character set that isn't UTF-8.
    Names,
    /// Text in a language that isn't read; or, in [`PROCEDURAL`], one of which only the
    /// SQL in it is.
    Body(Box<str>),
    /// A kind of statement or expression that isn't known here.
    Kind(Box<str>),
    /// The text to run is a value, known only when it runs.
    Dynamic,
    /// The parser failed, was lost or took too long.
    Parser(Box<str>),
}

impl Statement {
    pub fn new(verb: Verb, way: Way) -> Self {
        Self {
            verb,
            span: None,
            later_of: None,
            way,
            effects: Effects::NONE,
            bound: Bound::NotApplicable,
            reads: Bound::NotApplicable,
            parts: Vec::new(),
            objects: Vec::new(),
            columns: Vec::new(),
            returns: None,
            keys: Vec::new(),
            fills: Vec::new(),
            calls: Vec::new(),
            meets: Vec::new(),
            handle: None,
            session: Vec::new(),
            notes: Vec::new(),
            doubts: Vec::new(),
        }
    }

    pub fn doubt(&mut self, doubt: Doubt) {
        self.effects.insert(Effect::Unknown);
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    pub fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether what it touches may be more than its objects. Code is never understood,
    /// but where it was read, it says what it touches.
    pub fn may_touch_anything(&self) -> bool {
        let read = |doubt: &Doubt| matches!(doubt, Doubt::Body(of) if &**of == PROCEDURAL);
        !self.doubts.iter().all(read)
    }

    /// Whether it is the body of a function: to call that one is an action of its own.
    pub fn is_body(&self) -> bool {
        self.later_of.is_some() && self.way == Way::FunctionBody
    }

    /// The widest of its own bound and those of the parts that run with it.
    pub fn widest(&self) -> Bound {
        let own = if matches!(self.verb, Verb::Select | Verb::Values) && !self.parts.is_empty() {
            Bound::NotApplicable
        } else {
            self.bound
        };
        self.parts.iter().map(|part| part.bound).fold(own, Bound::max)
    }
}

impl Facts {
    pub fn new(statements: Vec<Statement>) -> Self {
        Self { statements, ..Self::default() }
    }

    /// A text of which nothing is known but why, and what it begins with.
    pub fn unknown(doubt: Doubt, hints: Effects) -> Self {
        let mut statement = Statement::new(Verb::Unknown, Way::Text);
        statement.effects = hints;
        statement.doubt(doubt);
        Self::new(vec![statement])
    }

    /// What runs when the text runs.
    pub fn running(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| statement.later_of.is_none())
    }

    /// What the text keeps, to run when something else does.
    pub fn later(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| statement.later_of.is_some())
    }

    pub fn effects(&self) -> Effects {
        self.running().fold(Effects::NONE, |all, statement| all.union(statement.effects))
    }

    pub fn understood(&self) -> bool {
        self.running().all(|statement| statement.doubts.is_empty())
    }

    /// Whether the grammar took all of it, with the code in it that is SQL.
    pub fn is_parsed(&self) -> bool {
        let taken =
            |doubt: &Doubt| matches!(doubt, Doubt::Body(_) | Doubt::Kind(_) | Doubt::Dynamic);
        self.statements.iter().all(|statement| statement.doubts.iter().all(taken))
    }

    /// What policies are to be asked about: of statements that differ in nothing but
    /// their place, the first, where [`Facts::mark_repeats`] has looked for them.
    pub fn telling(&self) -> impl Iterator<Item = &Statement> {
        let repeats = self.repeats.iter().flatten();
        let mut repeats = repeats.copied().peekable();
        self.statements.iter().zip(0_u32..).filter_map(move |(statement, index)| {
            let repeated = repeats.next_if_eq(&index).is_some();
            (!repeated && statement.later_of.is_none()).then_some(statement)
        })
    }

    /// Looks for statements that say nothing new. For texts of many: it takes longer
    /// than to decide about a few.
    pub fn mark_repeats(&mut self) {
        if self.statements.len() < MANY {
            return;
        }
        let mut seen = HashSet::new();
        let says_nothing_new = |(statement, index): (&Statement, u32)| {
            let bare = Statement { span: None, ..statement.clone() };
            let first = postcard::to_stdvec(&bare).map_or(true, |bare| seen.insert(bare));
            // What is prepared elsewhere may be another thing each time, and what
            // comes later with it belongs to its own definition.
            let plain = statement.handle.is_none() && statement.later_of.is_none();
            (!first && plain).then_some(index)
        };
        let defines: HashSet<u32> = self.statements.iter().filter_map(|one| one.later_of).collect();
        let repeats = self.statements.iter().zip(0_u32..).filter_map(says_nothing_new);
        let repeats: Box<[u32]> = repeats.filter(|index| !defines.contains(index)).collect();
        self.repeats = (!repeats.is_empty()).then_some(repeats);
    }

    /// Changes of the session, in order.
    pub fn session(&self) -> impl Iterator<Item = &SessionEffect> {
        self.running().flat_map(|statement| &statement.session)
    }

    /// About how much memory it holds, for caches.
    pub fn weight(&self) -> usize {
        let name = |name: &Option<Box<str>>| name.as_ref().map_or(0, |name| name.len());
        self.statements.iter().fold(size_of::<Self>(), |sum, s| {
            sum + size_of::<Statement>()
                + s.parts.len() * size_of::<Part>()
                + s.objects
                    .iter()
                    .map(|o| size_of::<Object>() + o.name.len() + name(&o.schema))
                    .sum::<usize>()
                + s.columns.iter().map(|c| size_of::<Column>() + name(&c.name)).sum::<usize>()
                + s.returns
                    .iter()
                    .flatten()
                    .map(|o| {
                        size_of::<Output>() + name(&o.name) + o.sources.len() * size_of::<Source>()
                    })
                    .sum::<usize>()
                + s.calls
                    .iter()
                    .map(|c| size_of::<Call>() + c.name.len() + name(&c.schema))
                    .sum::<usize>()
                + s.meets.iter().map(|m| size_of::<Meets>() + m.name.len()).sum::<usize>()
                + s.fills
                    .iter()
                    .map(|f| {
                        size_of::<Fill>() + name(&f.column) + f.sources.len() * size_of::<Source>()
                    })
                    .sum::<usize>()
                + s.session.len() * 64
                + s.doubts.len() * 96
        })
    }
}

/// The one language besides SQL whose bodies are read.
pub const PROCEDURAL: &str = "plpgsql";

/// From so many statements on it is looked for repetitions.
const MANY: usize = 64;

#[cfg(test)]
mod tests;
