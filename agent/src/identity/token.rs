//! Whose a pod is: the payload of the token that Kubernetes puts into it.
//!
//! INVARIANT: nothing of the token is kept but the names in it. Its signature is
//! the cluster's, and nobody here can check it: who reads it says how far the
//! file is to be believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Of a whole token.
pub const LONGEST_TOKEN: usize = 16 * 1024;
/// Kubernetes' own bounds of a namespace's and a service account's name.
const LONGEST_NAMESPACE: usize = 63;
const LONGEST_ACCOUNT: usize = 253;
const SUBJECT: &str = "system:serviceaccount:";

/// A service account, and the pod that its token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub namespace: String,
    pub name: String,
    /// The pod's uid.
    pub pod: String,
}

#[derive(Deserialize)]
struct Payload {
    sub: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Pod,
}

#[derive(Deserialize)]
struct Pod {
    uid: String,
}

impl Account {
    /// Of a token as `kubelet` writes it; nothing where it is of another form.
    pub fn of(token: &[u8]) -> Option<Self> {
        let token = std::str::from_utf8(token).ok().filter(|it| it.len() <= LONGEST_TOKEN)?;
        let mut parts = token.trim_end().split('.');
        let (_head, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        let Payload { sub, kubernetes } = serde_json::from_slice(&payload).ok()?;
        let (namespace, name) = sub.strip_prefix(SUBJECT)?.split_once(':')?;
        let fine = namespace == kubernetes.namespace
            && is_name(namespace, LONGEST_NAMESPACE)
            && is_name(name, LONGEST_ACCOUNT);
        fine.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod: kubernetes.pod.uid,
        })
    }

    /// `namespace/name`
    pub fn whole(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A name as Kubernetes takes it: nothing in it ends a path or a line.
pub fn is_name(text: &str, longest: usize) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !text.is_empty() && text.len() <= longest && text.bytes().all(plain)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const POD: &str = "0c1a4a2e-5a77-4a3b-9c65-3f0d5a7e8b90";

    /// As the API server of 1.29 makes it for a pod, but for the signature.
    pub fn token(namespace: &str, account: &str, pod: &str) -> String {
        let payload = format!(
            r#"{{"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1795363200,"iat":1763827200,"iss":"https://kubernetes.default.svc.cluster.local","jti":"7a0b","kubernetes.io":{{"namespace":"{namespace}","node":{{"name":"node-1","uid":"55c3"}},"pod":{{"name":"web-5c9f","uid":"{pod}"}},"serviceaccount":{{"name":"{account}","uid":"9fd2"}},"warnafter":1763830807}},"nbf":1763827200,"sub":"system:serviceaccount:{namespace}:{account}"}}"#
        );
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"x"}"#);
        format!("{head}.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_pods_token_names_its_account() {
        let account = Account::of(token("shop", "web", POD).as_bytes()).unwrap();
        assert_eq!(account.whole(), "shop/web");
        assert_eq!(account.pod, POD);
    }

    #[test]
    fn what_is_no_token_of_a_pod_names_nobody() {
        let good = token("shop", "web", POD);
        let payload = |json: &str| format!("a.{}.b", URL_SAFE_NO_PAD.encode(json));
        for wrong in [
            String::new(),
            "a.b".into(),
            format!("{good}.c"),
            payload("{}"),
            // Of no pod: made by hand, for a person.
            payload(r#"{"sub":"system:serviceaccount:shop:web","kubernetes.io":{"namespace":"shop"}}"#),
            // Two answers to one question.
            good.replace(
                good.split('.').nth(1).unwrap(),
                &URL_SAFE_NO_PAD.encode(format!(
                    r#"{{"sub":"system:serviceaccount:other:web","kubernetes.io":{{"namespace":"shop","pod":{{"uid":"{POD}"}}}}}}"#
                )),
            ),
            token("shop", "web/../admin", POD),
            token("", "web", POD),
            token("shop", &"x".repeat(300), POD),
            format!("{good}{}", " ".repeat(LONGEST_TOKEN)),
        ] {
            assert_eq!(Account::of(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
