//! Privileges, roles and ownership.

use pg_raw_parse::nodes::{AlterRoleSetStmt, GrantStmt, VariableSetStmt};
use pg_raw_parse::{Node, raw};

use super::super::effect::{Effect, Use, Uses};
use super::super::facts::{Note, ObjectKind, Scope, SessionEffect, Setting, Verb};
use super::super::numbers;
use super::{Walk, names};

impl<'t> Walk<'t, '_> {
    pub(super) fn grant(&mut self, of: &'t GrantStmt) {
        self.verb(if of.is_grant { Verb::Grant } else { Verb::Revoke });
        self.effect(Effect::Grant);
        if of.behavior == raw::DropBehavior::DROP_CASCADE {
            self.out.note(Note::Cascade);
        }
        let uses = Uses::of(Use::Granted);
        let kind = names::object_kind(of.objtype);
        let plain = of.targtype == raw::GrantTargetType::ACL_TARGET_OBJECT;
        let relations =
            matches!(of.objtype, raw::ObjectType::OBJECT_TABLE | raw::ObjectType::OBJECT_SEQUENCE);
        if plain && relations {
            for range in of.objects() {
                self.range_as(kind, range, uses);
            }
        } else {
            // Of all that isn't a table only the kind is told: a list typed for
            // tables can't be read as anything else.
            self.named(kind, None, "", uses);
        }
        for grantee in of.grantees() {
            self.role(Node::RoleSpec(grantee), uses);
        }
    }

    pub(super) fn role(&mut self, node: Node<'t>, uses: Uses) {
        let name = match node {
            Node::RoleSpec(of) => match of.roletype {
                raw::RoleSpecType::ROLESPEC_PUBLIC => "public",
                raw::RoleSpecType::ROLESPEC_CSTRING => of.rolename().unwrap_or_default(),
                _ => "",
            },
            Node::AccessPriv(of) => of.priv_name().unwrap_or_default(),
            other => names::of_node(other).name,
        };
        self.named(ObjectKind::Role, None, name, uses);
    }

    /// Statements about who may what. False: it isn't one.
    pub(super) fn access(&mut self, node: Node<'t>) -> bool {
        let granted = Uses::of(Use::Granted);
        match node {
            Node::GrantStmt(of) => self.grant(of),
            Node::GrantRoleStmt(of) => {
                self.verb(if of.is_grant { Verb::Grant } else { Verb::Revoke });
                self.effect(Effect::Grant);
                for role in of.granted_roles().iter().chain(of.grantee_roles()) {
                    self.role(role, granted);
                }
            }
            Node::AlterDefaultPrivilegesStmt(of) => {
                if let Some(action) = of.action() {
                    self.grant(action);
                }
                self.verb(Verb::AlterDefaultPrivileges);
                self.effect(Effect::Grant);
            }
            Node::CreateRoleStmt(of) => {
                self.verb(Verb::Create);
                self.effect(Effect::Create);
                self.effect(Effect::Grant);
                let uses = Uses::of(Use::Defined).with(Use::Granted);
                self.named(ObjectKind::Role, None, of.role().unwrap_or_default(), uses);
            }
            Node::AlterRoleStmt(of) => {
                self.verb(Verb::Alter);
                self.effect(Effect::Alter);
                self.effect(Effect::Grant);
                if let Some(role) = of.role() {
                    self.role(Node::RoleSpec(role), granted.with(Use::Defined));
                }
            }
            Node::AlterRoleSetStmt(of) => self.role_set(of),
            Node::DropRoleStmt(of) => {
                self.verb(Verb::Drop);
                self.effect(Effect::Drop);
                self.effect(Effect::Grant);
                for role in of.roles() {
                    self.role(role, Uses::of(Use::Dropped));
                }
            }
            Node::DropOwnedStmt(of) => {
                self.verb(Verb::DropOwned);
                self.effect(Effect::Drop);
                self.effect(Effect::Grant);
                if of.behavior == raw::DropBehavior::DROP_CASCADE {
                    self.out.note(Note::Cascade);
                }
                for role in of.roles() {
                    self.role(role, Uses::of(Use::Dropped));
                }
            }
            Node::ReassignOwnedStmt(of) => {
                self.verb(Verb::ReassignOwned);
                self.effect(Effect::Alter);
                self.effect(Effect::Grant);
                for role in of.roles() {
                    self.role(role, granted);
                }
                if let Some(role) = of.newrole() {
                    self.role(Node::RoleSpec(role), granted);
                }
            }
            Node::AlterOwnerStmt(of) => {
                self.verb(Verb::Alter);
                self.effect(Effect::Alter);
                self.effect(Effect::Grant);
                let kind = names::object_kind(of.object_type);
                let uses = Uses::of(Use::Defined).with(Use::Granted);
                match of.relation() {
                    Some(range) => {
                        self.range_as(kind, range, uses);
                    }
                    None => {
                        let name = names::of_node(of.object());
                        self.named(kind, name.schema, name.name, uses);
                    }
                }
                if let Some(role) = of.newowner() {
                    self.role(Node::RoleSpec(role), granted);
                }
            }
            Node::CreateUserMappingStmt(of) => {
                self.verb(Verb::Create);
                self.effect(Effect::Create);
                self.effect(Effect::UnsafeIo);
                let name = of.servername().unwrap_or_default();
                self.named(ObjectKind::UserMapping, None, name, Uses::of(Use::Defined));
            }
            Node::AlterUserMappingStmt(of) => {
                self.verb(Verb::Alter);
                self.effect(Effect::Alter);
                self.effect(Effect::UnsafeIo);
                let name = of.servername().unwrap_or_default();
                self.named(ObjectKind::UserMapping, None, name, Uses::of(Use::Defined));
            }
            Node::DropUserMappingStmt(of) => {
                self.verb(Verb::Drop);
                self.effect(Effect::Drop);
                let name = of.servername().unwrap_or_default();
                self.named(ObjectKind::UserMapping, None, name, Uses::of(Use::Dropped));
            }
            _ => return false,
        }
        true
    }

    fn role_set(&mut self, of: &'t AlterRoleSetStmt) {
        self.verb(Verb::Alter);
        self.effect(Effect::Alter);
        self.effect(Effect::Grant);
        match of.role() {
            Some(role) => self.role(Node::RoleSpec(role), Uses::of(Use::Defined)),
            None => self.role(Node::None, Uses::of(Use::Defined)),
        }
        if let Some(set) = of.setstmt() {
            self.stored(set);
        }
    }

    /// A default of a role, a database, or the server's configuration.
    pub(super) fn stored(&mut self, of: &'t VariableSetStmt) {
        let (value, _) = self.setting(of);
        if let Some(name) = of.name() {
            self.guarded_setting(name);
        }
        self.session(SessionEffect {
            setting: of.name().map_or_else(|| "*".into(), |name| name.to_lowercase().into()),
            value,
            scope: Scope::Stored,
        });
    }

    /// The value that a SET gives, and over how long.
    pub(super) fn setting(&mut self, of: &'t VariableSetStmt) -> (Setting, Scope) {
        use raw::VariableSetKind as K;
        let scope = if of.is_local { Scope::Transaction } else { Scope::Session };
        let value = match of.kind {
            K::VAR_SET_DEFAULT | K::VAR_RESET | K::VAR_RESET_ALL => Setting::Default,
            K::VAR_SET_VALUE => {
                let mut parts = Vec::new();
                for arg in of.args() {
                    self.read(arg);
                    parts.push(written(arg));
                }
                match parts.into_iter().collect::<Option<Vec<String>>>() {
                    Some(parts) if parts.len() == 1 && !is_list(of.name()) => {
                        Setting::To(parts.concat().into())
                    }
                    Some(parts) => {
                        let quoted: Vec<_> = parts.iter().map(|part| quote(part)).collect();
                        Setting::To(quoted.join(", ").into())
                    }
                    None => Setting::Dynamic,
                }
            }
            _ => Setting::Dynamic,
        };
        (value, scope)
    }
}

/// Whether a setting is a list of names: what SET gives it is quoted, also one alone.
fn is_list(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.eq_ignore_ascii_case("search_path"))
}

fn written(node: Node<'_>) -> Option<String> {
    match node {
        Node::A_Const(of) => numbers::value(of).map(|value| value.to_string()),
        Node::TypeCast(of) => written(of.arg()),
        Node::String(of) => of.sval().map(Into::into),
        Node::Integer(of) => Some(of.ival.to_string()),
        _ => None,
    }
}

fn quote(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !name.is_empty() {
        name.into()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
