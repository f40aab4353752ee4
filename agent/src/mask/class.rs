//! The kinds of sensitive data, with what is done to each unless a policy says
//! otherwise.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::style::Mask;

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident = $text:literal, $mask:ident, $shape:literal;)+) => {
        /// What a value is of a person, or of a secret.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])* #[serde(rename = $text)] $class,)+ }

        impl Class {
            pub const ALL: &[Self] = &[$(Self::$class,)+];
            pub const COUNT: usize = Self::ALL.len();

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$class => $text,)+ }
            }

            /// What is done to it where nobody has said anything.
            pub fn default_mask(self) -> Mask {
                match self { $(Self::$class => Mask::$mask,)+ }
            }

            /// Whether a value alone, without its column's name, can give it away.
            pub fn has_shape(self) -> bool {
                match self { $(Self::$class => $shape,)+ }
            }
        }
    };
}

classes! {
    Email = "email", Partial, true;
    Phone = "phone", Partial, true;
    PersonName = "person_name", Partial, false;
    PostalAddress = "postal_address", Redact, false;
    BirthDate = "birth_date", Truncate, false;
    UsSsn = "us_ssn", Partial, true;
    UsItin = "us_itin", Partial, true;
    UkNino = "uk_nino", Partial, true;
    UkNhs = "uk_nhs", Partial, true;
    DeTaxId = "de_tax_id", Partial, true;
    FrNir = "fr_nir", Partial, true;
    EsDni = "es_dni", Partial, true;
    ItFiscalCode = "it_fiscal_code", Partial, true;
    NlBsn = "nl_bsn", Partial, false;
    PlPesel = "pl_pesel", Partial, true;
    BeNrn = "be_nrn", Partial, true;
    ChAhv = "ch_ahv", Partial, true;
    DkCpr = "dk_cpr", Partial, true;
    NoFnr = "no_fnr", Partial, true;
    FiHetu = "fi_hetu", Partial, true;
    SePersonnummer = "se_personnummer", Partial, true;
    BrCpf = "br_cpf", Partial, true;
    BrCnpj = "br_cnpj", Partial, true;
    MxCurp = "mx_curp", Partial, true;
    InAadhaar = "in_aadhaar", Partial, true;
    InPan = "in_pan", Partial, true;
    AuTfn = "au_tfn", Partial, true;
    AuMedicare = "au_medicare", Partial, true;
    CaSin = "ca_sin", Partial, true;
    SgNric = "sg_nric", Partial, true;
    KrRrn = "kr_rrn", Partial, true;
    CnId = "cn_id", Partial, true;
    ZaId = "za_id", Partial, true;
    /// A number of a state's that isn't told apart any further.
    NationalId = "national_id", Partial, false;
    Passport = "passport", Partial, false;
    DrivingLicence = "driving_licence", Partial, false;
    CreditCard = "credit_card", Partial, true;
    CardVerification = "card_verification", Redact, false;
    Iban = "iban", Partial, true;
    BankAccount = "bank_account", Partial, false;
    RoutingNumber = "routing_number", Partial, false;
    IpAddress = "ip_address", Truncate, true;
    MacAddress = "mac_address", Truncate, true;
    GeoPosition = "geo_position", Truncate, true;
    Diagnosis = "diagnosis", Redact, false;
    MedicalRecord = "medical_record", Partial, false;
    Npi = "npi", Partial, false;
    /// Faith, origin, politics, union, sexual life.
    SpecialCategory = "special_category", Redact, false;
    Username = "username", Partial, false;
    Password = "password", Redact, true;
    PasswordHash = "password_hash", Redact, true;
    ApiKey = "api_key", Redact, true;
    Jwt = "jwt", Redact, true;
    PrivateKey = "private_key", Redact, true;
    ConnectionString = "connection_string", Redact, true;
    /// Made of something sensitive in a way that can't be followed.
    Opaque = "opaque", Redact, false;
}

impl Class {
    /// Its name for policies, with the groups that it is in: a word on `person` or
    /// on `person.id` counts for `person.id.us_ssn` too.
    pub fn path(self) -> String {
        match self.group() {
            "" => self.as_str().to_owned(),
            group => format!("{group}.{self}"),
        }
    }

    fn group(self) -> &'static str {
        use Class as C;
        match self {
            C::Email
            | C::Phone
            | C::PersonName
            | C::PostalAddress
            | C::BirthDate
            | C::IpAddress
            | C::MacAddress
            | C::GeoPosition
            | C::SpecialCategory
            | C::Username => "person",
            C::CreditCard | C::CardVerification | C::Iban | C::BankAccount | C::RoutingNumber => {
                "finance"
            }
            C::Diagnosis | C::MedicalRecord | C::Npi => "health",
            C::Password
            | C::PasswordHash
            | C::ApiKey
            | C::Jwt
            | C::PrivateKey
            | C::ConnectionString => "secret",
            C::Opaque => "",
            _ => "person.id",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .iter()
            .copied()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| UnknownClass(text.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no class is called `{0}`: `email`, `phone` and `us_ssn` are some that are")]
pub struct UnknownClass(Box<str>);

/// How often each class was masked: for the record. Holds no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Class::COUNT],
    /// Cells of a type that is not known, made NULL.
    pub unknown_types: u64,
    /// What was counted last.
    pub last: Option<Class>,
}

impl Tally {
    #[inline]
    pub fn add(&mut self, class: Class) {
        self.last = Some(class);
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count = count.saturating_add(1);
        }
    }

    pub fn add_many(&mut self, class: Class, many: u64) {
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count = count.saturating_add(many);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.unknown_types = self.unknown_types.saturating_add(other.unknown_types);
    }

    pub fn count(&self, class: Class) -> u64 {
        self.counts.get(class as usize).copied().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.unknown_types == 0 && self.counts.iter().all(|count| *count == 0)
    }

    /// The classes that were met, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        Class::ALL.iter().map(|class| (*class, self.count(*class))).filter(|(_, count)| *count > 0)
    }

    /// What was counted since the last time this was asked.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; Class::COUNT], unknown_types: 0, last: None }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(class, count)| (class.as_str(), count))).finish()
    }
}
