//! All roles and bindings, found by who they are for. Pure: it is told what changed.
//!
//! Nothing here goes through all bindings: a decision looks at those of the caller's own name and
//! groups, everywhere and in the namespace asked about. Cheap to clone; a clone shares.

use super::{Ask, rule};
use crate::{
    bench::{self, Part},
    identity::{Caller, service_account_user},
};
use imbl::{HashMap, OrdMap};
use quarterdeck_model::{
    Kind as _, KindRef, Object, Revision,
    kinds::{
        ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding,
        rbac::{RoleRef, Subject},
    },
};
use std::sync::Arc;

/// The kinds a policy is made of.
pub(super) fn kinds() -> [KindRef; 4] {
    [Role::info(), ClusterRole::info(), RoleBinding::info(), ClusterRoleBinding::info()]
}

type Rules = Arc<[PolicyRule]>;
type Grants = Vec<Arc<Grant>>;
/// Namespace, empty where there is none, and name.
type Place = (Arc<str>, Arc<str>);
/// Grants by user or group.
type Who = HashMap<Arc<str>, Bound>;

/// One subject of one binding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Empty for a ClusterRoleBinding.
    namespace: Arc<str>,
    binding: Arc<str>,
    role: RoleRef,
    subject: Subject,
}

/// The grants of one subject, ordered by their bindings' names.
#[derive(Clone, Default)]
struct Bound {
    everywhere: Grants,
    inside: OrdMap<Arc<str>, Grants>,
}

/// Who a grant is for.
#[derive(Clone, Default)]
struct Subjects {
    users: Who,
    groups: Who,
}

/// All roles and bindings as of some revision.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    cluster_roles: HashMap<Arc<str>, Rules>,
    /// By namespace and name.
    roles: HashMap<Arc<str>, HashMap<Arc<str>, Rules>>,
    /// By namespace, empty for ClusterRoleBindings, and name.
    bindings: HashMap<Place, Grants>,
    subjects: Subjects,
    /// Newest change of each kind that is in it; none before the first objects were read.
    at: [Option<Revision>; 4],
}

/// Whether something may be done, and why.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// By that grant, or because the caller may do everything.
    Allowed(Option<Arc<Grant>>),
    /// What is wrong with the caller's bindings, if anything is.
    Denied(String),
}

impl Decision {
    pub(crate) fn allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// Why, in Kubernetes' words; empty when there is nothing to say.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Allowed(None) => String::new(),
            Self::Allowed(Some(grant)) => format!("RBAC: allowed by {grant}"),
            Self::Denied(reason) => reason.clone(),
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, binding, role, subject } = self;
        if namespace.is_empty() {
            write!(f, "ClusterRoleBinding {binding:?}")?;
        } else {
            write!(f, "RoleBinding {:?}", format!("{binding}/{namespace}"))?;
        }
        write!(f, " of {} {:?} to {} ", role.kind, role.name, subject.kind)?;
        if subject.kind == "ServiceAccount" {
            let own: &str =
                if subject.namespace.is_empty() { namespace } else { &subject.namespace };
            write!(f, "{:?}", format!("{}/{own}", subject.name))
        } else {
            write!(f, "{:?}", subject.name)
        }
    }
}

impl Policy {
    /// Revisions of the newest changes in it.
    pub(super) fn at(&self) -> [Option<Revision>; 4] {
        self.at
    }

    /// Whether all changes up to those are in it.
    pub(super) fn covers(&self, newest: &[Revision; 4]) -> bool {
        self.at.iter().zip(newest).all(|(at, newest)| at.is_some_and(|at| at >= *newest))
    }

    pub(super) fn reached(&mut self, newest: [Revision; 4]) {
        self.at = newest.map(Some);
    }

    /// Takes in what became of one object; none is that it is gone. An object that is not of its
    /// kind grants nothing.
    pub(super) fn apply(
        &mut self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        object: Option<&Object>,
    ) {
        match kind.kind {
            "ClusterRole" => match object.and_then(|object| object.decode::<ClusterRole>().ok()) {
                Some(role) => drop(self.cluster_roles.insert(name.into(), role.rules.into())),
                None => drop(self.cluster_roles.remove(name)),
            },
            "Role" => {
                let mut here = self.roles.remove(namespace).unwrap_or_default();
                match object.and_then(|object| object.decode::<Role>().ok()) {
                    Some(role) => drop(here.insert(name.into(), role.rules.into())),
                    None => drop(here.remove(name)),
                }
                if !here.is_empty() {
                    self.roles.insert(namespace.into(), here);
                }
            }
            "RoleBinding" => {
                let binding = object.and_then(|object| object.decode::<RoleBinding>().ok());
                let grants = binding.map(|it| (it.role_ref, it.subjects)).unwrap_or_default();
                self.bind(namespace, name, grants);
            }
            _ => {
                let binding = object.and_then(|object| object.decode::<ClusterRoleBinding>().ok());
                let grants = binding.map(|it| (it.role_ref, it.subjects)).unwrap_or_default();
                self.bind("", name, grants);
            }
        }
    }

    fn bind(&mut self, namespace: &str, name: &str, (role, subjects): (RoleRef, Vec<Subject>)) {
        let (namespace, name): (Arc<str>, Arc<str>) = (namespace.into(), name.into());
        let place = (namespace.clone(), name.clone());
        for grant in self.bindings.remove(&place).unwrap_or_default() {
            self.subjects.remove(&grant);
        }
        let grants: Grants = subjects
            .into_iter()
            .map(|subject| {
                let (namespace, binding) = (namespace.clone(), name.clone());
                Arc::new(Grant { namespace, binding, role: role.clone(), subject })
            })
            .collect();
        for grant in &grants {
            self.subjects.add(grant);
        }
        if !grants.is_empty() {
            self.bindings.insert(place, grants);
        }
    }

