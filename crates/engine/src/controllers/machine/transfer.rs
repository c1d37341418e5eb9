//! A machine that goes over to another team, with its server and all that is on it.
//!
//! Whose it is, is what the Server says (`status.machineRef`), and that is one field, written once: at no moment does it
//! belong to nobody or to two. Before, the one that gives says whom it goes to, and begins nothing any more; after, it is
//! gone. Each step finds out from the objects alone how far the others came, and holds only while both machines are as
//! they were seen: an offer that is withdrawn, and a taker that is deleted, are not passed over.

use super::{FINALIZER, decide::not_ready};
use crate::objects::{EngineError, Objects, decode};
use quarterdeck_model::{
    Key, Kind as _, Revision, Time,
    kinds::{
        Instance, Machine, MachineName, MachinePhase, MachineReference, MachineStatus, Server,
        instances_on_machine,
    },
};
use quarterdeck_store::{Outcome, Precondition, World};

/// Why a machine cannot be taken over yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Whether the machine takes over another and has not done so.
pub(super) fn takes(machine: &Machine) -> Option<&MachineName> {
    let done = machine.status.server.is_some() || machine.metadata.deletion_timestamp.is_some();
    machine.spec.transfer_from.as_ref().filter(|_| !done)
}

/// Whether the giver may be taken over as it is now. Pure.
pub(super) fn ready(
    taker: &Machine,
    giver: Option<&Machine>,
    instances: usize,
) -> Result<(), Waits> {
    let waits = |reason, message| Err(Waits { reason, message });
    let from = taker.spec.transfer_from.clone().unwrap_or_default();
    let named = format!("Machine {}/{}", from.namespace, from.name);
    let own = MachineName {
        namespace: taker.metadata.namespace.clone().unwrap_or_default(),
        name: taker.metadata.name.clone(),
    };
    let Some(giver) = giver.filter(|giver| giver.spec.transfer_to.as_ref() == Some(&own)) else {
        let message = format!(
            "{named} does not offer itself to {}/{}; its team says so in its spec.transferTo.",
            own.namespace, own.name
        );
        return waits("TransferNotOffered", message);
    };
    let other = giver.status.transferring_to.as_ref();
    if giver.metadata.deletion_timestamp.is_some() {
        return waits("TransferWaits", format!("{named} is being deleted."));
    }
    if let Some(owner) =
        giver.metadata.owner_references.iter().find(|it| it.controller == Some(true))
    {
        let message = format!(
            "{named} belongs to {} {}, which would replace it; take it out of that first.",
            owner.kind, owner.name
        );
        return waits("TransferRefused", message);
    }
    let differs = [
        ("class", &taker.spec.class, &giver.spec.class),
        ("image", &taker.spec.image, &giver.spec.image),
    ];
    if let Some((field, wanted, has)) = differs.into_iter().find(|(_, wanted, has)| wanted != has) {
        let message = format!(
            "{named} has spec.{field} {has}, and this one {wanted}; delete this one, and create it with {has}."
        );
        return waits("TransferDiffers", message);
    }
    if instances > 0 {
        let message = format!(
            "{instances} Instances of services in namespace {} run on {named}; they cannot go with it: delete them first.",
            from.namespace
        );
        return waits("TransferWaits", message);
    }
    let runs = giver.status.phase == MachinePhase::Running && giver.status.current_run.is_none();
    if !runs && other.is_none() {
        return waits(
            "TransferWaits",
            format!("{named} is {:?}; it is taken over when it is Running.", giver.status.phase),
        );
    }
    Ok(())
}

