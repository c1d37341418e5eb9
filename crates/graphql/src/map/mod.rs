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
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex as Turn, broadcast};

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

/// Which pages look at the same map: those by the same field whose callers see all servers; any other sees its own.
type Which = (String, Option<String>);

/// The maps that are looked at.
pub(crate) struct Maps {
    store: Arc<Store>,
    indexes: Arc<Indexes>,
    shared: Mutex<HashMap<Which, Arc<Shared>>>,
}

/// A page's look at a map.
pub struct Look {
    first: Option<Vec<Bytes>>,
    frames: broadcast::Receiver<Arc<Vec<Bytes>>>,
    shared: Arc<Shared>,
}

impl Maps {
    pub(crate) fn new(store: Arc<Store>, indexes: Arc<Indexes>) -> Self {
        Self { store, indexes, shared: Mutex::default() }
    }

    fn moment(&self, viewer: &Arc<dyn Viewer>) -> Moment {
        let world = self.store.world();
        Moment::new(self.store.clone(), world, viewer.clone(), self.indexes.clone(), false)
    }

    /// Begins to look at the map by a field.
    ///
    /// # Errors
    /// When servers have no such field.
    pub(crate) async fn look(
        self: &Arc<Self>,
        by: &str,
        viewer: Arc<dyn Viewer>,
    ) -> Result<Look, String> {
        let kind = Server::info();
        let field = Field::parse(by);
        if !field.is_of(kind) || field == Field::Kind {
            let fields = kind.indexed_fields.join(", ");
            return Err(format!(
                "servers cannot be coloured by {by:?}; besides metadata.labels.KEY there are: {fields}"
            ));
        }
        // Racks are part of the map as well.
        let all = [kind, Rack::info()].iter().all(|kind| matches!(viewer.scope(kind), Scope::All));
        let own = (!all).then(|| format!("{}\0{}", viewer.user(), viewer.groups().join("\0")));
        let (shared, is_new) = self.shared((field.name(), own));
        // Frames that come from here on follow what is drawn under the turn.
        let mut turn = shared.picture.lock().await;
        let frames = shared.frames.subscribe();
        let first = match &*turn {
            Some(picture) => picture.whole(),
            None => {
                let picture = draw(self.moment(&viewer), field.clone()).await?;
                let whole = picture.whole();
                *turn = Some(picture);
                whole
            }
        };
        drop(turn);
        if is_new {
            let (maps, shared) = (self.clone(), shared.clone());
            tokio::spawn(async move { maps.keep(&shared, &field, &viewer).await });
        }
        Ok(Look { first: Some(first), frames, shared })
    }

    fn shared(&self, which: Which) -> (Arc<Shared>, bool) {
        // A panic while it was held left a map that is whole.
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, shared| shared.frames.receiver_count() > 0 || Arc::strong_count(shared) > 1);
        if let Some(shared) = all.get(&which) {
            return (shared.clone(), false);
        }
        let (frames, _) = broadcast::channel(BEHIND_MAX);
        let shared = Arc::new(Shared { picture: Turn::new(None), frames });
        all.insert(which, shared.clone());
        (shared, true)
    }

    /// Follows a map for as long as somebody looks at it.
    async fn keep(&self, shared: &Shared, by: &Field, viewer: &Arc<dyn Viewer>) {
        let mut said = Instant::now();
        let mut drawn = Instant::now();
        let mut racks = self.store.newest(Rack::info());
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
            let Some(picture) = &mut *turn else { continue };
            let racks_now = self.store.newest(Rack::info());
            let since = Revision(picture.revision);
            let changes = match self.store.newest(Server::info()) > since {
                true => self.store.changes(Server::info(), since),
                false => Ok(Vec::new()),
            };
            let moment = self.moment(viewer);
            let step = match changes {
                Ok(changes) if racks_now == racks => {
                    let names: Vec<Arc<str>> =
                        changes.into_iter().map(|(key, _)| key.name).collect();
                    picture.follow(&moment, &names)
                }
                _ => Step::Redrawn,
            };
            let frames = match step {
                Step::Frames(frames) => frames,
                Step::Redrawn if drawn.elapsed() < REDRAW => continue,
                Step::Redrawn => {
                    (racks, drawn) = (racks_now, Instant::now());
                    let Ok(next) = draw(moment, by.clone()).await else { return };
                    *picture = next;
                    picture.whole()
                }
            };
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

    /// Lets go of a map that nobody looks at; not when somebody is about to.
    fn forget(&self, shared: &Shared) -> bool {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        // Held here, and by who keeps it.
        all.retain(|_, other| !std::ptr::eq(&**other, shared) || Arc::strong_count(other) > 2);
        all.len() < before
    }
}

/// Draws where it keeps nobody from the network.
async fn draw(moment: Moment, by: Field) -> Result<Picture, String> {
    let work = tokio::task::spawn_blocking(move || Picture::drawn(&moment, &by));
    work.await.map_err(|_| "the plane is stopping".into())
}

impl Look {
    /// The next frames; none when there are no more. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.frames.recv().await {
            Ok(frames) => Some(frames.to_vec()),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // Too slow: all of it anew, as it is now.
                let turn = self.shared.picture.lock().await;
                self.frames = self.frames.resubscribe();
                turn.as_ref().map(Picture::whole)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
