//! Who is behind a connection, in the words of policies.

use crate::model::{ActorKind, Flow, Group, GroupKind, Kind, Principal};

pub fn principal(flow: &Flow) -> Principal {
    let (process, actor) = (&flow.process, &flow.actor);
    let program = process.exe.as_ref().map(|path| path.display().to_string());
    let workload = &process.workload;
    let person = actor.person.as_ref().and_then(|person| {
        person.name.clone().or_else(|| person.user.as_ref().map(|user| user.value.clone()))
    });
    let one = |kind, name: Option<&str>| {
        name.into_iter().map(move |name| Group { kind, name: name.into() }).collect::<Vec<_>>()
    };
    let all = |kind, names: &[String]| {
        names.iter().map(move |name| Group { kind, name: name.clone() }).collect::<Vec<_>>()
    };
    let groups = [
        one(GroupKind::Unit, workload.system_unit()),
        one(GroupKind::Container, workload.container.as_deref()),
        one(GroupKind::Namespace, workload.system_namespace()),
        one(GroupKind::ServiceAccount, actor.service_account()),
        all(GroupKind::Team, &actor.teams),
        all(GroupKind::Group, &actor.groups),
    ];
    Principal {
        kind: match actor.kind {
            Kind::Terminal => ActorKind::Terminal,
            Kind::Agent => ActorKind::Agent,
            Kind::Notebook => ActorKind::Notebook,
            Kind::Pipeline => ActorKind::Pipeline,
            Kind::Service => ActorKind::Service,
            Kind::Unplaced => ActorKind::Unplaced,
        },
        workload: (actor.name.clone())
            .or_else(|| workload.system_unit().map(str::to_owned))
            .or_else(|| program.clone())
            .unwrap_or_else(|| process.comm.clone()),
        person,
        user: process.user.clone(),
        program,
        groups: groups.concat(),
    }
}
