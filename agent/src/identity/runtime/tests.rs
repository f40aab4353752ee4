use super::*;
use crate::identity::cgroup;

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

/// As Docker's API documents it, cut to what matters and some that doesn't.
const DOCKER: &str = r#"{"Id":"ID","Created":"2026-01-05T09:12:44.123Z","Path":"docker-entrypoint.sh","Args":["node","server.js"],"State":{"Status":"running","Running":true,"Pid":4242},"Image":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","Name":"/shop-web-1","RestartCount":0,"HostConfig":{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0}},"Config":{"Hostname":"3f4c9d6b1a2e","Tty":false,"Env":["PGPASSWORD=hunter2"],"Image":"shop/web:1.2","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web","maintainer":"x","app":"token=abc"}}}"#;

/// Podman's, and a pod's container by cri-dockerd.
const PODMAN: &str = r#"{"Id":"ID","ImageDigest":"sha256:aa","Image":"bb","ImageName":"docker.io/library/psql:15","Name":"tools","Config":{"Labels":null},"HostConfig":{"RestartPolicy":{"Name":"","MaximumRetryCount":0}}}"#;
const POD: &str = r#"{"Id":"ID","Image":"sha256:cc","Name":"/k8s_web_web-5c9f_shop_6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5_0","Config":{"Image":"sha256:cc","Labels":{"io.kubernetes.pod.name":"web-5c9f","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5","io.kubernetes.container.name":"web"}},"HostConfig":{}}"#;

fn described(json: &str) -> Workload {
    let mut workload = cgroup::of_path(&format!("/docker/{ID}"));
    describe(json.replace("ID\"", &format!("{ID}\"")).as_bytes(), &mut workload).unwrap();
    workload
}

#[test]
fn containers_are_described() {
    let docker = described(DOCKER);
    assert_eq!(docker.image.as_deref(), Some("shop/web:1.2"));
    assert!(docker.image_digest.unwrap().starts_with("sha256:9f86"));
    assert_eq!(docker.container_name.as_deref(), Some("shop-web-1"));
    assert_eq!(docker.managed, Some(true));
    assert_eq!(
        docker.labels,
        [
            ("app".to_owned(), "token=***".to_owned()),
            ("com.docker.compose.project".to_owned(), "shop".to_owned()),
            ("com.docker.compose.service".to_owned(), "web".to_owned()),
        ]
    );
    let podman = described(PODMAN);
    assert_eq!(podman.image.as_deref(), Some("docker.io/library/psql:15"));
    assert_eq!((podman.image_digest.as_deref(), podman.managed), (Some("sha256:aa"), Some(false)));
    let pod = described(POD);
    assert_eq!(
        (pod.namespace.as_deref(), pod.pod_name.as_deref()),
        (Some("shop"), Some("web-5c9f"))
    );
    assert_eq!(pod.pod.as_deref(), Some("6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5"));
    assert_eq!(pod.managed, Some(true));
}

#[test]
fn another_containers_description_is_not_taken() {
    let mut workload = cgroup::of_path(&format!("/docker/{ID}"));
    let before = workload.clone();
    for json in [r#"{"Id":"x"}"#, "{}", "[]", "null", "x", ""] {
        assert_eq!(describe(json.as_bytes(), &mut workload), Err(AnswerError::NotDescribed));
    }
    assert_eq!(workload, before);
}

#[test]
fn answers_are_read_however_they_are_cut() {
    let plain =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nabcde";
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    for answer in [plain, chunked] {
        assert_eq!(body(answer.as_bytes()).unwrap(), b"abcde");
        let needed = answer.len() - if answer == chunked { 2 } else { 0 };
        for end in 0..needed {
            assert_eq!(is_whole(&answer.as_bytes()[..end]), Ok(false), "{end} of {answer}");
        }
        assert_eq!(is_whole(&answer.as_bytes()[..needed]), Ok(true));
    }
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", AnswerError::Status(404)),
        ("SSH-2.0-x\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\n\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", AnswerError::TooLong),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", AnswerError::TooLong),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", AnswerError::NotHttp),
    ] {
        assert_eq!(body(answer.as_bytes()), Err(expected), "{answer}");
    }
    let endless = vec![b'a'; LONGEST_HEAD + 10];
    assert_eq!(body(&endless), Err(AnswerError::NotHttp));
}

#[test]
fn the_request_is_this() {
    assert_eq!(
        request("abc"),
        "GET /containers/abc/json HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
}
