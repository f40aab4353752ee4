use super::*;
use crate::identity::cgroup;
use crate::model::Qos;

/// What real runtimes answered: containerd 1.6.20, Docker 20.10.24, Podman 4.3.1.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name)).as_slice()
    };
}

const POD: &str = include_str!("../cgroup/fixtures/containerd-pod");
const DOCKER: &str = include_str!("../cgroup/fixtures/docker");
const PODMAN: &str = include_str!("../cgroup/fixtures/podman");
/// Started by `ctr`, in its default namespace.
const PLAIN: &str = "/default/f9d35d43770d39092a663e665e82ae1d84a9e0da3d0d10c407acada6a40cd281";

const IMAGE_ID: &str = "sha256:8d91125a741b5eb4b6a91d0d325a9fb429e80932200c1566e5d9e5c0439696b9";
const IMPORTED: &str = "sha256:9770eb0956afe20e94248ecd7c553ecfb29cca18df9b31c66384b5373afe3008";
const PULLED: &str = "sha256:5cc6976f382da72ed8d297620b031a1fb1c1eb28e6d39faeb84f726803bf4d0f";

const LIST: &str = "/runtime.v1.RuntimeService/ListContainers";
const SANDBOX: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const IMAGE: &str = "/runtime.v1.ImageService/ImageStatus";
const PLAIN_CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";
const PLAIN_IMAGE: &str = "/containerd.services.images.v1.Images/Get";

/// By the question that they answer.
type Answers = &'static [(&'static str, &'static [u8])];

const CONTAINERD: Answers = &[
    (LIST, recorded!("containerd-containers.bin")),
    (SANDBOX, recorded!("containerd-sandbox.bin")),
    (IMAGE, recorded!("containerd-image.bin")),
];
const NOT_THE_KUBELETS: Answers = &[
    (LIST, recorded!("containerd-nobody.bin")),
    (PLAIN_CONTAINER, recorded!("containerd-plain.bin")),
    (PLAIN_IMAGE, recorded!("containerd-plain-image.bin")),
];
const DOCKERS: Answers = &[
    ("/containers/", recorded!("docker-container.http")),
    ("/images/sha256:8d91125a", recorded!("docker-image.http")),
];
const PODMANS: Answers = &[
    ("/containers/", recorded!("podman-container.http")),
    ("/images/sha256:8d91125a", recorded!("podman-image.http")),
];

/// What comes of an answer that arrives in such pieces, and then no more.
fn heard(question: &Question, answer: &[u8], pieces: usize) -> Result<Vec<u8>, AnswerError> {
    let mut exchange = question.exchange();
    for piece in answer.chunks(pieces) {
        if let Heard::All(answer) = exchange.take(piece)? {
            return Ok(answer);
        }
    }
    Err(AnswerError::Short)
}

fn name(question: &Question) -> &str {
    match question {
        Question::Http(path) => path,
        Question::Grpc { method, .. } => method,
    }
}

/// A runtime that answers as was recorded, and where nothing was, never.
fn as_recorded(
    tongue: Tongue,
    answers: &[(&str, &[u8])],
    workload: &Workload,
) -> Result<Described, AnswerError> {
    tongue.describe(workload, &mut |question| {
        let answer = answers.iter().find(|(of, _)| name(question).starts_with(of));
        let (_, answer) = answer.ok_or_else(|| AnswerError::Silent(name(question).into()))?;
        heard(question, answer, 1000)
    })
}

fn whole(tongue: Tongue, answers: &[(&str, &[u8])], workload: &Workload) -> Workload {
    let described = as_recorded(tongue, answers, workload).unwrap();
    assert!(described.whole);
    described.workload
}

