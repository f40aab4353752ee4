use super::*;

#[test]
fn the_lists_hold_what_they_should() {
    assert_eq!(function("count").unwrap().kind, FunctionKind::Aggregate);
    assert_eq!(function("row_number").unwrap().kind, FunctionKind::Window);
    assert!(function("random").unwrap().volatile);
    assert!(!function("lower").unwrap().volatile);
    assert_eq!(function("uuidv7").unwrap().since, 18);
    assert_eq!(function("dblink"), None);
    assert_eq!(function("range_agg").unwrap().kind, FunctionKind::Aggregate);
    assert_eq!(function("multirange").unwrap().since, 14);
    assert_eq!(data_type("int4multirange"), Some(14));
    assert_eq!(function("pg_backup_stop").map(|one| (one.since, one.volatile)), Some((15, true)));
    assert!(information_schema_function("_pg_expandarray"));
    assert_eq!(function("_pg_expandarray"), None);
    assert!(operator("~~*") && !operator("<+>"));
    assert!(data_type("jsonb") == Some(13) && data_type("citext").is_none());
    assert!(FUNCTIONS.len() > 2_500, "{}", FUNCTIONS.len());
}

#[test]
fn every_volatile_builtin_that_reaches_out_has_a_class() {
    // Files, programs, logs, slots: by the words in their names.
    let words = ["file", "_ls_", "replication", "backup", "logical_slot", "lo_im", "lo_ex"];
    let harmless = [
        "pg_relation_filenode",
        "pg_relation_filepath",
        "pg_filenode_relation",
        "pg_replication_origin_progress",
    ];
    for (name, function) in FUNCTIONS.iter() {
        if function.volatile
            && words.iter().any(|word| name.contains(word))
            && !harmless.contains(name)
            // What it shows is part of monitoring views.
            && !name.starts_with("pg_stat_get") && !name.starts_with("pg_show_replication")
            && !name.starts_with("pg_get_") && !name.starts_with("pg_walfile")
        {
            assert_ne!(class(name), CallClass::Plain, "{name}");
        }
    }
}
