//! All policies with their bindings, by the write they are about. Kept until one of them changes; an
//! expression is read once for each revision of its policy.

use super::{
    matching,
    request::{Attempt, Doing, TOKEN},
};
use crate::path::Subresource;
use arc_swap::ArcSwap;
use quarterdeck_model::{
    Kind as _, Revision, kinds,
    kinds::{
        ServiceAccount, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        admission_policy::{
            MatchResources, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
        },
    },
};
use quarterdeck_runbook::policy::Program;
use quarterdeck_store::{Store, World};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A policy, read.
pub(super) struct Compiled {
    pub(super) name: String,
    revision: Revision,
    pub(super) spec: ValidatingAdmissionPolicySpec,
    /// Its expressions, or why they cannot be read.
    pub(super) program: Result<Program, String>,
}

/// A binding, read.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) spec: ValidatingAdmissionPolicyBindingSpec,
}

/// A policy put to use.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) policy: Arc<Compiled>,
    pub(super) binding: Arc<Binding>,
}

/// What is written: group, plural, part, and what is done.
type Place = (&'static str, &'static str, &'static str, Doing);

/// Policies as of some revision.
#[derive(Default)]
pub(crate) struct Index {
    /// The newest revision of a policy, and of a binding, that is in here.
    at: Option<[Revision; 2]>,
    compiled: HashMap<String, Arc<Compiled>>,
    about: HashMap<Place, Vec<Bound>>,
}

/// Keeps the index.
#[derive(Default)]
pub(crate) struct Policies {
    current: ArcSwap<Index>,
    /// One at a time brings it up to date.
    updating: Mutex<()>,
}

impl Policies {
    /// The index of a world, or of a newer one.
    pub(super) fn index(&self, store: &Store, world: &World) -> Arc<Index> {
        // Asked for before the objects are read, so that no change is missed.
        let newest = [
            store.newest(ValidatingAdmissionPolicy::info()),
            store.newest(ValidatingAdmissionPolicyBinding::info()),
        ];
        let current = self.current.load();
        if current.at == Some(newest) {
            return current.clone();
        }
        // A panic while it was held published nothing.
        let _one = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if current.at == Some(newest) {
            return current;
        }
        // The world may be older than what is newest by now.
        let now = store.world();
        let world = if now.revision() > world.revision() { &*now } else { world };
        let next = Arc::new(Index::built(world, newest, &current.compiled));
        self.current.store(next.clone());
        next
    }
}

impl Index {
    fn built(world: &World, newest: [Revision; 2], known: &HashMap<String, Arc<Compiled>>) -> Self {
        let mut compiled = HashMap::new();
        for object in world.all(ValidatingAdmissionPolicy::info()) {
            let name = object.name().to_owned();
            let same = known.get(&name).filter(|known| known.revision == object.revision);
            let policy = match same {
                Some(same) => same.clone(),
                None => {
                    let Ok(policy) = object.decode::<ValidatingAdmissionPolicy>() else { continue };
                    let program = Program::compile(&policy.spec).map_err(|why| why.to_string());
                    let (name, spec) = (name.clone(), policy.spec);
                    Arc::new(Compiled { name, revision: object.revision, spec, program })
                }
            };
            compiled.insert(name, policy);
        }
        let mut about: HashMap<Place, Vec<Bound>> = HashMap::new();
        for object in world.all(ValidatingAdmissionPolicyBinding::info()) {
            let Ok(binding) = object.decode::<ValidatingAdmissionPolicyBinding>() else { continue };
            // A binding may come before its policy.
            let Some(policy) = compiled.get(&binding.spec.policy_name) else { continue };
            let binding = Arc::new(Binding { name: object.name().to_owned(), spec: binding.spec });
            let bound = Bound { policy: policy.clone(), binding };
            for kind in kinds::all() {
                let status = kind.has_status.then_some(Subresource::Status.name());
                let token = (*kind == ServiceAccount::info()).then_some(TOKEN);
                let scale = kind.scale.map(|_| Subresource::Scale.name());
                for part in [""].into_iter().chain(status).chain(scale).chain(token) {
                    for doing in [Doing::Create, Doing::Update, Doing::Delete] {
                        if matching::may_be_meant(&bound, kind, part, doing) {
                            let place = (kind.group, kind.plural, part, doing);
                            about.entry(place).or_default().push(bound.clone());
                        }
                    }
                }
            }
        }
        Self { at: Some(newest), compiled, about }
    }

    /// The policies that may be about a write.
    pub(super) fn about(&self, attempt: &Attempt<'_>) -> &[Bound] {
        let Attempt { kind, part, doing, .. } = *attempt;
        self.about.get(&(kind.group, kind.plural, part, doing)).map_or(&[], Vec::as_slice)
    }
}

impl Bound {
    /// What the policy says of the writes it is about, and what its binding does.
    pub(super) fn constraints(&self) -> impl Iterator<Item = &MatchResources> {
        let own = self.policy.spec.match_constraints.iter();
        own.chain(&self.binding.spec.match_resources)
    }

    /// Whether this write is meant; `namespace` is the one it is in.
    pub(super) fn matches(&self, attempt: &Attempt<'_>, namespace: Option<&Value>) -> bool {
        self.constraints().all(|constraints| matching::matches(constraints, attempt, namespace))
    }
}
