//! The fleet map as a stream of bytes: all cells once, and then what changes, at most four times a second. Pages that
//! look at the same map share it: it is drawn once, followed once, and each frame is made once.

mod frame;
mod picture;

use crate::{
    index::Indexes,
    moment::Moment,
    search::Field,
    viewer::{Scope, Viewer},
};
use bytes::Bytes;
use picture::{Picture, Step};
use quarterdeck_model::{
    Kind as _, Revision,
    kinds::{Rack, Server},
};
use quarterdeck_store::Store;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex as Turn, Semaphore, broadcast};

/// How often what changed is sent at most.
const EVERY: Duration = Duration::from_millis(250);
/// How often it is said that nothing did.
const ALIVE: Duration = Duration::from_secs(10);
/// How often a map is drawn anew at most, when servers come and go.
const REDRAW: Duration = Duration::from_secs(2);
/// Frames that wait for a page; one that is further behind begins anew.
const BEHIND_MAX: usize = 64;

/// One map that pages look at.
struct Shared {
    picture: Turn<Option<Picture>>,
    frames: broadcast::Sender<Arc<Vec<Bytes>>>,
}

/// Maps that one caller looks at, who does not see all servers: each is drawn and followed for them alone.
const OWN_MAX: usize = 8;
/// Maps of such callers in all: each is some megabytes, and is looked through four times a second.
const OWN_MAX_IN_ALL: usize = 256;
/// Maps that are shared: any label makes one.
const SHARED_MAX: usize = 64;
/// Maps that are drawn at once, each on a core of its own.
const DRAWN_MAX: usize = 2;

static DRAWING: Semaphore = Semaphore::const_new(DRAWN_MAX);

/// Which pages look at the same map: those by the same field whose callers see all servers. Any other has its own, by
/// its number: what a caller may see changes, and what was drawn for an earlier look of theirs may be more or less.
type Which = (String, Option<(String, u64)>);

/// Why nobody can look at a map.
#[derive(Debug, PartialEq, Eq)]
pub enum Unlooked {
    /// It was not asked well.
    Wrong(String),
    /// Too many are looked at.
    TooMany(String),
    /// The plane cannot draw it now.
    Failed(String),
}

/// The maps that are looked at.
pub(crate) struct Maps {
    store: Arc<Store>,
    indexes: Arc<Indexes>,
    shared: Mutex<HashMap<Which, Arc<Shared>>>,
    /// How many maps of callers' own there were.
    own: AtomicU64,
}

/// A page's look at a map.
pub struct Look {
    first: Option<Vec<Bytes>>,
    frames: broadcast::Receiver<Arc<Vec<Bytes>>>,
    shared: Arc<Shared>,
    /// Frames were missed: the next is the whole map.
    behind: bool,
}

impl Maps {
    pub(crate) fn new(store: Arc<Store>, indexes: Arc<Indexes>) -> Self {
        Self { store, indexes, shared: Mutex::default(), own: AtomicU64::new(0) }
    }

    fn moment(&self, viewer: &Arc<dyn Viewer>) -> Moment {
        let world = self.store.world();
        let (indexes, now) = (self.indexes.clone(), Instant::now());
        Moment::new(self.store.clone(), world, viewer.clone(), indexes, (now, false))
    }

    /// Begins to look at the map by a field.
    ///
    /// # Errors
    /// When servers have no such field, or too many maps are looked at.
    pub(crate) async fn look(
        self: &Arc<Self>,
        by: &str,
        viewer: Arc<dyn Viewer>,
    ) -> Result<Look, Unlooked> {
        let kind = Server::info();
        let field = Field::parse(by);
        if !field.is_of(kind) || field == Field::Kind {
            let fields = kind.indexed_fields.join(", ");
            return Err(Unlooked::Wrong(format!(
                "servers cannot be coloured by {by:?}; besides metadata.labels.KEY there are: {fields}"
            )));
        }
        // Racks are part of the map as well.
        let all = [kind, Rack::info()].iter().all(|kind| matches!(viewer.scope(kind), Scope::All));
        let own = (!all).then(|| viewer.user().to_owned());
        let shared = self.shared(&field, own, &viewer)?;
        // Frames that come from here on follow what is drawn under the turn.
        let mut turn = shared.picture.lock().await;
        let frames = shared.frames.subscribe();
        let first = match &*turn {
            Some(picture) => picture.whole(),
            None => {
                let picture = self.draw(&viewer, field).await.map_err(Unlooked::Failed)?;
                let whole = picture.whole();
                *turn = Some(picture);
                whole
            }
        };
        drop(turn);
        Ok(Look { first: Some(first), frames, shared, behind: false })
    }

