use std::path::PathBuf;

use super::*;

fn place(what: &str) -> PathBuf {
    let folder = format!("tidegate-enforced-{what}-{}", std::process::id());
    std::env::temp_dir().join(folder).join("enforced.toml")
}

#[test]
fn what_is_kept_is_read_back_and_can_be_taken_out() {
    let path = place("kept");
    assert_eq!(read(&path).unwrap(), Vec::<String>::new());
    for name in ["shop.service", "/opt/\"odd\"/app"] {
        change(&path, |list| list.push(name.into())).unwrap();
    }
    assert_eq!(read(&path).unwrap(), ["shop.service", "/opt/\"odd\"/app"]);
    change(&path, |list| list.retain(|one| one != "shop.service")).unwrap();
    assert_eq!(read(&path).unwrap(), ["/opt/\"odd\"/app"]);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn what_others_can_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let path = place("writable");
    change(&path, |list| list.push("shop.service".into())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("chmod go-w"));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn mistakes_have_their_place() {
    let told = parse("enforce = [\"a\",\n \"\", 1]\nother = 2\n", "e.toml").unwrap_err();
    let told = told.to_string();
    for (place, why) in [("e.toml:2:2", "workload"), ("e.toml:2:6", "text"), ("e.toml:3", "other")]
    {
        assert!(told.lines().any(|line| line.contains(place) && line.contains(why)), "{told}");
    }
}
