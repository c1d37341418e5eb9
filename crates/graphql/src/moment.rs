//! What one request is answered from: the world as of one revision, who asks, and how much they may still have
//! looked at. Every answer goes through here, so that nobody is shown what they may not see.

use crate::{
    index::{Index, Indexes, Moved},
    uses::Users,
    viewer::{Act, Scope, Viewer},
};
use async_graphql::{Context, Error};
use jiff::Timestamp;
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object,
    kinds::{self, Instance},
    selector::FieldRequirement,
};
use quarterdeck_store::{ListQuery, Store, World};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OnceCell};

/// Objects that one request may have read: some screens' worth, and a second of work at the worst.
const OBJECTS_MAX: usize = 50_000;
/// How long one request may be worked on.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);
/// Objects read before others have their turn.
const TURN: usize = 256;
/// Fields that one answer may have: a page of 500 objects with some hundred of each.
const FIELDS_MAX: usize = 200_000;
/// Bytes that one answer may have, about: a page of 500 objects of 32 KB.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Fields that are told before others have their turn.
const FIELDS_TURN: usize = 1_024;

/// Indexes of one request, by kind.
type Own = Mutex<HashMap<Arc<str>, Arc<OnceCell<Arc<Index>>>>>;

/// One request.
pub(crate) struct Moment {
    pub(crate) store: Arc<Store>,
    pub(crate) world: Arc<World>,
    pub(crate) viewer: Arc<dyn Viewer>,
    pub(crate) now: Timestamp,
    pub(crate) indexes: Arc<Indexes>,
    scopes: Mutex<HashMap<Arc<str>, Arc<Scope>>>,
    users: OnceLock<Arc<Users>>,
    read: AtomicUsize,
    /// Fields and bytes of the answer so far.
    fields: AtomicUsize,
    bytes: AtomicUsize,
    /// The answer is too large: there is none.
    too_large: Notify,
    began: Instant,
    /// An index was newer than the world.
    moved: AtomicBool,
    /// Makes indexes of its own, for that; each once.
    alone: Option<Own>,
}

/// The request that a field is asked in.
pub(crate) fn of<'c>(ctx: &Context<'c>) -> Result<&'c Arc<Moment>, Error> {
    ctx.data::<Arc<Moment>>()
}

impl Moment {
    pub(crate) fn new(
        store: Arc<Store>,
        world: Arc<World>,
        viewer: Arc<dyn Viewer>,
        indexes: Arc<Indexes>,
        (began, alone): (Instant, bool),
    ) -> Self {
        Self {
            store,
            world,
            viewer,
            now: Timestamp::now(),
            indexes,
            scopes: Mutex::default(),
            users: OnceLock::new(),
            read: AtomicUsize::new(0),
            fields: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            too_large: Notify::new(),
            began,
            moved: AtomicBool::new(false),
            alone: alone.then(Mutex::default),
        }
    }

