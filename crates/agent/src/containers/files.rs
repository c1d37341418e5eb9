//! The volumes of instances on the host: secrets in memory, all else on the disk, both where only root comes. It must
//! never follow a path that an instance chose out of what the host's settings allow.
//!
//! Files of a volume are swapped all at once, as Kubernetes does: they are links into a folder `..data`, which is itself
//! a link that is replaced.

use super::{
    assignment::{Assignment, Secrets},
    body::Volumes,
    error::ContainersError,
    settings::Settings,
};
use crate::folder;
use quarterdeck_model::kinds::container::{Container, PodSpec, SecretVolume, Volume};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

/// Of Linux, include/uapi/linux/magic.h.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// The same.
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// Link to the folder that holds the files now.
const DATA: &str = "..data";

/// The files of one volume: what is in each, and its mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Makes a folder that only root reads.
pub(crate) fn private(path: &Path) -> Result<(), ContainersError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(ContainersError::file("cannot make the folder", path))
}

/// Refuses a folder for secrets that is on a disk.
pub(crate) fn in_memory(path: &Path) -> Result<(), ContainersError> {
    let seen = rustix::fs::statfs(path).map_err(io::Error::from);
    let seen = seen.map_err(ContainersError::file("cannot look at the folder", path))?;
    #[expect(clippy::useless_conversion, reason = "its type is another one on other processors")]
    match i64::from(seen.f_type) {
        TMPFS_MAGIC | RAMFS_MAGIC => Ok(()),
        _ => Err(ContainersError::SecretsOnDisk(path.into())),
    }
}

/// Writes a file of a container, or about it.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ContainersError> {
    folder::write(path, bytes, mode).map_err(ContainersError::file("cannot write", path))
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), ContainersError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ContainersError::file("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn of_data(settings: &Settings, uid: &str) -> PathBuf {
    settings.data.join("volumes").join(uid)
}

fn of_secrets(settings: &Settings, uid: &str) -> PathBuf {
    settings.secrets.join("volumes").join(uid)
}

/// Makes the volumes of an instance as they should be now.
pub(super) fn prepare(
    settings: &Settings,
    it: &Assignment,
    pod: &PodSpec,
) -> Result<Volumes, ContainersError> {
    allowed(settings, pod)?;
    let mut volumes = Volumes::new();
    for volume in &pod.volumes {
        let place = self::volume(settings, it, volume)?;
        volumes.insert(volume.name.clone(), place);
    }
    // Kubernetes looks at these, too, before it makes a container.
    for container in &pod.containers {
        environment(container, &it.secrets)?;
    }
    Ok(volumes)
}

/// Removes what was made for an instance.
pub(super) fn finish(settings: &Settings, uid: &str) -> Result<(), ContainersError> {
    remove(&of_data(settings, uid))?;
    remove(&of_secrets(settings, uid))
}

fn allowed(settings: &Settings, pod: &PodSpec) -> Result<(), ContainersError> {
    if pod.host_network && !settings.host_network {
        let why = "this host gives its network to no container; leave hostNetwork out, or have its owner allow it";
        return Err(ContainersError::Config(why.into()));
    }
    for container in &pod.containers {
        let rights = container.security_context.as_ref().and_then(|it| it.capabilities.as_ref());
        let added = rights.into_iter().flat_map(|rights| &rights.add);
        for right in added {
            if !settings.capabilities.contains(right) {
                return Err(ContainersError::Config(format!(
                    "this host adds no capability {right} to containers; have its owner allow it"
                )));
            }
        }
    }
    Ok(())
}

fn volume(
    settings: &Settings,
    it: &Assignment,
    volume: &Volume,
) -> Result<(PathBuf, bool), ContainersError> {
    let name = &volume.name;
    if let Some(secret) = &volume.secret {
        let folder = of_secrets(settings, &it.uid);
        private(&folder)?;
        let folder = folder.join(name);
        swap(&folder, &secret_files(secret, &it.secrets)?)?;
        return Ok((folder, true));
    }
    let folder = of_data(settings, &it.uid);
    private(&folder)?;
    if let Some(config) = &volume.config {
        let folder = folder.join(name);
        let file = |(name, text): (&String, &String)| {
            (name.clone(), (text.clone().into_bytes(), config.default_mode))
        };
        swap(&folder, &config.files.iter().map(file).collect())?;
        return Ok((folder, true));
    }
    if let Some(host) = &volume.host_path {
        let refused = |why: &str| {
            Err(ContainersError::Config(format!(
                "volume {name}: the host's path {}: {why}",
                host.path
            )))
        };
        // Where links lead is what is mounted.
        let Ok(path) = fs::canonicalize(&host.path) else {
            return refused("is not there");
        };
        let Some(writable) = settings.allows(&path) else {
            return refused("may not be mounted on this host; have its owner allow it");
        };
        if path.to_string_lossy().contains(':') {
            return refused("holds ':', which the engine cannot mount");
        }
        return Ok((path, !writable));
    }
    let folder = folder.join(name);
    let made = DirBuilder::new().recursive(true).mode(0o777).create(&folder);
    // As Kubernetes has it: whoever the container is may write there. Nobody else comes so far.
    made.and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)))
        .map_err(ContainersError::file("cannot make the folder", &folder))?;
    Ok((folder, false))
}

fn missing(secret: &str, key: Option<&str>) -> ContainersError {
    let what = match key {
        Some(key) => format!("Secret {secret} has no key {key}"),
        None => format!("Secret {secret} is not there"),
    };
    ContainersError::Config(format!(
        "{what}; create it, or wait until the plane was reached since this host started"
    ))
}

