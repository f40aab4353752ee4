//! How values of PostgreSQL's types are written, in text and in binary.

use std::sync::Arc;

use super::plan::Treatment;
use crate::mask::names::Kind;

/// What a value's bytes mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Text, the same in both formats; at most so many signs.
    Text {
        most: Option<u32>,
        padded: bool,
    },
    /// One of the type's own words.
    Enum,
    Bool,
    Int(u8),
    Float(u8),
    Numeric,
    Money,
    Date,
    /// With or without a zone.
    Timestamp,
    Time,
    TimeZone,
    Interval,
    Uuid,
    Network,
    Mac(u8),
    Bytes,
    Json,
    /// With a version byte in binary.
    Jsonb,
    Xml,
    Hstore,
    Bits,
    /// Numbers with a double for each, behind so many bytes.
    Points(u8),
    Range,
    Multirange,
    /// Words of a text search, or a search for them.
    Search {
        query: bool,
    },
    Array(Arc<Element>),
    Composite(Arc<[Field]>),
    /// Fields of types that each value names itself.
    Record,
    /// Can't hold anything of a person: OIDs, transaction ids, names of objects.
    Inert,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    pub form: Form,
    /// What stands between two elements: a comma, for `box` a semicolon.
    pub between: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    pub form: Form,
    /// What is done to it where nothing is said of the whole.
    pub treatment: Treatment,
}

impl Form {
    /// The server's own types. `modifier` as RowDescription has it.
    pub fn of_base(oid: u32, modifier: i32) -> Option<Self> {
        let most = u32::try_from(modifier).ok().and_then(|modifier| modifier.checked_sub(4));
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            // "char" is one byte: no sign of ours fits for certain.
            18 => Self::Inert,
            19 => Self::Text { most: Some(63), padded: false },
            20 => Self::Int(8),
            21 => Self::Int(2),
            23 => Self::Int(4),
            25 | 705 | 2275 | 1790 | 4072 => Self::Text { most: None, padded: false },
            1043 => Self::Text { most, padded: false },
            1042 => Self::Text { most, padded: true },
            114 => Self::Json,
            3802 => Self::Jsonb,
            142 => Self::Xml,
            700 => Self::Float(4),
            701 => Self::Float(8),
            1700 => Self::Numeric,
            790 => Self::Money,
            1082 => Self::Date,
            1114 | 1184 => Self::Timestamp,
            1083 => Self::Time,
            1266 => Self::TimeZone,
            1186 => Self::Interval,
            2950 => Self::Uuid,
            869 | 650 => Self::Network,
            829 => Self::Mac(6),
            774 => Self::Mac(8),
            1560 | 1562 => Self::Bits,
            600 | 601 | 603 | 718 => Self::Points(0),
            602 => Self::Points(5),
            604 => Self::Points(4),
            3904 | 3906 | 3908 | 3910 | 3912 | 3926 => Self::Range,
            4451 | 4532 | 4533 | 4534 | 4535 | 4536 => Self::Multirange,
            3614 => Self::Search { query: false },
            3615 => Self::Search { query: true },
            2249 => Self::Record,
            // oid, tid, xid, cid, xid8, pg_lsn, snapshots, regproc and its kin, void, aclitem.
            24
            | 26..=29
            | 2202..=2206
            | 2278
            | 2970
            | 3220
            | 3734
            | 3769
            | 4089
            | 4096
            | 4191
            | 5038
            | 5069
            | 1033 => Self::Inert,
            // oidvector, int2vector: texts of numbers; arrays in binary.
            22 | 30 => Self::Inert,
            2277 => Self::array(Self::Unknown, 0),
            _ => return Self::of_base_array(oid, modifier),
        })
    }

    fn of_base_array(oid: u32, modifier: i32) -> Option<Self> {
        let element = match oid {
            1000 => 16,
            1001 => 17,
            1002 => 18,
            1003 => 19,
            1005 => 21,
            1007 => 23,
            1008 => 24,
            1009 => 25,
            1010 => 27,
            1011 => 28,
            1012 => 29,
            1013 => 30,
            1014 => 1042,
            1015 => 1043,
            1016 => 20,
            1017 => 600,
            1018 => 601,
            1019 => 602,
            1020 => 603,
            1021 => 700,
            1022 => 701,
            1027 => 604,
            719 => 718,
            1028 => 26,
            1034 => 1033,
            1040 => 829,
            775 => 774,
            1041 => 869,
            651 => 650,
            1115 => 1114,
            1182 => 1082,
            1183 => 1083,
            1185 => 1184,
            1187 => 1186,
            1231 => 1700,
            1263 => 2275,
            1270 => 1266,
            1561 => 1560,
            1563 => 1562,
            143 => 142,
            199 => 114,
            3807 => 3802,
            791 => 790,
            2951 => 2950,
            2201 => 1790,
            3643 => 3614,
            3645 => 3615,
            4073 => 4072,
            3905 => 3904,
            3907 => 3906,
            3909 => 3908,
            3911 => 3910,
            3913 => 3912,
            3927 => 3926,
            2287 => 2249,
            _ => return None,
        };
        Self::of_base(element, modifier).map(|form| Self::array(form, element))
    }

    pub(in crate::mask) fn array(form: Self, element: u32) -> Self {
        let between = if element == 603 { b';' } else { b',' };
        Self::Array(Arc::new(Element { form, between }))
    }

    /// What a name may mean for a column of this form.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } | Self::Xml | Self::Enum | Self::Search { .. } => Kind::Text,
            Self::Bool => Kind::Bool,
            Self::Int(_) | Self::Money => Kind::Integer,
            Self::Float(_) | Self::Numeric => Kind::Decimal,
            Self::Date => Kind::Date,
            Self::Timestamp | Self::Time | Self::TimeZone | Self::Interval => Kind::Time,
            Self::Uuid => Kind::Uuid,
            Self::Network => Kind::Network,
            Self::Mac(_) => Kind::Mac,
            Self::Json | Self::Jsonb | Self::Hstore => Kind::Json,
            Self::Bytes => Kind::Bytes,
            Self::Points(_) => Kind::Geometry,
            Self::Array(element) => element.form.kind(),
            Self::Range | Self::Multirange => Kind::Date,
            Self::Inert => Kind::Bool,
            Self::Bits | Self::Composite(_) | Self::Record | Self::Unknown => Kind::Other,
        }
    }

    /// Whether its content may hold something that can be told by itself.
    pub fn can_be_scanned(&self) -> bool {
        match self {
            Self::Bool
            | Self::Int(2 | 4)
            | Self::Float(_)
            | Self::Money
            | Self::Date
            | Self::Timestamp
            | Self::Time
            | Self::TimeZone
            | Self::Interval
            | Self::Uuid
            | Self::Bits
            | Self::Points(_)
            | Self::Range
            | Self::Multirange
            | Self::Enum
            | Self::Inert => false,
            Self::Array(element) => element.form.can_be_scanned(),
            Self::Composite(fields) => {
                fields.iter().any(|field| field.treatment != Treatment::Pass)
            }
            _ => true,
        }
    }
}
