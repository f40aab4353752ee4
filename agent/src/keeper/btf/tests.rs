use super::*;

#[test]
fn this_kernels_task_is_found() {
    let types = Types::of_this_kernel().expect("the kernel has type information");
    for member in ["mm", "group_leader", "self_exec_id"] {
        assert!(types.offset("task_struct", member).is_some_and(|offset| offset > 0), "{member}");
    }
    let start = types.offset("mm_struct", "arg_start").unwrap();
    assert_eq!(types.offset("mm_struct", "arg_end"), Some(start + 8));
    assert_eq!(types.offset("task_struct", "no_such_member"), None);
    assert_eq!(types.offset("no_such_struct", "mm"), None);
}

#[test]
fn foreign_bytes_are_no_types() {
    assert!(Types::parse(vec![]).is_none());
    assert!(Types::parse(vec![0x9f, 0xeb, 1, 0, 0xff, 0xff, 0xff, 0xff]).is_none());
}
