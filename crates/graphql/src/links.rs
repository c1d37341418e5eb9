//! What objects are to each other: which fields name other objects, what that is called from both ends, and how to
//! find them. The one list of links. Pure, but for asking what may be seen.
//!
//! A link goes by an indexed field, so that either end is found without looking at anything else.

use crate::{
    moment::Moment,
    uses::{Users, uses},
};
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object,
    kinds::{
        self, BMCScan, Campaign, Cluster, Image, Instance, Machine, MachineClass, MachinePool,
        Permit, Provider, Rack, Remedy, Run, Runbook, Schedule, Server, ServerProfile, Service,
        Site, Workload, WorkloadRevision,
    },
    selector::FieldRequirement,
};
use quarterdeck_store::{ListQuery, World};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// What an owner is called by what belongs to it, and the other way round.
pub(crate) const OWNERS: (&str, &str) = ("owner", "dependents");

/// What a service that another uses is called by that one, and the other way round: it names several at once.
pub(crate) const USES: (&str, &str) = ("dependsOn", "usedBy");

/// How objects of one kind name one of another.
pub(crate) struct Link {
    /// The kind that names.
    pub(crate) from: KindRef,
    /// The kind that is named.
    pub(crate) to: KindRef,
    /// What the named object is to the other.
    pub(crate) relation: &'static str,
    /// What the naming objects are to the named one.
    pub(crate) back: &'static str,
    /// The field with the name.
    field: &'static str,
    /// A field that says which kind is named, where it may be several.
    kind_field: Option<&'static str>,
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Named {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn of(object: &Object) -> Self {
        Self {
            kind: object.kind.kind,
            namespace: object.namespace().into(),
            name: object.name().into(),
        }
    }
}

/// All links there are.
pub(crate) fn all() -> &'static [Link] {
    static ALL: OnceLock<Vec<Link>> = OnceLock::new();
    ALL.get_or_init(|| {
        let one = |from, to, relation, back, field| Link {
            from,
            to,
            relation,
            back,
            field,
            kind_field: None,
        };
        let mut links = vec![
            one(Rack::info(), Site::info(), "site", "racks", "spec.site"),
            one(Server::info(), Rack::info(), "rack", "servers", "spec.location.rack"),
            one(Server::info(), ServerProfile::info(), "profile", "servers", "spec.profile"),
            one(Machine::info(), Server::info(), "server", "machines", "status.server"),
            one(Machine::info(), MachineClass::info(), "class", "machines", "spec.class"),
            one(Machine::info(), Image::info(), "image", "machines", "spec.image"),
            one(
                MachinePool::info(),
                MachineClass::info(),
                "class",
                "pools",
                "spec.template.spec.class",
            ),
            one(MachinePool::info(), Image::info(), "image", "pools", "spec.template.spec.image"),
            one(Provider::info(), Site::info(), "site", "providers", "spec.metal.site"),
            one(BMCScan::info(), Site::info(), "site", "scans", "spec.site"),
            one(Workload::info(), Service::info(), "service", "workloads", "spec.service"),
            one(Instance::info(), Service::info(), "service", "instances", "spec.service"),
            one(Instance::info(), Workload::info(), "workload", "instances", "spec.workload"),
            one(
                WorkloadRevision::info(),
                Workload::info(),
                "workload",
                "revisions",
                "spec.workload",
            ),
            one(Run::info(), Runbook::info(), "runbook", "runs", "spec.runbook"),
            one(Campaign::info(), Runbook::info(), "runbook", "campaigns", "spec.runbook"),
            one(Schedule::info(), Runbook::info(), "runbook", "schedules", "spec.run.runbook"),
            one(Schedule::info(), Runbook::info(), "runbook", "schedules", "spec.campaign.runbook"),
            one(Remedy::info(), Runbook::info(), "runbook", "remedies", "spec.runbook"),
        ];
        for to in [Server::info(), Machine::info(), Cluster::info()] {
            let (field, kind_field) = ("spec.host.name", Some("spec.host.kind"));
            links
                .push(Link { kind_field, ..one(Instance::info(), to, "host", "instances", field) });
        }
        for to in kinds::all() {
            let (field, kind_field) = ("spec.target.name", Some("spec.target.kind"));
            links.push(Link { kind_field, ..one(Run::info(), to, "target", "runs", field) });
            links.push(Link { kind_field, ..one(Permit::info(), to, "target", "permits", field) });
        }
        links
    })
}

impl Link {
    /// What an object names by this link, whether it is there or not.
    pub(crate) fn named_by(&self, object: &Object) -> Option<Named> {
        let fits = |field| object.field(field) == Some(self.to.kind);
        if object.kind != self.from || !self.kind_field.is_none_or(fits) {
            return None;
        }
        let name = object.field(self.field).filter(|name| !name.is_empty())?;
        let namespace = if self.to.namespaced() { object.namespace() } else { "" };
        Some(Named { kind: self.to.kind, namespace: namespace.into(), name: name.into() })
    }