    /// The rules a role has; none when there is no such role.
    pub(super) fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        let rules = match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(role.name.as_str()),
            _ => self.roles.get(namespace).and_then(|here| here.get(role.name.as_str())),
        };
        rules.map(|rules| &**rules)
    }

    fn bound<'p>(&'p self, caller: &Caller) -> impl Iterator<Item = &'p Bound> + Clone {
        let user = self.subjects.users.get(caller.user.as_str());
        let groups: Vec<&Bound> = caller
            .groups
            .iter()
            .filter_map(|group| self.subjects.groups.get(group.as_str()))
            .collect();
        user.into_iter().chain(groups)
    }

    /// The caller's grants everywhere, then those in `namespace`.
    fn grants<'p>(
        &'p self,
        caller: &Caller,
        namespace: &str,
    ) -> impl Iterator<Item = &'p Arc<Grant>> {
        let bound = self.bound(caller);
        let inside: Vec<&Arc<Grant>> =
            bound.clone().filter_map(|bound| bound.inside.get(namespace)).flatten().collect();
        bound.flat_map(|bound| &bound.everywhere).chain(inside)
    }

    /// The caller's grants in every namespace where it has some, and those everywhere.
    pub(super) fn all_grants<'p>(
        &'p self,
        caller: &Caller,
    ) -> impl Iterator<Item = (&'p str, &'p [PolicyRule])> {
        let bound = self.bound(caller);
        let inside = bound.clone().flat_map(|bound| bound.inside.values().flatten());
        bound.flat_map(|bound| &bound.everywhere).chain(inside).filter_map(|grant| {
            Some((&*grant.namespace, self.rules_of(&grant.role, &grant.namespace)?))
        })
    }

    /// Decides.
    pub(crate) fn decide(&self, caller: &Caller, ask: &Ask<'_>) -> Decision {
        if caller.is_master() || bench::is_off(Part::Authorization) {
            return Decision::Allowed(None);
        }
        let mut missing: Vec<String> = Vec::new();
        for grant in self.grants(caller, ask.namespace()) {
            match self.rules_of(&grant.role, &grant.namespace) {
                Some(rules) if rules.iter().any(|rule| rule::allows(rule, ask)) => {
                    return Decision::Allowed(Some(grant.clone()));
                }
                Some(_) => {}
                None => missing.push(not_found(&grant.role)),
            }
        }
        Decision::Denied(match missing.as_slice() {
            [] => String::new(),
            [only] => format!("RBAC: {only}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        })
    }

    /// Whether the caller may do that.
    pub(crate) fn may(&self, caller: &Caller, ask: &Ask<'_>) -> bool {
        self.decide(caller, ask).allowed()
    }

    /// All rules the caller holds in `namespace`, and the roles its bindings name that are not there.
    pub(crate) fn held<'p>(
        &'p self,
        caller: &Caller,
        namespace: &str,
    ) -> (Vec<&'p PolicyRule>, Vec<String>) {
        let (mut rules, mut missing) = (Vec::new(), Vec::new());
        for grant in self.grants(caller, namespace) {
            match self.rules_of(&grant.role, &grant.namespace) {
                Some(found) => rules.extend(found),
                None => missing.push(not_found(&grant.role)),
            }
        }
        (rules, missing)
    }
}

fn not_found(role: &RoleRef) -> String {
    format!("{}.rbac.authorization.k8s.io {:?} not found", role.kind.to_lowercase(), role.name)
}

impl Subjects {
    /// The list a grant belongs to; none for a subject that nobody can be.
    fn place(&mut self, grant: &Grant) -> Option<(&mut Who, Arc<str>)> {
        let Subject { kind, name, namespace, .. } = &grant.subject;
        match kind.as_str() {
            "User" => Some((&mut self.users, name.as_str().into())),
            "Group" => Some((&mut self.groups, name.as_str().into())),
            "ServiceAccount" => {
                let own: &str = if namespace.is_empty() { &grant.namespace } else { namespace };
                let user = (!own.is_empty()).then(|| service_account_user(own, name))?;
                Some((&mut self.users, user.into()))
            }
            _ => None,
        }
    }

    fn add(&mut self, grant: &Arc<Grant>) {
        let Some((map, who)) = self.place(grant) else { return };
        let bound = map.entry(who).or_default();
        let list = if grant.namespace.is_empty() {
            &mut bound.everywhere
        } else {
            bound.inside.entry(grant.namespace.clone()).or_default()
        };
        let at = list.partition_point(|other| other.binding <= grant.binding);
        list.insert(at, grant.clone());
    }

    fn remove(&mut self, grant: &Arc<Grant>) {
        let Some((map, who)) = self.place(grant) else { return };
        let Some(bound) = map.get_mut(&who) else { return };
        if grant.namespace.is_empty() {
            bound.everywhere.retain(|other| !Arc::ptr_eq(other, grant));
        } else if let Some(list) = bound.inside.get_mut(&grant.namespace) {
            list.retain(|other| !Arc::ptr_eq(other, grant));
            if list.is_empty() {
                bound.inside.remove(&grant.namespace);
            }
        }
        if bound.everywhere.is_empty() && bound.inside.is_empty() {
            map.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests;
