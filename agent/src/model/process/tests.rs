use super::*;
use crate::model::samples;

fn names(change: impl FnOnce(&mut Process)) -> Vec<String> {
    let mut process = samples::flow().process;
    process.exe = Some("/opt/shop/web".into());
    process.workload = Workload::default();
    change(&mut process);
    process.names().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_workload_is_called_by_its_unit_its_image_or_its_executable() {
    assert_eq!(names(|_| ()), ["/opt/shop/web"]);
    let unit = |process: &mut Process| process.workload.unit = Some("shop.service".into());
    assert_eq!(names(unit), ["shop.service", "/opt/shop/web"]);
    let contained = |process: &mut Process| {
        // The host's unit is the runtime's, not the service's.
        process.workload.unit = Some("docker-3f.scope".into());
        process.workload.container = Some("3f".into());
        process.workload.image = Some("hub.example:5000/shop/web:1".into());
    };
    assert_eq!(
        names(contained),
        ["hub.example:5000/shop/web:1", "hub.example:5000/shop/web", "/opt/shop/web"]
    );
}

#[test]
fn what_a_user_s_own_runtime_says_is_no_name() {
    let mine = |process: &mut Process| {
        process.workload.user_slice = Some(1000);
        process.workload.unit = Some("shop.service".into());
        process.workload.image = Some("shop/web:1".into());
    };
    assert_eq!(names(mine), ["/opt/shop/web"]);
}
