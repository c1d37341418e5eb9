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

    /// An image was pulled, that was not here by that name.
    pub(super) fn pulled(&self, id: &str, name: &str, bytes: u64) {
        let none = Pulled { names: BTreeSet::new(), used: Timestamp::now(), bytes };
        self.change(|pulled| {
            let it = pulled.entry(id.to_owned()).or_insert(none);
            it.names.insert(name.to_owned());
        });
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
        needed.extend(engine.image(&name).await?.map(|it| it.id));
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
        let names = pulled.get(&id).map(|it| it.names.clone()).unwrap_or_default();
        let mut stays = false;
        for name in names {
            // By now the name may be another image's.
            if engine.image(&name).await?.is_some_and(|it| it.id == id) {
                remove(host, &name).await?;
                stays |= engine.image(&name).await?.is_some_and(|it| it.id == id);
            }
        }
        // What has lost its last name by a newer one of the same.
        if engine.image(&id).await?.is_some_and(|it| !it.named) {
            remove(host, &id).await?;
        }
        if !stays {
            images.change(|pulled| drop(pulled.remove(&id)));
        }
    }
    Ok(())
}

async fn remove(host: &Host, name: &str) -> Result<(), super::ContainersError> {
    match host.engine.remove_image(name).await {
        Ok(()) => tracing::info!(name, "an image that nothing uses is removed"),
        Err(error @ super::ContainersError::EngineAway { .. }) => return Err(error),
        // It is in use by now, or gone, or something was made of it.
        Err(error) => tracing::debug!(name, %error, "an image stays"),
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