fn pairs<'t>(labels: &[(&'t str, &'t str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_pods_container_as_containerd_tells_it() {
    let told = whole(Tongue::Cri, CONTAINERD, &cgroup::of_process(POD));
    assert_eq!(told.image.as_deref(), Some("registry.example/shop/web:1.2"));
    assert_eq!(told.image_digest.as_deref(), Some(IMPORTED));
    assert_eq!(told.image_id.as_deref(), Some(IMAGE_ID));
    assert_eq!(told.container_name.as_deref(), Some("web"));
    assert_eq!(told.pod_name.as_deref(), Some("web-5c9f"));
    assert_eq!(told.namespace.as_deref(), Some("shop"));
    assert_eq!(told.pod.as_deref(), Some("6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5"));
    assert_eq!((told.qos, told.managed), (Some(Qos::Burstable), Some(true)));
    // The pod's labels, and the container's.
    assert_eq!(
        told.labels,
        pairs(&[("app", "web"), ("io.kubernetes.container.name", "web"), ("team", "shop")])
    );
}

#[test]
fn a_container_without_a_pod_is_asked_of_containerd_itself() {
    let told = whole(Tongue::Cri, NOT_THE_KUBELETS, &cgroup::of_path(PLAIN));
    assert_eq!(told.image.as_deref(), Some("registry.example/shop/web:1.2"));
    assert_eq!(told.image_digest.as_deref(), Some(IMPORTED));
    assert_eq!(told.container_name.as_deref(), Some("tools"));
    assert_eq!((told.managed, told.pod_name), (Some(true), None));
    assert_eq!(
        told.labels,
        pairs(&[
            ("com.docker.compose.project", "shop"),
            ("org.opencontainers.image.version", "1.2"),
            ("team", "shop")
        ])
    );
    // A pod's never is: it would be another's of the same id.
    let mut asked = Vec::new();
    let refused = Tongue::Cri.describe(&cgroup::of_process(POD), &mut |question| {
        asked.push(name(question).to_owned());
        heard(question, recorded!("containerd-nobody.bin"), 97)
    });
    assert_eq!((refused, asked), (Err(AnswerError::NotDescribed), vec![LIST.to_owned()]));
}

#[test]
fn a_container_as_docker_tells_it() {
    let told = whole(Tongue::Docker, DOCKERS, &cgroup::of_process(DOCKER));
    assert_eq!(told.image.as_deref(), Some("127.0.0.1:5000/shop/web:1.2"));
    // The digest of the registry's manifest, and not the id of what lies here.
    assert_eq!(told.image_digest.as_deref(), Some(PULLED));
    assert_eq!(told.image_id.as_deref(), Some(IMAGE_ID));
    assert_eq!(told.container_name.as_deref(), Some("shop-web-1"));
    assert_eq!((told.managed, told.runtime.as_deref()), (Some(true), Some("docker")));
    assert_eq!(
        told.labels,
        pairs(&[
            ("app", "token=***"),
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "web"),
            ("org.opencontainers.image.version", "1.2"),
            ("team", "shop")
        ])
    );
}

#[test]
fn a_container_as_podman_tells_it() {
    let told = whole(Tongue::Docker, PODMANS, &cgroup::of_process(PODMAN));
    assert_eq!(told.image.as_deref(), Some("127.0.0.1:5000/shop/web:1.2"));
    assert_eq!(told.image_digest.as_deref(), Some(PULLED));
    assert_eq!(told.image_id.as_deref(), Some(IMAGE_ID));
    assert_eq!(told.container_name.as_deref(), Some("tools"));
    assert_eq!((told.managed, told.runtime.as_deref()), (Some(false), Some("podman")));
}

#[test]
fn a_pods_container_as_docker_tells_it() {
    // By cri-dockerd's labels; this one was written, not recorded.
    let id = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
    let json = format!(
        r#"{{"Id":"{id}","Name":"/k8s_web_web-5c9f_shop_6a1f2c3d_0","Config":{{"Image":"{IMAGE_ID}","Labels":{{"io.kubernetes.pod.name":"web-5c9f","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5"}}}},"HostConfig":{{}}}}"#
    );
    let workload = cgroup::of_path(&format!("/docker/{id}"));
    let told = Tongue::Docker.describe(&workload, &mut |_| Ok(json.clone().into_bytes())).unwrap();
    let told = told.workload;
    assert_eq!(
        (told.pod_name.as_deref(), told.namespace.as_deref()),
        (Some("web-5c9f"), Some("shop"))
    );
    assert_eq!(told.pod.as_deref(), Some("6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5"));
    assert_eq!(told.managed, Some(true));
}