/// Takes one step of taking over. Answers what the taker says of itself until it has the server.
pub(super) async fn take_over(
    objects: &Objects,
    world: &World,
    taker: (Revision, &Machine),
    from: &MachineName,
    now: Time,
) -> Result<MachineStatus, EngineError> {
    let (at, machine) = taker;
    let mut status = machine.status.clone();
    status.observed_generation = machine.metadata.generation;
    let found = world.get(Machine::info(), &from.namespace, &from.name);
    let giver = found.as_deref().map(decode::<Machine>).transpose()?;
    let on = instances_on_machine(&from.namespace, &from.name);
    let instances = world.with_fields(Instance::info(), &on).len();
    if let Err(Waits { reason, message }) = ready(machine, giver.as_ref(), instances) {
        not_ready(&mut status, reason, message, now);
        return Ok(status);
    }
    let Some((found, mut giver)) = found.zip(giver) else { return Ok(status) };
    giver.metadata.resource_version = None;
    let held = format!("status.machineRef.uid={}", giver.metadata.uid);
    let Some(server) = world.with_fields(Server::info(), &held).into_iter().next() else {
        return Ok(status);
    };
    let message = format!(
        "It takes over Server {} from Machine {}/{}.",
        server.name(),
        from.namespace,
        from.name
    );
    not_ready(&mut status, "Transferring", message, now);
    // What is installed is known before it has the server: else it would be installed anew.
    status.image.clone_from(&giver.status.image);
    if status != machine.status {
        let next = Machine { status: status.clone(), ..machine.clone() };
        objects.commit(vec![objects.put(&next, Precondition::At(at))?]).await?;
        return Ok(status);
    }
    let uid = &machine.metadata.uid;
    if giver.status.transferring_to.as_ref() != Some(uid) {
        // From here on nothing is begun for it. Who came between made a change that brings us here again.
        let mut next = giver.clone();
        next.status.transferring_to = Some(uid.clone());
        not_ready(
            &mut next.status,
            "Transferring",
            format!(
                "It goes to namespace {}.",
                machine.metadata.namespace.as_deref().unwrap_or_default()
            ),
            now,
        );
        objects.commit(vec![objects.put(&next, Precondition::At(found.revision))?]).await?;
        return Ok(status);
    }
    let mut next = decode::<Server>(&server)?;
    next.status.machine_ref = Some(MachineReference {
        namespace: machine.metadata.namespace.clone().unwrap_or_default(),
        name: machine.metadata.name.clone(),
        uid: uid.clone(),
    });
    let own = Key::new(
        Machine::info(),
        machine.metadata.namespace.as_deref().unwrap_or_default(),
        &machine.metadata.name,
    );
    let seen = vec![(found.key.clone(), found.revision), (own, at)];
    let precondition = Precondition::AtIf { at: server.revision, seen };
    objects.commit(vec![objects.put(&next, precondition)?]).await?;
    Ok(status)
}