    /// Whether the answer is to be made again, from a newer world.
    pub(crate) fn moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    /// Takes that many objects from what may be read, and lets others have their turn now and then.
    ///
    /// # Errors
    /// When it is more than one request may have.
    pub(crate) async fn charge(&self, objects: usize) -> Result<(), Error> {
        let before = self.read.fetch_add(objects, Ordering::Relaxed);
        if before.saturating_add(objects) > OBJECTS_MAX {
            return Err(Error::new(format!(
                "the query would read more than {OBJECTS_MAX} objects; ask for fewer at once (first), or in several queries"
            )));
        }
        if self.began.elapsed() > LONGEST {
            return Err(Error::new(format!(
                "the query took longer than {} seconds; ask for less at once",
                LONGEST.as_secs()
            )));
        }
        if before / TURN != (before + objects) / TURN {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Counts a field that was told, and how many bytes it takes. When it is one too many, this never comes back, and
    /// [`too_large`](Self::too_large) does: what is left of the answer would be thrown away.
    pub(crate) async fn told(&self, bytes: usize) {
        let fields = self.fields.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if fields >= FIELDS_MAX || before.saturating_add(bytes) > BYTES_MAX {
            self.too_large.notify_one();
            std::future::pending::<()>().await;
        }
        if fields % FIELDS_TURN == FIELDS_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Comes back when the answer is too large, with what is said of that.
    pub(crate) async fn too_large(&self) -> String {
        self.too_large.notified().await;
        format!(
            "the answer would have more than {FIELDS_MAX} fields, or {} MiB; ask for fewer objects at once (first), or for less of each",
            BYTES_MAX / (1024 * 1024)
        )
    }

    /// What of a kind may be seen.
    pub(crate) fn scope(&self, kind: KindRef) -> Arc<Scope> {
        let name = kind.resource_name();
        // A panic while it was held left a map that is whole.
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.entry(name).or_insert_with(|| Arc::new(self.viewer.scope(kind))).clone()
    }

    /// Whether an object may be seen: a list shows it, or it may be read by its name.
    pub(crate) fn sees(&self, kind: KindRef, namespace: &str, name: &str) -> bool {
        let act = Act { verb: "get", kind, subresource: "", namespace, name };
        self.scope(kind).sees(namespace, name) || self.viewer.may(&act)
    }

    /// One object, if it is there and may be seen.
    pub(crate) fn get(&self, kind: KindRef, namespace: &str, name: &str) -> Option<Arc<Object>> {
        // Of what may not be seen, not even whether it is there.
        self.world.get(kind, namespace, name).filter(|_| self.sees(kind, namespace, name))
    }

    /// Only those that may be seen.
    pub(crate) fn seen(&self, mut objects: Vec<Arc<Object>>) -> Vec<Arc<Object>> {
        objects.retain(|object| self.sees(object.kind, object.namespace(), object.name()));
        objects
    }

    /// All objects of a kind with these fields that may be seen.
    pub(crate) fn with_fields(&self, kind: KindRef, fields: &str) -> Vec<Arc<Object>> {
        self.seen(self.world.with_fields(kind, fields))
    }

    /// The instances of a service that may be seen.
    pub(crate) fn instances(&self, namespace: &str, service: &str) -> Vec<Arc<Object>> {
        let path = "spec.service".to_owned();
        let fields =
            &FieldSelector(vec![FieldRequirement { path, equal: true, value: service.into() }]);
        let (kind, labels) = (Instance::info(), &LabelSelector::default());
        let namespace = Some(namespace);
        let query = ListQuery { kind, namespace, labels, fields, after: None, limit: None };
        self.seen(self.world.list(&query).items)
    }

    /// Which services use which.
    pub(crate) fn users(&self) -> Arc<Users> {
        self.users.get_or_init(|| self.indexes.users.at(&self.store, &self.world)).clone()
    }

    /// The index of a kind.
    pub(crate) async fn index(&self, kind: KindRef) -> Result<Arc<Index>, Error> {
        let index = match &self.alone {
            Some(own) => {
                let cell = {
                    // A panic while it was held left a map that is whole.
                    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                    own.entry(kind.resource_name()).or_default().clone()
                };
                cell.get_or_try_init(|| Indexes::own(&self.world, kind)).await.cloned()
            }
            None => self.indexes.get(&self.store, &self.world, kind).await,
        };
        index.map_err(|Moved| {
            self.moved.store(true, Ordering::Relaxed);
            Error::new("the fleet changed while it was searched; try again")
        })
    }
}

/// The kind that somebody names by kind, plural, singular, short name or full name.
///
/// # Errors
/// When there is no such kind.
pub(crate) fn kind(name: &str) -> Result<KindRef, Error> {
    let all = kinds::all().iter().copied();
    let found = all.clone().find(|kind| kind.kind == name).or_else(|| {
        let small = name.to_ascii_lowercase();
        let is = |kind: &KindRef| {
            kind.kind.eq_ignore_ascii_case(&small)
                || kind.plural == small
                || *kind.resource_name() == *small
                || kind.short_names.contains(&&*small)
        };
        all.clone().find(is)
    });
    found.ok_or_else(|| {
        let names: Vec<&str> = kinds::all().iter().map(|kind| kind.kind).collect();
        Error::new(format!("there is no kind {name:?}; there are {}", names.join(", ")))
    })
}
