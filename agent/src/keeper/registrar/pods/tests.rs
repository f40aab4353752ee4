use std::os::unix::fs::symlink;

use super::*;
use crate::identity::token::tests::{POD, token};

/// A node's folders, which go with it.
struct Node(PathBuf);

impl Node {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("tidegate-node-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("logs")).unwrap();
        Self(folder)
    }

    fn pods(&self) -> Pods {
        Pods::new(self.0.join("kubelet"), self.0.join("logs"))
    }

    fn log(&self, name: &str) {
        fs::create_dir_all(self.0.join("logs").join(name)).unwrap();
    }

    /// As the kubelet lays it out: links to a folder that it swaps.
    fn volume(&self, name: &str, token: &str) -> PathBuf {
        let volume = self
            .0
            .join("kubelet/pods")
            .join(POD)
            .join("volumes/kubernetes.io~projected")
            .join(name);
        fs::create_dir_all(volume.join("..2026_11_22")).unwrap();
        fs::write(volume.join("..2026_11_22/token"), token).unwrap();
        symlink("..2026_11_22", volume.join("..data")).unwrap();
        symlink("..data/token", volume.join("token")).unwrap();
        volume
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn in_pod() -> Workload {
    let container = Some("c".into());
    Workload { pod: Some(POD.into()), container, ..Workload::default() }
}

fn account(value: &str, confidence: Confidence) -> Option<Sourced<String>> {
    Some(Sourced { value: value.into(), origin: Origin::Kubelet, confidence })
}

#[test]
fn a_pods_account_is_certain_where_the_node_knows_its_namespace() {
    let node = Node::new("pods");
    node.log("other_web-1_11111111-1111-1111-1111-111111111111");
    node.log(&format!("shop_web-5c9f_{POD}"));
    node.volume("kube-api-access-x7z2q", &token("shop", "web", POD));
    let pods = node.pods();
    let pod = pods.of(&in_pod());
    assert_eq!((pod.namespace.as_deref(), pod.name.as_deref()), (Some("shop"), Some("web-5c9f")));
    assert_eq!(pod.account, account("shop/web", Confidence::Certain));
    // A user's own pods are not this node's.
    let theirs = Workload { user_slice: Some(1000), ..in_pod() };
    assert_eq!(pods.of(&theirs), Pod::default());
    assert_eq!(pods.of(&Workload::default()), Pod::default());
}

#[test]
fn a_token_that_speaks_of_another_namespace_is_not_certain() {
    let node = Node::new("pods-other");
    node.log(&format!("shop_web-5c9f_{POD}"));
    node.volume("kube-api-access-x7z2q", &token("bank", "teller", POD));
    assert_eq!(node.pods().of(&in_pod()).account, account("bank/teller", Confidence::Likely));
    // Two that don't agree say nothing.
    node.volume("kube-api-access-aaaaa", &token("shop", "web", POD));
    assert_eq!(node.pods().of(&in_pod()).account, None);
}

#[test]
fn only_the_kubelets_own_volumes_and_files_are_read() {
    let node = Node::new("pods-own");
    node.log(&format!("shop_web-5c9f_{POD}"));
    // A volume of the pod's author; a token of another pod; a link that leads out.
    node.volume("settings", &token("shop", "web", POD));
    let other = "11111111-1111-1111-1111-111111111111";
    node.volume("kube-api-access-other", &token("shop", "web", other));
    let outside = node.0.join("outside");
    fs::write(&outside, token("shop", "web", POD)).unwrap();
    let leading_out = node.volume("kube-api-access-out", "");
    fs::remove_file(leading_out.join("token")).unwrap();
    symlink(&outside, leading_out.join("token")).unwrap();
    let pipe = node.volume("kube-api-access-pipe", "");
    fs::remove_file(pipe.join("token")).unwrap();
    std::process::Command::new("mkfifo").arg(pipe.join("token")).status().unwrap();
    let pod = node.pods().of(&in_pod());
    assert_eq!((pod.name.as_deref(), pod.account), (Some("web-5c9f"), None));
    // A uid is a folder's name, and no path.
    let wrong = Workload { pod: Some("../../pods".into()), ..in_pod() };
    assert_eq!(node.pods().of(&wrong), Pod::default());
}

#[test]
fn what_a_process_shows_itself_is_claimed() {
    let node = Node::new("pods-claimed");
    let inside = node.0.join(INSIDE);
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    // Absolute, as a container may have it: it is followed within its root.
    fs::write(node.0.join("real"), token("shop", "web", POD)).unwrap();
    symlink("/real", &inside).unwrap();
    let token = read_below(&node.0, INSIDE, ResolveFlags::IN_ROOT).unwrap();
    assert_eq!(Account::of(&token).unwrap().whole(), "shop/web");
    assert_eq!(claimed(std::process::id(), POD), None);
}