/// Lets a machine go whose server another one has taken over; false when that is not so. What offers itself in vain,
/// as its taker is gone, is what it was.
pub(super) async fn given(
    objects: &Objects,
    world: &World,
    key: &Key,
    (at, machine): (Revision, &Machine),
) -> Result<bool, EngineError> {
    let Some(taker) = &machine.status.transferring_to else { return Ok(false) };
    let taken = world.with_fields(Server::info(), &format!("status.machineRef.uid={taker}"));
    let own = machine.status.server.as_deref();
    if taken.iter().any(|server| Some(server.name()) == own) {
        let mut next = machine.clone();
        next.metadata.finalizers.retain(|held| held != FINALIZER);
        let gone = if next.metadata.finalizers.is_empty() {
            objects.delete(key.clone(), Precondition::At(at))
        } else {
            // Whoever holds it sees it go.
            next.metadata
                .deletion_timestamp
                .get_or_insert(Time::seconds(objects.now().timestamp()));
            objects.put(&next, Precondition::At(at))?
        };
        let outcomes = objects.commit(vec![gone]).await?;
        return Ok(matches!(outcomes.first(), Some(Outcome::Committed(_))));
    }
    let to = machine.spec.transfer_to.as_ref();
    let there = match to {
        Some(to) => objects.read::<Machine>(&to.namespace, &to.name)?,
        None => None,
    };
    let waits = there.is_some_and(|(_, there)| {
        there.metadata.uid == *taker && there.metadata.deletion_timestamp.is_none()
    });
    // One that is to go is taken over by nobody any more.
    let waits = waits && machine.metadata.deletion_timestamp.is_none();
    if !waits {
        let mut next = machine.clone();
        next.status.transferring_to = None;
        objects.commit(vec![objects.put(&next, Precondition::At(at))?]).await?;
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{KindRef, object};
    use quarterdeck_store::{Mutation, Sqlite, Store, Write};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn machine(value: Value) -> Machine {
        serde_json::from_value(value).unwrap()
    }

    fn taker() -> Machine {
        machine(json!({
            "metadata": {"name": "web", "namespace": "b", "uid": "t"},
            "spec": {"class": "c", "image": "i", "transferFrom": {"namespace": "a", "name": "web"}},
        }))
    }

    fn giver(more: &Value) -> Machine {
        let mut value = json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "g"},
            "spec": {"class": "c", "image": "i", "transferTo": {"namespace": "b", "name": "web"}},
            "status": {"phase": "Running", "server": "s", "image": "i"},
        });
        for (part, fields) in more.as_object().unwrap() {
            value[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        machine(value)
    }

    #[test]
    fn only_what_both_sides_want_and_nothing_hinders_is_taken_over() {
        assert_eq!(ready(&taker(), Some(&giver(&json!({}))), 0), Ok(()));
        let owner = json!({"apiVersion": "v", "kind": "MachinePool", "name": "p", "uid": "u", "controller": true});
        for (more, instances, reason, says) in [
            (
                json!({"spec": {"transferTo": null}}),
                0,
                "TransferNotOffered",
                "does not offer itself to b/web",
            ),
            (
                json!({"spec": {"transferTo": {"namespace": "c", "name": "web"}}}),
                0,
                "TransferNotOffered",
                "does not offer itself",
            ),
            (json!({"spec": {"image": "j"}}), 0, "TransferDiffers", "spec.image j, and this one i"),
            (json!({"spec": {"class": "d"}}), 0, "TransferDiffers", "spec.class d"),
            (json!({"status": {"phase": "Updating"}}), 0, "TransferWaits", "is Updating"),
            (json!({"status": {"currentRun": "x/y"}}), 0, "TransferWaits", "when it is Running"),
            (
                json!({"metadata": {"ownerReferences": [owner]}}),
                0,
                "TransferRefused",
                "MachinePool p",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2026-11-02T08:00:00Z"}}),
                0,
                "TransferWaits",
                "being deleted",
            ),
            (json!({}), 2, "TransferWaits", "2 Instances"),
        ] {
            let waits = ready(&taker(), Some(&giver(&more)), instances).unwrap_err();
            assert_eq!(waits.reason, reason, "{more}");
            assert!(waits.message.contains(says), "{waits:?}");
        }
        assert_eq!(ready(&taker(), None, 0).unwrap_err().reason, "TransferNotOffered");
    }

    /// Writes an object over whatever there is.
    async fn write(store: &Store, kind: KindRef, value: Value) -> Revision {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
        let key = Key::new(kind, text("namespace"), text("name"));
        let write = Write::Put(object::encode(kind, &value).into());
        let mutation = Mutation { key, write, precondition: Precondition::None, fence: None };
        match store.commit(vec![mutation]).await.unwrap()[0] {
            Outcome::Committed(revision) => revision,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_withdrawn_or_deleted_since_it_was_seen_does_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
        let objects = Objects::for_test(store.clone(), Arc::new(jiff::Timestamp::now)).await;
        let owned = json!({"namespace": "a", "name": "web", "uid": "g"});
        let server = json!({"metadata": {"name": "s", "uid": "s"}, "spec": {"bmc": {"address": "192.0.2.1"}}, "status": {"machineRef": owned}});
        let agreed = |transfer_to: Value| {
            let mut giver = json!(giver(&json!({"status": {"transferringTo": "t"}})));
            giver["spec"]["transferTo"] = transfer_to;
            giver
        };
        let to = json!({"namespace": "b", "name": "web"});
        let whose = || {
            let server = store.world().get(Server::info(), "", "s").unwrap();
            server.field("status.machineRef.uid").unwrap().to_owned()
        };
        // Twice, since what the taker says of itself comes first.
        let mut taker = taker();
        let now = objects.now();
        let from = taker.spec.transfer_from.clone().unwrap();
        write(&store, Server::info(), server.clone()).await;
        write(&store, Machine::info(), agreed(to.clone())).await;
        let at = write(&store, Machine::info(), json!(taker)).await;
        let world = store.world();
        taker.status = take_over(&objects, &world, (at, &taker), &from, now).await.unwrap();
        let taker_key = Key::new(Machine::info(), "b", "web");
        for change in [agreed(Value::Null), {
            let mut gone = json!(taker);
            gone["metadata"]["deletionTimestamp"] = json!("2026-11-02T08:00:00Z");
            gone
        }] {
            let before = store.world();
            let at = before.get(Machine::info(), "b", "web").unwrap().revision;
            write(&store, Machine::info(), change).await;
            // The world it looks at is from before.
            take_over(&objects, &before, (at, &taker), &from, now).await.unwrap();
            assert_eq!(whose(), "g");
            write(&store, Machine::info(), agreed(to.clone())).await;
        }
        let at = write(&store, Machine::info(), json!(taker)).await;
        take_over(&objects, &store.world(), (at, &taker), &from, now).await.unwrap();
        assert_eq!(whose(), "t", "{taker_key} takes it when nobody came between");
    }

    #[tokio::test]
    async fn what_is_to_go_waits_for_no_taker() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
        let objects = Objects::for_test(store.clone(), Arc::new(jiff::Timestamp::now)).await;
        write(&store, Machine::info(), json!(taker())).await;
        let key = Key::new(Machine::info(), "a", "web");
        let gone = json!({"deletionTimestamp": "2026-11-02T08:00:00Z"});
        for (metadata, waits) in [(json!({}), true), (gone, false)] {
            let transferring = json!({"transferringTo": "t"});
            let giver = giver(&json!({"metadata": metadata, "status": transferring}));
            let at = write(&store, Machine::info(), json!(giver)).await;
            let done = given(&objects, &store.world(), &key, (at, &giver)).await.unwrap();
            assert_eq!(done, waits, "whether nothing else is done for it");
            let after = store.world().get(Machine::info(), "a", "web").unwrap().value();
            assert_eq!(after.pointer("/status/transferringTo").is_some(), waits);
        }
    }
}