    /// The map by a field that all share who see all, or one for `own` alone. A new one is kept from the first moment,
    /// so that it is let go of whatever becomes of who asked for it.
    fn shared(
        self: &Arc<Self>,
        field: &Field,
        own: Option<String>,
        viewer: &Arc<dyn Viewer>,
    ) -> Result<Arc<Shared>, Unlooked> {
        // A panic while it was held left a map that is whole.
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = &own {
            let owners = || all.keys().filter_map(|(_, own)| own.as_ref());
            if owners().filter(|(owner, _)| owner == user).count() >= OWN_MAX {
                return Err(Unlooked::TooMany(format!(
                    "you look at {OWN_MAX} fleet maps already; close one, and try again"
                )));
            }
            if owners().count() >= OWN_MAX_IN_ALL {
                let why = "too many fleet maps are looked at; try again later";
                return Err(Unlooked::TooMany(why.into()));
            }
        }
        let own = own.map(|user| (user, self.own.fetch_add(1, Ordering::Relaxed)));
        let which = (field.name(), own);
        if let Some(shared) = all.get(&which) {
            return Ok(shared.clone());
        }
        if which.1.is_none() && all.keys().filter(|(_, own)| own.is_none()).count() >= SHARED_MAX {
            let why =
                "the fleet is looked at by too many fields; try again later, or by another one";
            return Err(Unlooked::TooMany(why.into()));
        }
        let (frames, _) = broadcast::channel(BEHIND_MAX);
        let shared = Arc::new(Shared { picture: Turn::new(None), frames });
        all.insert(which, shared.clone());
        drop(all);
        let (maps, kept, field, viewer) =
            (self.clone(), shared.clone(), field.clone(), viewer.clone());
        tokio::spawn(async move { maps.keep(&kept, &field, &viewer).await });
        Ok(shared)
    }

    /// Follows a map for as long as somebody looks at it.
    async fn keep(&self, shared: &Shared, by: &Field, viewer: &Arc<dyn Viewer>) {
        let mut said = Instant::now();
        let mut drawn = Instant::now();
        loop {
            tokio::time::sleep(EVERY).await;
            // Under the turn, so that nobody begins to look between.
            let mut turn = shared.picture.lock().await;
            if shared.frames.receiver_count() == 0 {
                *turn = None;
                if self.forget(shared) {
                    return;
                }
                continue;
            }
            let step = match &mut *turn {
                Some(picture) => self.step(picture, viewer),
                // It could not be drawn a while ago.
                None => Step::Redrawn,
            };
            let frames = match step {
                Step::Frames(frames) => frames,
                Step::Redrawn if drawn.elapsed() < REDRAW => continue,
                Step::Redrawn => {
                    drawn = Instant::now();
                    *turn = self.draw(viewer, by.clone()).await.ok();
                    turn.as_ref().map(Picture::whole).unwrap_or_default()
                }
            };
            let Some(picture) = &*turn else { continue };
            let frames = match frames.is_empty() {
                true if said.elapsed() < ALIVE => continue,
                true => vec![picture.alive()],
                false => frames,
            };
            said = Instant::now();
            // Nobody listens any more: seen at the next turn.
            let _ = shared.frames.send(Arc::new(frames));
        }
    }

    /// What became of a picture up to now.
    fn step(&self, picture: &mut Picture, viewer: &Arc<dyn Viewer>) -> Step {
        // The moment first: what is read after it may be newer, and is then taken in twice, and never not at all.
        let moment = self.moment(viewer);
        if self.store.newest(Rack::info()) != picture.racks {
            return Step::Redrawn;
        }
        let since = Revision(picture.revision);
        let changes = match self.store.newest(Server::info()) > since {
            true => self.store.changes(Server::info(), since),
            false => Ok(Vec::new()),
        };
        let Ok(changes) = changes else { return Step::Redrawn };
        let names: Vec<Arc<str>> = changes.into_iter().map(|(key, _)| key.name).collect();
        picture.follow(&moment, &names)
    }

    /// Draws where it keeps nobody from the network.
    async fn draw(&self, viewer: &Arc<dyn Viewer>, by: Field) -> Result<Picture, String> {
        // It is never closed. Held until it is drawn, whoever waits for it.
        let turn = DRAWING.acquire().await;
        // Before the moment: racks that change between the two are looked at again.
        let racks = self.store.newest(Rack::info());
        let moment = self.moment(viewer);
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Picture::drawn(&moment, &by, racks)
        });
        work.await.map_err(|_| "the plane is stopping".into())
    }

    /// Lets go of a map that nobody looks at; not when somebody is about to.
    fn forget(&self, shared: &Shared) -> bool {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        // Held here, and by who keeps it.
        all.retain(|_, other| !std::ptr::eq(&**other, shared) || Arc::strong_count(other) > 2);
        all.len() < before
    }
}

impl Look {
    /// The next frames; none when there are no more. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if !self.behind {
            match self.frames.recv().await {
                Ok(frames) => return Some(frames.to_vec()),
                Err(broadcast::error::RecvError::Closed) => return None,
                // Remembered: whoever waits for the turn below may stop waiting, and ask again.
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
            }
        }
        // Too slow: all of it anew, as it is now.
        let turn = self.shared.picture.lock().await;
        self.frames = self.frames.resubscribe();
        self.behind = false;
        turn.as_ref().map(Picture::whole)
    }
}

#[cfg(test)]
mod tests;