    /// The objects that name this one.
    pub(crate) fn naming(&self, world: &World, object: &Object) -> Vec<Arc<Object>> {
        let is = |path: &str, value: &str| FieldRequirement {
            path: path.into(),
            equal: true,
            value: value.into(),
        };
        let mut fields = FieldSelector(vec![is(self.field, object.name())]);
        fields.0.extend(self.kind_field.map(|field| is(field, self.to.kind)));
        let namespace = self.to.namespaced().then_some(object.namespace());
        let labels = &LabelSelector::default();
        let query = ListQuery {
            kind: self.from,
            namespace,
            labels,
            fields: &fields,
            after: None,
            limit: None,
        };
        world.list(&query).items
    }
}

/// What one object is linked with by one relation.
pub(crate) struct Group {
    pub(crate) relation: &'static str,
    pub(crate) outward: bool,
    pub(crate) objects: Vec<Arc<Object>>,
    /// What this object calls each of them, where it names them: that is known to who sees it, and whether there is
    /// such an object, or what it is really called, only to who sees that as well.
    pub(crate) called: Vec<Named>,
    /// Named, and not there.
    pub(crate) missing: Vec<Named>,
}

impl Group {
    /// The objects that may be seen, and the names of what is not there or may not: which of the two, not even their
    /// order tells. What names this one, and may not be seen, is left out.
    pub(crate) fn seen(self, moment: &Moment) -> (Vec<Arc<Object>>, Vec<Named>) {
        let (mut called, mut missing) = (self.called.into_iter(), self.missing);
        let mut seen = Vec::new();
        for object in self.objects {
            let called = called.next();
            match moment.sees(object.kind, object.namespace(), object.name()) {
                true => seen.push(object),
                false => missing.extend(called),
            }
        }
        missing.sort_unstable();
        (seen, missing)
    }
}

/// What was found by one link.
enum Found {
    /// Objects that name this one.
    Naming(Vec<Arc<Object>>),
    /// What this one names, and the object, if it is there.
    Named(Named, Option<Arc<Object>>),
}

/// The uids of an object's owners, and what it calls them.
fn owners(object: &Object) -> Vec<(String, Named)> {
    if object.owners().next().is_none() {
        return Vec::new();
    }
    let value = object.value();
    let list = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let read = |owner: &Value| {
        let text = |field: &str| owner.get(field)?.as_str();
        let kind = kind(text("kind")?)?;
        let namespace = if kind.namespaced() { object.namespace() } else { "" };
        let name = text("name")?.to_owned();
        Some((
            text("uid")?.to_owned(),
            Named { kind: kind.kind, namespace: namespace.into(), name },
        ))
    };
    list.into_iter().flatten().filter_map(read).collect()
}

/// A kind by its name alone.
pub(crate) fn kind(name: &str) -> Option<KindRef> {
    kinds::all().iter().copied().find(|kind| kind.kind == name)
}

/// The names of what objects of a kind are linked with.
pub(crate) fn relations(of: KindRef) -> Vec<&'static str> {
    let mut names: Vec<&str> = vec![OWNERS.0, OWNERS.1];
    if of == Service::info() {
        names.extend([USES.0, USES.1]);
    }
    names.extend(all().iter().filter(|link| link.from == of).map(|link| link.relation));
    names.extend(all().iter().filter(|link| link.to == of).map(|link| link.back));
    names.sort_unstable();
    names.dedup();
    names
}

