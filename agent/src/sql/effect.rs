//! What a statement does, in the words that policies use. Never names a node of
//! any database's grammar.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! set {
    ($(#[$doc:meta])* $one:ident in $(#[$set_doc:meta])* $many:ident($bits:ty) {
        $($(#[$item_doc:meta])* $item:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $one { $($(#[$item_doc])* #[serde(rename = $text)] $item,)+ }

        impl $one {
            pub const ALL: &[Self] = &[$(Self::$item,)+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }
        }

        impl fmt::Display for $one {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $(#[$set_doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $many($bits);

        impl $many {
            pub const NONE: Self = Self(0);

            pub const fn of(one: $one) -> Self {
                Self(1 << one as u8)
            }

            #[must_use]
            pub const fn with(self, one: $one) -> Self {
                Self(self.0 | 1 << one as u8)
            }

            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            #[must_use]
            pub const fn without(self, one: $one) -> Self {
                Self(self.0 & !(1 << one as u8))
            }

            pub fn insert(&mut self, one: $one) {
                *self = self.with(one);
            }

            pub fn extend(&mut self, other: Self) {
                *self = self.union(other);
            }

            pub const fn contains(self, one: $one) -> bool {
                self.0 & 1 << one as u8 != 0
            }

            /// Whether everything in here is also in `other`.
            pub const fn within(self, other: Self) -> bool {
                self.0 & !other.0 == 0
            }

            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            pub fn iter(self) -> impl Iterator<Item = $one> {
                $one::ALL.iter().copied().filter(move |one| self.contains(*one))
            }
        }

        impl FromIterator<$one> for $many {
            fn from_iter<I: IntoIterator<Item = $one>>(items: I) -> Self {
                items.into_iter().fold(Self::NONE, Self::with)
            }
        }

        impl fmt::Debug for $many {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter().map($one::as_str)).finish()
            }
        }

        // Names for people, bits for pipes.
        impl Serialize for $many {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_seq(self.iter())
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $many {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    Ok(Vec::<$one>::deserialize(deserializer)?.into_iter().collect())
                } else {
                    <$bits>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

set! {
    /// One kind of action on the database.
    Effect in
    /// Everything that one statement may do.
    Effects(u16) {
        Read = "read",
        Insert = "insert",
        Update = "update",
        Delete = "delete",
        Truncate = "truncate",
        /// Rows leave in bulk (COPY … TO).
        Export = "export",
        /// Rows come in bulk (COPY … FROM).
        Import = "import",
        Create = "create",
        Alter = "alter",
        Drop = "drop",
        Grant = "grant",
        /// The server, its maintenance, its sessions, its replication.
        Administer = "administer",
        /// Code that isn't the server's own runs: it may do anything.
        Execute = "execute",
        /// Files, programs and network of the server's host.
        UnsafeIo = "unsafe_io",
        /// Not understood.
        Unknown = "unknown",
    }
}

set! {
    /// How a statement touches an object.
    Use in Uses(u8) {
        Read = "read",
        Written = "written",
        Defined = "defined",
        Granted = "granted",
        Dropped = "dropped",
        /// Locked, vacuumed, reindexed, commented …
        Maintained = "maintained",
    }
}

set! {
    /// How a statement touches a column.
    ColumnUse in ColumnUses(u8) {
        Read = "read",
        Written = "written",
        /// Decides which rows are touched, or their order or grouping.
        Filtered = "filtered",
        /// Its values, or something made of them, come back.
        Returned = "returned",
    }
}

set! {
    /// What happened to a column's value on its way to an output column.
    Step in
    /// Empty: the value comes as it is.
    Path(u16) {
        Cast = "cast",
        Function = "function",
        Aggregate = "aggregate",
        Window = "window",
        Operator = "operator",
        /// CASE, COALESCE, GREATEST …: also a condition shows.
        Conditional = "conditional",
        /// Through a scalar subquery or EXISTS.
        Subquery = "subquery",
        /// As part of its whole row.
        WholeRow = "whole_row",
        /// Into a row, an array, a document.
        Composite = "composite",
        /// A part of a row, an array or a document was picked, or its parts have other names.
        Part = "part",
        /// Under a key that is written in the text: see [`super::facts::Statement::keys`].
        Document = "document",
        /// UNION, INTERSECT, EXCEPT or VALUES.
        SetOperation = "set_operation",
        /// Which column it was could not be followed.
        Unknown = "unknown",
    }
}

impl Effects {
    /// Changes of data or of what is stored.
    pub fn writes(self) -> bool {
        let write = Self::of(Effect::Insert)
            .with(Effect::Update)
            .with(Effect::Delete)
            .with(Effect::Truncate)
            .with(Effect::Import)
            .with(Effect::Create)
            .with(Effect::Alter)
            .with(Effect::Drop)
            .with(Effect::Grant);
        self.iter().any(|effect| write.contains(effect))
    }

    /// Changes of what the database's catalog says.
    pub fn define(self) -> bool {
        [Effect::Create, Effect::Alter, Effect::Drop].iter().any(|one| self.contains(*one))
    }

    /// Nothing but reading.
    pub fn is_pure_read(self) -> bool {
        self.within(Self::of(Effect::Read))
    }
}
