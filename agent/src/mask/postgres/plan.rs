//! What is done to each column of a result: made once for a shape, carried out
//! for each row.

use super::cell::Rules;
use super::form::Form;
use crate::mask::catalog::Catalog;
use crate::mask::class::Class;
use crate::mask::content::Demand;
use crate::mask::lineage::{Origins, Traced};
use crate::mask::names::{self, Kind, Named};
use crate::mask::style::Mask;
use crate::wire::postgres::Column;

/// What is done to a column's cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Treatment {
    #[default]
    Pass,
    /// Each by its content.
    Scan(Demand),
    /// All of each.
    Mask {
        class: Class,
        mask: Mask,
        /// Made of a sensitive value: also a document's keys may be one.
        derived: bool,
    },
    /// A plan's text: literals may be values.
    Literals,
}

/// The names of a column, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnName<'a> {
    pub schema: &'a str,
    pub table: &'a str,
    pub column: &'a str,
}

/// The word of the policy: what is to be done to a class, in a column or
/// wherever it turns up. [`Mask::Keep`] reveals it.
pub trait Reveal {
    fn mask(&self, class: Class, column: Option<ColumnName<'_>>) -> Mask;
}

/// Nothing is revealed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrevealed;

impl Reveal for Unrevealed {
    fn mask(&self, class: Class, _column: Option<ColumnName<'_>>) -> Mask {
        class.default_mask()
    }
}

/// Everything is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Revealed;

impl Reveal for Revealed {
    fn mask(&self, _class: Class, _column: Option<ColumnName<'_>>) -> Mask {
        Mask::Keep
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    pub form: Form,
    pub binary: bool,
    pub treatment: Treatment,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) columns: Box<[ColumnPlan]>,
    pub(super) rules: Rules,
    /// For every column, where their number isn't known.
    pub(super) any: Option<ColumnPlan>,
    passes: bool,
}

impl Plan {
    /// `columns` with the format each will come in. What the origins say counts
    /// where the server doesn't name a table's column.
    pub fn of<'a>(
        columns: impl IntoIterator<Item = (Column<'a>, u16)>,
        origins: &Origins,
        catalog: &Catalog,
        reveal: &dyn Reveal,
    ) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let traced = origins.traced.as_deref().filter(|traced| traced.len() == columns.len());
        let rules = rules(traced, catalog, reveal);
        let columns = columns.into_iter().enumerate().map(|(place, (column, format))| {
            let traced = traced.and_then(|traced| traced.get(place)).unwrap_or(&origins.untold);
            let form = catalog.form(column.type_oid, column.modifier, reveal);
            let treatment = treatment(&column, &form, traced, catalog, reveal);
            ColumnPlan { form, binary: format == 1, treatment }
        });
        Self::new(columns.collect(), rules)
    }

    pub fn new(columns: Box<[ColumnPlan]>, rules: Rules) -> Self {
        let passes = columns.iter().all(|column| column.treatment == Treatment::Pass);
        Self { columns, rules, any: None, passes }
    }

    /// The lines of EXPLAIN. `touches`: the statement reads what is sensitive, or
    /// isn't understood.
    pub fn of_explain(count: usize, touches: bool, reveal: &dyn Reveal) -> Self {
        let treatment = if touches { Treatment::Literals } else { Treatment::Scan(Demand::Check) };
        let form = Form::Text { most: None, padded: false };
        let column = ColumnPlan { form, binary: false, treatment };
        Self::new(vec![column; count].into(), rules(None, &Catalog::default(), reveal))
    }

    /// COPY to the client. It has no description: what its columns are is known
    /// by the statement alone.
    pub fn of_copy(
        origins: &Origins,
        binary: bool,
        catalog: &Catalog,
        reveal: &dyn Reveal,
    ) -> Self {
        let rules = rules(origins.traced.as_deref(), catalog, reveal);
        let plan = |traced: &Traced| {
            let known = traced.origin.and_then(|(relation, number)| {
                Some((relation, number, catalog.column(relation, number)?))
            });
            let (form, column) = match known {
                Some((relation, number, known)) => (
                    catalog.form(known.type_oid, known.modifier, reveal),
                    Column {
                        name: known.name.as_bytes(),
                        table: relation,
                        attribute: i16::try_from(number).unwrap_or_default(),
                        type_oid: known.type_oid,
                        type_size: -1,
                        modifier: known.modifier,
                        format: u16::from(binary),
                    },
                ),
                None => {
                    let text = Form::Text { most: None, padded: false };
                    let column = Column {
                        name: b"",
                        table: 0,
                        attribute: 0,
                        type_oid: 0,
                        type_size: -1,
                        modifier: -1,
                        format: u16::from(binary),
                    };
                    (if binary { Form::Unknown } else { text }, column)
                }
            };
            let treatment = treatment(&column, &form, traced, catalog, reveal);
            ColumnPlan { form, binary, treatment }
        };
        match &origins.traced {
            Some(traced) if !traced.is_empty() => {
                Self::new(traced.iter().map(plan).collect(), rules)
            }
            _ => Self {
                any: Some(plan(&origins.untold)),
                passes: false,
                ..Self::new(Box::default(), rules)
            },
        }
    }

    /// Whether rows go by without being looked at.
    pub fn passes(&self) -> bool {
        self.passes
    }

    pub fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    /// What is done to what turns up outside of columns with a class.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The classes of columns that are masked whole.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        self.columns.iter().filter_map(|column| match column.treatment {
            Treatment::Mask { class, .. } => Some(class),
            _ => None,
        })
    }
}