/// All that an object is linked with by relations that are `wanted`, in the order of the list of links. `users` is asked
/// for only where it is needed.
pub(crate) fn groups(
    world: &World,
    object: &Object,
    users: impl Fn() -> Arc<Users>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Group> {
    let mut groups: BTreeMap<(usize, bool), Group> = BTreeMap::new();
    let place = |relation: &str, outward: bool| {
        if let Some(at) = [USES.0, USES.1].iter().position(|uses| *uses == relation) {
            return at;
        }
        let same = |link: &Link| (if outward { link.relation } else { link.back }) == relation;
        all().iter().position(same).map_or(usize::MAX, |at| at + 2)
    };
    let mut add = |relation: &'static str, found: Found| {
        let outward = !matches!(found, Found::Naming(_));
        let group = groups.entry((place(relation, outward), outward)).or_insert_with(|| Group {
            relation,
            outward,
            objects: Vec::new(),
            called: Vec::new(),
            missing: Vec::new(),
        });
        match found {
            Found::Naming(objects) => group.objects.extend(objects),
            Found::Named(called, Some(object)) => {
                group.objects.push(object);
                group.called.push(called);
            }
            Found::Named(missing, None) => group.missing.push(missing),
        }
    };
    for link in all() {
        if wanted(link.relation)
            && let Some(named) = link.named_by(object)
        {
            let found = world.get(link.to, &named.namespace, &named.name);
            add(link.relation, Found::Named(named, found));
        }
        if link.to == object.kind && wanted(link.back) {
            let naming = link.naming(world, object);
            if !naming.is_empty() {
                add(link.back, Found::Naming(naming));
            }
        }
    }
    if object.kind == Service::info() && wanted(USES.0) {
        for (namespace, name, _) in uses(object) {
            let found = world.get(Service::info(), &namespace, &name);
            let named = Named { kind: Service::info().kind, namespace, name };
            add(USES.0, Found::Named(named, found));
        }
    }
    if object.kind == Service::info() && wanted(USES.1) {
        let users = users();
        let using = users.of(object.namespace(), object.name());
        let using =
            using.filter_map(|(namespace, name)| world.get(Service::info(), namespace, name));
        let using: Vec<Arc<Object>> = using.collect();
        if !using.is_empty() {
            add(USES.1, Found::Naming(using));
        }
    }
    if wanted(OWNERS.0) {
        for (uid, called) in owners(object) {
            let owner = kind(called.kind).and_then(|kind| world.by_uid(kind, &uid));
            add(OWNERS.0, Found::Named(called, owner));
        }
    }
    if wanted(OWNERS.1) {
        let owned: Vec<Arc<Object>> = world.owned_by(object.uid()).cloned().collect();
        if !owned.is_empty() {
            add(OWNERS.1, Found::Naming(owned));
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Held, Sees};
    use serde_json::json;

    #[test]
    fn every_link_goes_by_fields_that_are_indexed() {
        for link in all() {
            for field in [Some(link.field), link.kind_field].into_iter().flatten() {
                assert!(link.from.indexed_fields.contains(&field), "{:?} {field}", link.from);
            }
        }
    }

    #[tokio::test]
    async fn of_an_owner_that_may_not_be_seen_only_the_reference_is_told() {
        let held = Held::new().await;
        let server = Server::info();
        held.put(server, "", "b-secret", json!({})).await;
        held.put(server, "", "a-seen", json!({})).await;
        let owner = |name: &str, uid: &str| json!({"kind": "Server", "name": name, "uid": uid});
        // The uid is known, and the name is made up; the second is not there at all.
        let owners =
            [owner("z", "uid--b-secret"), owner("y", "uid--gone"), owner("x", "uid--a-seen")];
        held.put(server, "", "a-owned", json!({"metadata": {"ownerReferences": owners}})).await;
        let world = held.store.world();
        let owned = world.get(server, "", "a-owned").unwrap();
        let moment = |sees| {
            let began = (std::time::Instant::now(), false);
            let (store, indexes) = (held.store.clone(), Arc::default());
            Moment::new(store, world.clone(), Arc::new(Sees(sees)), indexes, began)
        };
        let told = |sees| {
            let moment = moment(sees);
            let groups = groups(&world, &owned, || moment.users(), |relation| relation == OWNERS.0);
            let (seen, missing) = groups.into_iter().next().unwrap().seen(&moment);
            let seen: Vec<String> = seen.iter().map(|it| it.name().to_owned()).collect();
            (seen.join(" "), missing.into_iter().map(|it| it.name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(told(Some("a")), ("a-seen".into(), "y z".into()));
        assert_eq!(told(None), ("b-secret a-seen".into(), "y".into()));
    }

    #[tokio::test]
    async fn services_are_linked_both_ways_with_those_that_they_use_and_nobody_is_told_of_what_may_not_be_seen()
     {
        let held = Held::new().await;
        let service = Service::info();
        let on = json!({"spec": {"dependsOn": [
            {"name": "a-db"}, {"name": "b-hidden", "namespace": "other"}, {"name": "a-gone", "type": "Soft"},
        ]}});
        held.put(service, "shop", "a-web", on).await;
        held.put(service, "shop", "a-db", json!({})).await;
        let on = json!({"spec": {"dependsOn": [{"name": "a-db", "namespace": "shop"}]}});
        held.put(service, "other", "b-hidden", on).await;
        let world = held.store.world();
        let told = |name: &str, sees| {
            let began = (std::time::Instant::now(), false);
            let (store, shared) = (held.store.clone(), Arc::default());
            let moment = Moment::new(store, world.clone(), Arc::new(Sees(sees)), shared, began);
            let object = world.get(service, "shop", name).unwrap();
            let is = |relation: &str| [USES.0, USES.1].contains(&relation);
            let groups = groups(&world, &object, || moment.users(), is);
            let said = groups.into_iter().map(|group| {
                let relation = group.relation;
                let (seen, missing) = group.seen(&moment);
                let seen = seen.iter().map(|it| it.name().to_owned());
                let missing = missing.iter().map(|it| format!("?{}", it.name));
                format!("{relation}: {}", seen.chain(missing).collect::<Vec<_>>().join(" "))
            });
            said.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told("a-web", None), "dependsOn: a-db b-hidden ?a-gone");
        assert_eq!(told("a-db", None), "usedBy: b-hidden a-web");
        assert_eq!(told("a-web", Some("a")), "dependsOn: a-db ?b-hidden ?a-gone");
        assert_eq!(told("a-db", Some("a")), "usedBy: a-web");
    }

    #[test]
    fn a_kind_has_each_relation_once() {
        assert_eq!(
            relations(Server::info()),
            ["dependents", "instances", "machines", "owner", "permits", "profile", "rack", "runs"]
        );
    }
}