#[test]
fn what_a_runtime_does_not_know_describes_nothing() {
    let docker = cgroup::of_process(DOCKER);
    for answers in [recorded!("docker-nobody.http"), recorded!("podman-nobody.http")] {
        let told = as_recorded(Tongue::Docker, &[("/", answers)], &docker);
        assert_eq!(told, Err(AnswerError::Status(404)));
    }
    let pod = cgroup::of_process(POD);
    let told = as_recorded(Tongue::Cri, &[("/", recorded!("containerd-nobody.bin"))], &pod);
    assert_eq!(told, Err(AnswerError::NotDescribed));
    let told = as_recorded(Tongue::Cri, &[("/", recorded!("containerd-refused.bin"))], &pod);
    assert_eq!(told, Err(AnswerError::Refused(5)));
}

#[test]
fn another_containers_description_is_not_taken() {
    let mut docker = cgroup::of_process(DOCKER);
    let mut pod = cgroup::of_process(POD);
    for workload in [&mut docker, &mut pod] {
        let id = workload.container.take().unwrap();
        workload.container = Some(id.replace('1', "2"));
    }
    assert_eq!(as_recorded(Tongue::Docker, DOCKERS, &docker), Err(AnswerError::NotDescribed));
    assert_eq!(as_recorded(Tongue::Cri, CONTAINERD, &pod), Err(AnswerError::NotDescribed));
    let plain = cgroup::of_path(&PLAIN.replace('1', "2"));
    assert_eq!(as_recorded(Tongue::Cri, NOT_THE_KUBELETS, &plain), Err(AnswerError::NotDescribed));
    for json in [r#"{"Id":"x"}"#, "{}", "[]", "null", "x", ""] {
        let told = Tongue::Docker.describe(&docker, &mut |_| Ok(json.as_bytes().to_vec()));
        assert_eq!(told, Err(AnswerError::NotDescribed), "{json}");
    }
}

#[test]
fn what_is_told_stays_when_the_rest_is_not() {
    // The image was removed: there is none to speak of.
    let gone = [DOCKERS[0], ("/images/", recorded!("docker-nobody.http"))];
    let docker = whole(Tongue::Docker, &gone, &cgroup::of_process(DOCKER));
    assert_eq!((docker.image_digest, docker.image_id.as_deref()), (None, Some(IMAGE_ID)));
    assert_eq!(docker.container_name.as_deref(), Some("shop-web-1"));
    // No answer in time: it isn't whole, and will be asked again sooner.
    let slow = as_recorded(Tongue::Docker, &DOCKERS[..1], &cgroup::of_process(DOCKER)).unwrap();
    assert!(!slow.whole && slow.workload.image_id.is_some());
    let pod = as_recorded(Tongue::Cri, &CONTAINERD[..1], &cgroup::of_process(POD)).unwrap();
    assert!(!pod.whole);
    // The container's own labels name its pod too.
    assert_eq!(pod.workload.pod_name.as_deref(), Some("web-5c9f"));
    assert_eq!(pod.workload.image_id.as_deref(), Some(IMAGE_ID));
}

/// Every recorded answer, with a question that it answers.
fn all() -> Vec<(Tongue, Answers, Workload)> {
    vec![
        (Tongue::Cri, CONTAINERD, cgroup::of_process(POD)),
        (Tongue::Cri, NOT_THE_KUBELETS, cgroup::of_path(PLAIN)),
        (Tongue::Docker, DOCKERS, cgroup::of_process(DOCKER)),
        (Tongue::Docker, PODMANS, cgroup::of_process(PODMAN)),
    ]
}

fn asked(tongue: Tongue) -> Question {
    match tongue {
        Tongue::Docker => Question::Http("/x".into()),
        Tongue::Cri => Question::Grpc { method: "/x", message: Vec::new(), namespace: None },
    }
}

