//! Keeps a list of the images that this agent pulled, and has those go that nothing needs.

use super::{
    Host, files,
    images::{Disk, Pulled, which_go},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The images that this agent pulled.
pub(super) struct Keeper {
    file: PathBuf,
    pulled: Mutex<BTreeMap<String, Pulled>>,
}

impl Keeper {
    /// What is kept in the file; none, if that cannot be read: then they stay.
    pub(super) fn open(file: PathBuf) -> Self {
        let pulled = std::fs::read(&file).ok().and_then(|it| serde_json::from_slice(&it).ok());
        Self { file, pulled: Mutex::new(pulled.unwrap_or_default()) }
    }

    /// An image was pulled, that was not here.
    pub(super) fn pulled(&self, id: &str, name: &str, bytes: u64) {
        let it = Pulled { name: name.to_owned(), used: Timestamp::now(), bytes };
        self.change(|pulled| drop(pulled.insert(id.to_owned(), it)));
    }

    /// Something needs an image.
    pub(super) fn used(&self, id: &str) {
        if let Some(it) = self.lock().get_mut(id) {
            it.used = Timestamp::now();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pulled>> {
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Pulled>)) {
        let mut pulled = self.lock();
        change(&mut pulled);
        let written = serde_json::to_vec(&*pulled).map_err(|error| error.to_string());
        let written = written.and_then(|json| {
            files::write(&self.file, &json, 0o600).map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the list of images cannot be kept; those pulled now stay for ever");
        }
    }
}

/// Has images go, again and again.
pub(super) async fn keep(host: &Host) {
    let mut every = tokio::time::interval(host.settings.images.every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = clean(host).await {
            tracing::warn!(%error, "images cannot be cleaned up; it is tried again");
        }
    }
}

async fn clean(host: &Host) -> Result<(), super::ContainersError> {
    let Host { engine, settings, images, .. } = host;
    let mut needed: BTreeSet<String> = engine.images_in_use().await?;
    for name in host.image_names() {
        needed.extend(engine.image(&name).await?.map(|(id, _)| id));
    }
    let now = Timestamp::now();
    let pulled = {
        let mut pulled = images.lock();
        for it in needed.iter() {
            if let Some(it) = pulled.get_mut(it) {
                it.used = now;
            }
        }
        pulled.clone()
    };
    for id in which_go(&pulled, &needed, now, disk(host).await, &settings.images) {
        let name = pulled.get(&id).map(|it| it.name.as_str()).unwrap_or_default();
        match engine.remove_image(&id).await {
            Ok(()) => tracing::info!(name, id, "an image that nothing uses is removed"),
            // Somebody else has given it a name, or it is in use by now, or gone.
            Err(error @ super::ContainersError::EngineAway { .. }) => return Err(error),
            Err(error) => tracing::debug!(name, id, %error, "an image stays"),
        }
        if engine.image(&id).await?.is_none() {
            images.change(|pulled| drop(pulled.remove(&id)));
        }
    }
    Ok(())
}

async fn disk(host: &Host) -> Option<Disk> {
    let info = host.engine.client().await.ok()?.info().await.ok()?;
    let seen = rustix::fs::statvfs(info.docker_root_dir?).ok()?;
    let total_bytes = seen.f_blocks.saturating_mul(seen.f_frsize);
    let used = seen.f_blocks.saturating_sub(seen.f_bavail);
    Some(Disk { used_bytes: used.saturating_mul(seen.f_frsize), total_bytes })
}
