//! Services: those that they use and that are not there, and circles of those that cannot be without each other, which two
//! writes at once can make. A service says so in a condition, and says nothing while all is right. It refuses nothing:
//! that is done at admission, and what is named may come later.

use super::Controller;
use crate::{
    depends::{circle, missing},
    objects::{EngineError, Objects, decode},
};
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, condition, kinds::Service,
};
use quarterdeck_store::Precondition;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Condition of a service that uses what does not exist; absent otherwise.
const LINKS_FOUND: &str = "LinksFound";
/// Condition of a service that cannot be without itself; absent otherwise.
const ACYCLIC: &str = "DependenciesAcyclic";
/// What comes and goes does so in crowds.
const GATHER: Duration = Duration::from_secs(1);
/// Services that a sentence names.
const NAMED_MAX: usize = 5;

/// Keeps what services say of those that they use.
#[derive(Default)]
pub(crate) struct Services {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What each uses.
    uses: HashMap<Key, BTreeSet<String>>,
    /// By whom each is used, there or not.
    used_by: HashMap<String, HashSet<Key>>,
}

impl Known {
    /// Notes what a service uses now; answers those that use it, when it came or went, and itself.
    fn note(&mut self, key: &Key, uses: Option<BTreeSet<String>>) -> Vec<Key> {
        let full = format!("{}/{}", key.namespace, key.name);
        let news = self.uses.contains_key(key) != uses.is_some();
        let before = match &uses {
            Some(uses) => self.uses.insert(key.clone(), uses.clone()),
            None => self.uses.remove(key),
        };
        for other in before.into_iter().flatten() {
            if let Some(users) = self.used_by.get_mut(&other) {
                users.remove(key);
                if users.is_empty() {
                    self.used_by.remove(&other);
                }
            }
        }
        for other in uses.into_iter().flatten() {
            self.used_by.entry(other).or_default().insert(key.clone());
        }
        let users = self.used_by.get(&full).into_iter().flatten().filter(|_| news);
        users.cloned().chain([key.clone()]).collect()
    }
}

impl Controller for Services {
    const NAME: &'static str = "services";

    fn follows(&self) -> Vec<KindRef> {
        vec![Service::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        let service = object.decode::<Service>().ok().filter(|_| !gone);
        let uses = service.map(|service| {
            let used = service.spec.depends_on.iter();
            used.map(|used| used.full_name(object.namespace())).collect()
        });
        // Each change leaves it whole but for one service, so a poisoned lock guards a good one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).note(&object.key, uses)
    }

    fn matters(&self, before: &Object, after: &Object) -> bool {
        let uses = |object: &Object| object.decode::<Service>().ok().map(|it| it.spec.depends_on);
        uses(before) != uses(after)
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let world = objects.store().world();
        let Some(object) = world.get(Service::info(), &key.namespace, &key.name) else {
            return Ok(None);
        };
        let mut service: Service = decode(&object)?;
        let now = objects.now();
        let before = service.status.conditions.clone();
        let missing = missing(&world, &service);
        let conditions = &mut service.status.conditions;
        if missing.is_empty() {
            conditions.retain(|condition| condition.kind != LINKS_FOUND);
        } else {
            let more = missing.len().saturating_sub(NAMED_MAX);
            let named: Vec<&str> = missing.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!(
                "spec.dependsOn names Service {}{more}, which does not exist; create it, or correct the name.",
                named.join(", ")
            );
            let said = ConditionStatus::False;
            let said = Condition::new(LINKS_FOUND, said, "ServiceNotFound", message, now);
            condition::set(conditions, said);
        }
        let circle = circle(&world, &service);
        let conditions = &mut service.status.conditions;
        match circle {
            None => conditions.retain(|condition| condition.kind != ACYCLIC),
            Some(circle) => {
                let message = format!(
                    "{}: none of them could begin; make one of these dependencies Soft.",
                    circle.join(" cannot be without ")
                );
                let said = Condition::new(ACYCLIC, ConditionStatus::False, "Cycle", message, now);
                condition::set(conditions, said);
            }
        }
        if service.status.conditions == before {
            return Ok(None);
        }
        // Whoever changed it meanwhile made a change that brings us here again.
        let put = objects.put(&service, Precondition::At(object.revision))?;
        let outcomes = objects.commit(vec![put]).await?;
        let came = matches!(outcomes.first(), Some(quarterdeck_store::Outcome::Committed(_)));
        Ok((!came).then_some(GATHER))
    }
}