pub(super) fn rules(traced: Option<&[Traced]>, catalog: &Catalog, reveal: &dyn Reveal) -> Rules {
    let mut rules = Rules::default();
    for (mask, class) in rules.masks.iter_mut().zip(Class::ALL) {
        *mask = reveal.mask(*class, None);
    }
    let mut shown = Vec::new();
    for traced in traced.into_iter().flatten() {
        for relation in &traced.rows_of {
            for column in catalog.relation(*relation).into_iter().flat_map(|one| &one.columns) {
                let Some((class, _)) = column.class else { continue };
                let mask = reveal.mask(class, catalog.name_of(*relation, column.number));
                match mask {
                    Mask::Keep => shown.push((column.name.as_bytes(), class)),
                    mask => keyed(&mut rules, &column.name, (class, mask)),
                }
            }
        }
        for (key, source) in traced.keys.iter().flatten() {
            let name =
                source.relation.and_then(|relation| catalog.name_of(relation, source.number));
            let mask = reveal.mask(source.class, name);
            // What may be seen here is not, by that, to be seen wherever the key occurs.
            if mask != Mask::Keep {
                keyed(&mut rules, key, (source.class, mask));
            }
        }
    }
    // A key that hides something in one place does so in all.
    for (key, class) in shown {
        rules.keys.entry(key.into()).or_insert((class, Mask::Keep));
    }
    rules
}

/// A key of the client's own choice never makes less of what stands under it: what
/// doesn't agree is masked whole.
fn keyed(rules: &mut Rules, key: &str, meant: (Class, Mask)) {
    let named = Named { column: key, kind: Kind::Text, ..Named::default() };
    let said = names::classify(&named).map(|(class, _)| class);
    let known = rules.keys.get(key.as_bytes()).copied();
    let agree = said.is_none_or(|said| said == meant.0) && known.is_none_or(|known| known == meant);
    let meant = if agree { meant } else { (Class::Opaque, Mask::Redact) };
    rules.keys.insert(key.as_bytes().into(), meant);
}

fn treatment(
    column: &Column<'_>,
    form: &Form,
    traced: &Traced,
    catalog: &Catalog,
    reveal: &dyn Reveal,
) -> Treatment {
    let label = String::from_utf8_lossy(column.name);
    let scan = || match form.can_be_scanned() {
        true if names::innocent(&label) => Treatment::Scan(Demand::Form),
        true => Treatment::Scan(Demand::Check),
        false => Treatment::Pass,
    };
    let masked = |class: Class, name: Option<ColumnName<'_>>, derived: bool| {
        match reveal.mask(class, name) {
            Mask::Keep => Treatment::Pass,
            // Part of a part, or of something else: what would stay isn't known.
            Mask::Partial | Mask::Truncate if derived => {
                Treatment::Mask { class, mask: Mask::Redact, derived }
            }
            mask => Treatment::Mask { class, mask, derived },
        }
    };
    // Where a row lies, and which transactions have made it: the server's own.
    if column.table != 0 && column.attribute < 0 {
        return Treatment::Pass;
    }
    let number = u16::try_from(column.attribute).unwrap_or_default();
    if column.table != 0
        && number != 0
        && let Some(known) = catalog.column(column.table, number)
    {
        let name = catalog.name_of(column.table, number);
        return match known.class {
            Some((class, _)) => masked(class, name, false),
            None if catalog.is_exempt(column.table, number) => Treatment::Pass,
            None if names::innocent(&known.name) && form.can_be_scanned() => {
                Treatment::Scan(Demand::Form)
            }
            None => scan(),
        };
    }
    if let Some(treatment) = of_sources(form, traced, catalog, reveal) {
        return treatment;
    }
    if traced.exempt && column.table == 0 {
        return Treatment::Pass;
    }
    if traced.certain && column.table == 0 {
        return scan();
    }
    let named = Named { column: &label, kind: form.kind(), ..Named::default() };
    match names::classify(&named) {
        Some((class, _)) => masked(class, None, false),
        None => scan(),
    }
}

/// What the sources of an output ask for; nothing where none is sensitive.
fn of_sources(
    form: &Form,
    traced: &Traced,
    catalog: &Catalog,
    reveal: &dyn Reveal,
) -> Option<Treatment> {
    // The strictest of them counts.
    let strictest = traced
        .sources
        .iter()
        .map(|source| {
            let name =
                source.relation.and_then(|relation| catalog.name_of(relation, source.number));
            (reveal.mask(source.class, name), source)
        })
        .filter(|(mask, _)| *mask != Mask::Keep)
        .max_by_key(|(mask, _)| *mask);
    let Some((mask, source)) = strictest else {
        // All that it is made of may be seen.
        return (!traced.sources.is_empty()).then_some(Treatment::Pass);
    };
    let by_key = !traced.rows_of.is_empty()
        && matches!(form, Form::Json | Form::Jsonb | Form::Composite(_) | Form::Xml);
    let documents = traced.keys.is_some() && matches!(form, Form::Json | Form::Jsonb);
    if by_key && traced.whole_rows_only || documents {
        return Some(Treatment::Scan(Demand::Check));
    }
    let class = match traced.sources.iter().all(|one| one.class == source.class) {
        true => source.class,
        false => Class::Opaque,
    };
    let derived = traced.derived || class == Class::Opaque;
    let mask = match mask {
        Mask::Partial | Mask::Truncate if derived => Mask::Redact,
        mask => mask,
    };
    Some(Treatment::Mask { class, mask, derived })
}
