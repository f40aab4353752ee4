//! OpenTelemetry's description of a process, as its environment has it.

use super::redact;
use crate::model::{Attribute, Confidence, LONGEST_NAME, LONGEST_VALUE, Origin, cut, decoded};

const MOST: usize = 12;

/// `service.name=shop,deployment.environment=prod`, percent-encoded; and the
/// service's name, which wins.
pub fn resource(service: Option<&str>, resource: Option<&str>) -> Vec<Attribute> {
    let mut found: Vec<Attribute> = Vec::new();
    let named = service.map(|name| ("service.name".to_owned(), name.to_owned()));
    let listed = resource.unwrap_or_default().split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name.trim()), decoded(value.trim())))
    });
    for (name, value) in named.into_iter().chain(listed) {
        let name = cut(&format!("otel.{name}"), LONGEST_NAME);
        let fine = name.len() > 5 && !value.is_empty() && found.len() < MOST;
        if !fine || found.iter().any(|known| known.name == name) {
            continue;
        }
        let shown = redact::text(&format!("{name}={value}"));
        let value = shown.split_once('=').map_or(redact::HIDDEN, |(_, value)| value);
        found.push(Attribute {
            value: cut(value, LONGEST_VALUE),
            name,
            origin: Origin::Process,
            confidence: Confidence::Claimed,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_and_bounded() {
        let found = resource(
            Some("shop"),
            Some(
                "service.name=other,deployment.environment=pr%6fd, k8s.pod.name = a%2Cb ,x,=y,api_key=s3",
            ),
        );
        let shown: Vec<String> = found.iter().map(|a| format!("{}={}", a.name, a.value)).collect();
        assert_eq!(
            shown,
            [
                "otel.service.name=shop",
                "otel.deployment.environment=prod",
                "otel.k8s.pod.name=a,b",
                "otel.api_key=***"
            ]
        );
        assert!(found.iter().all(|a| a.confidence == Confidence::Claimed));
        let many: Vec<String> = (0..100).map(|n| format!("k{n}=v")).collect();
        assert_eq!(resource(None, Some(&many.join(","))).len(), MOST);
    }
}