fn secret_files(volume: &SecretVolume, secrets: &Secrets) -> Result<Files, ContainersError> {
    let name = &volume.secret_name;
    let Some(secret) = secrets.get(name) else {
        return if volume.optional { Ok(Files::new()) } else { Err(missing(name, None)) };
    };
    if volume.items.is_empty() {
        let file =
            |(key, value): (&String, &Vec<u8>)| (key.clone(), (value.clone(), volume.default_mode));
        return Ok(secret.iter().map(file).collect());
    }
    let mut files = Files::new();
    for item in &volume.items {
        match secret.get(&item.key) {
            Some(value) => {
                let mode = item.mode.unwrap_or(volume.default_mode);
                files.insert(item.path.clone(), (value.clone(), mode));
            }
            None if volume.optional => {}
            None => return Err(missing(name, Some(&item.key))),
        }
    }
    Ok(files)
}

/// The variables of a container, with those from Secrets.
pub(super) fn environment(
    container: &Container,
    secrets: &Secrets,
) -> Result<Vec<String>, ContainersError> {
    let mut all = Vec::new();
    for variable in &container.env {
        let name = &variable.name;
        let Some(from) = &variable.value_from else {
            all.push(format!("{name}={}", variable.value.as_deref().unwrap_or_default()));
            continue;
        };
        let from = &from.secret_key_ref;
        let secret = secrets.get(&from.name);
        match secret.and_then(|secret| secret.get(&from.key)) {
            Some(value) => match std::str::from_utf8(value) {
                Ok(value) if !value.contains('\0') => all.push(format!("{name}={value}")),
                _ => {
                    return Err(ContainersError::Config(format!(
                        "variable {name}: key {} of Secret {} is no text; mount it as a file",
                        from.key, from.name
                    )));
                }
            },
            None if from.optional => {}
            None => return Err(missing(&from.name, secret.map(|_| from.key.as_str()))),
        }
    }
    Ok(all)
}

/// Makes the files of a volume these, all at once. What they were stays, when they are the same.
fn swap(folder: &Path, files: &Files) -> Result<(), ContainersError> {
    if matches!(current(folder), Ok(now) if now == *files) {
        return Ok(());
    }
    swapped(folder, files).map_err(ContainersError::file("cannot write the files of", folder))
}

fn swapped(folder: &Path, files: &Files) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let old = fs::read_link(folder.join(DATA)).ok();
    // Of two names the one that is not in force; what a crash left of it goes.
    let new = match &old {
        Some(old) if old.as_os_str() == "..0" => "..1",
        _ => "..0",
    };
    match fs::remove_dir_all(folder.join(new)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let inner = folder.join(new);
    DirBuilder::new().mode(0o755).create(&inner)?;
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o755))?;
    for (name, (bytes, mode)) in files {
        let path = inner.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(*mode))?;
    }
    let beside = folder.join("..new");
    let _ = fs::remove_file(&beside);
    symlink(new, &beside)?;
    fs::rename(&beside, folder.join(DATA))?;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let known =
            name.to_str().is_some_and(|name| name.starts_with("..") || files.contains_key(name));
        if !known {
            fs::remove_file(folder.join(name))?;
        }
    }
    for name in files.keys() {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    match old.filter(|old| old.as_os_str() != new) {
        Some(old) => fs::remove_dir_all(folder.join(old)),
        None => Ok(()),
    }
}

fn current(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder.join(DATA))? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode() & 0o777;
        let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
        files.insert(name, (fs::read(entry.path())?, mode));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str, u32)]) -> Files {
        all.iter().map(|(name, text, mode)| ((*name).into(), ((*text).into(), *mode))).collect()
    }

    #[test]
    fn files_are_swapped_all_at_once() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("v");
        for wanted in [
            files(&[("a", "1", 0o644), ("b", "2", 0o400)]),
            files(&[("a", "1", 0o644), ("b", "2", 0o400)]),
            files(&[("a", "3", 0o600), ("c", "4", 0o444)]),
            files(&[]),
            files(&[("d", "5", 0o640)]),
        ] {
            swap(&folder, &wanted).unwrap();
            assert_eq!(current(&folder).unwrap(), wanted);
            let mut seen: Vec<String> = fs::read_dir(&folder)
                .unwrap()
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with(".."))
                .collect();
            seen.sort();
            assert_eq!(seen, wanted.keys().cloned().collect::<Vec<_>>());
            for (name, (bytes, _)) in &wanted {
                assert_eq!(&fs::read(folder.join(name)).unwrap(), bytes);
            }
            // The folder in force and the link to it: nothing piles up.
            assert!(fs::read_dir(&folder).unwrap().count() <= wanted.len() + 2);
        }
    }

    #[test]
    fn a_folder_on_a_disk_is_not_for_secrets() {
        assert!(matches!(in_memory(Path::new("/proc")), Err(ContainersError::SecretsOnDisk(_))));
        assert!(in_memory(Path::new("/dev/shm")).is_ok());
    }

    #[test]
    fn a_link_out_of_what_is_allowed_is_not_followed() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("in")).unwrap();
        symlink("/etc", at.path().join("in/out")).unwrap();
        let rule = super::super::settings::HostPath { path: at.path().join("in"), writable: true };
        let settings =
            Settings { host_paths: vec![rule], ..Settings::new("h", at.path().join("data")) };
        let mount = |path: &str| {
            let path = at.path().join(path);
            let it: Volume = serde_json::from_value(
                serde_json::json!({"name": "v", "hostPath": {"path": path}}),
            )
            .unwrap();
            volume(&settings, &Assignment { uid: "u".into(), ..Assignment::default() }, &it)
        };
        assert!(mount("in").is_ok());
        assert!(mount("in/out").is_err());
        assert!(mount("in/nothing").is_err());
    }
}