#[test]
fn answers_are_read_however_they_are_cut() {
    for (tongue, answers, _) in all() {
        for (name, answer) in answers {
            let question = asked(tongue);
            let at_once = heard(&question, answer, usize::MAX).unwrap();
            for pieces in [1, 2, 3, 7, 64, 1000] {
                assert_eq!(heard(&question, answer, pieces).as_ref(), Ok(&at_once), "{name}");
            }
            // The last chunk of HTTP's has an empty line behind it.
            for end in 0..answer.len() - 2 {
                let torn = heard(&question, &answer[..end], usize::MAX);
                assert_eq!(torn, Err(AnswerError::Short), "{name} {end}");
            }
        }
    }
}

#[test]
fn no_flipped_bit_makes_it_another_containers() {
    let mut described = 0;
    for (tongue, answers, workload) in all() {
        for (at, (name, answer)) in answers.iter().enumerate() {
            for bit in 0..answer.len() * 8 {
                let mut flipped = answer.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let mut with = answers.to_vec();
                with[at] = (*name, &flipped);
                // All are read; some, of each of a byte's bits, are also taken for what
                // they say.
                let some = if answer.len() < 700 { 7 } else { 211 };
                let heard = heard(&asked(tongue), &flipped, usize::MAX);
                if heard.is_err() || bit % some != 0 {
                    continue;
                }
                let Ok(told) = as_recorded(tongue, &with, &workload) else { continue };
                described += 1;
                let told = told.workload;
                assert_eq!(told.container, workload.container);
                assert!(told.labels.len() <= MOST_LABELS);
                for text in [told.image, told.container_name, told.pod_name, told.namespace] {
                    assert!(text.is_none_or(|text| text.chars().count() <= LONGEST_VALUE));
                }
                for digest in [told.image_digest, told.image_id] {
                    assert!(digest.is_none_or(|digest| is_digest(&digest)));
                }
            }
        }
    }
    assert!(described > 500, "{described}");
}

#[test]
fn a_socket_is_asked_as_its_name_says() {
    for (socket, tongue) in [
        ("/run/containerd/containerd.sock", Tongue::Cri),
        ("/run/k3s/containerd/containerd.sock", Tongue::Cri),
        ("/run/crio/crio.sock", Tongue::Cri),
        ("/run/cri-dockerd.sock", Tongue::Cri),
        ("/run/docker.sock", Tongue::Docker),
        ("/run/podman/podman.sock", Tongue::Docker),
        ("/run/containerd/docker.sock", Tongue::Docker),
    ] {
        assert_eq!(Tongue::of(Path::new(socket)), tongue, "{socket}");
    }
    for (socket, runtime) in [
        ("/run/k0s/containerd.sock", Some("containerd")),
        ("/run/crio/crio.sock", Some("cri-o")),
        ("/run/cri-dockerd.sock", Some("docker")),
        ("/run/podman/podman.sock", Some("podman")),
        ("/run/docker.sock", Some("docker")),
        ("/run/containerd/other.sock", None),
    ] {
        assert_eq!(Tongue::runtime(Path::new(socket)), runtime, "{socket}");
    }
}

#[test]
fn the_digest_is_that_of_the_name_it_was_started_by() {
    let of = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
    let references =
        [format!("a.example/x@{}", of('a')), format!("b.example:5000/x@{}", of('b')), of('c')];
    let found = |image: Option<&str>| digest(image, references.iter().map(String::as_str));
    assert_eq!(found(Some("b.example:5000/x:1.2")), Some(of('b')));
    assert_eq!(found(Some(&format!("b.example:5000/x@{}", of('b')))), Some(of('b')));
    assert_eq!(found(Some("elsewhere/x")), Some(of('a')));
    assert_eq!(found(None), Some(of('a')));
    assert_eq!(digest(None, [of('c').as_str()].into_iter()), None, "an id is no digest");
    assert_eq!(digest(None, ["x@nonsense", "x@sha256:zz"].into_iter()), None);
    assert_eq!(image_id(&"a".repeat(64)), Some(of('a')));
    assert_eq!(image_id("registry.example/shop/web:1.2"), None);
}
