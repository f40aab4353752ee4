//! Functions and operators of widely used extensions that compute and do no more.
//!
//! By name alone: whoever can make a function of such a name has been allowed to
//! make functions. Only policies decide what it is worth; it never turns a call
//! into a read.

/// Whether a function or an operator is known to only compute.
pub(super) fn computes(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// PostGIS.
const PREFIXES: &[&str] = &["st_"];

const NAMES: &[&str] = &[
    // pgvector
    "<->",
    "<=>",
    "<#>",
    "<+>",
    "<~>",
    "<%>",
    "binary_quantize",
    "cosine_distance",
    "hamming_distance",
    "inner_product",
    "jaccard_distance",
    "l1_distance",
    "l2_distance",
    "l2_norm",
    "l2_normalize",
    "subvector",
    "vector_dims",
    "vector_norm",
    // pg_trgm, fuzzystrmatch, unaccent
    "%>",
    "%>>",
    "<%",
    "<<%",
    "<<->",
    "<->>",
    "<<<->",
    "<->>>",
    "daitch_mokotoff",
    "difference",
    "dmetaphone",
    "dmetaphone_alt",
    "levenshtein",
    "levenshtein_less_equal",
    "metaphone",
    "show_trgm",
    "similarity",
    "soundex",
    "strict_word_similarity",
    "unaccent",
    "word_similarity",
    // uuid-ossp, pgcrypto
    "crypt",
    "digest",
    "gen_random_bytes",
    "gen_salt",
    "hmac",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v3",
    "uuid_generate_v4",
    "uuid_generate_v5",
    "uuid_nil",
    "uuid_ns_dns",
    "uuid_ns_oid",
    "uuid_ns_url",
    "uuid_ns_x500",
    // hstore, ltree, intarray
    "akeys",
    "avals",
    "each",
    "hstore",
    "hstore_to_json",
    "hstore_to_jsonb",
    "idx",
    "index",
    "lca",
    "ltree2text",
    "nlevel",
    "skeys",
    "subltree",
    "subpath",
    "svals",
    "text2ltree",
    // timescaledb
    "time_bucket",
    "time_bucket_gapfill",
];
