//! Writes a file as it was asked, in one step, unless it is so already.

use super::{Failure, Outcome, users};
use crate::{folder::sync_folder, host::Host};
use quarterdeck_model::kinds::{AgentTaskStatus, FILE_BYTES_MAX, FileTask};
use rustix::fs::OFlags;
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Component, Path},
};

/// The mode of a file for which none is asked.
const MODE: u32 = 0o644;

pub(super) fn file(host: &Host, task: &FileTask) -> Outcome {
    let path = Path::new(&task.path);
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path.file_name().is_none() || task.path.contains('\0') {
        let why =
            format!("path is {:?}; it must be absolute, name a file, and have no ..", task.path);
        return Err(Failure::invalid(why));
    }
    if task.content.len() > FILE_BYTES_MAX {
        return Err(Failure::invalid(format!("content has more than {FILE_BYTES_MAX} bytes")));
    }
    let mode = match &task.mode {
        None => None,
        Some(mode) => Some(read_mode(mode)?),
    };
    let uid = task.owner.as_deref().map(|name| users::user(host, name)).transpose()?;
    let gid = task.group.as_deref().map(|name| users::group(host, name)).transpose()?;
    let path = host.path(&task.path);
    let failed = |error: io::Error| {
        Failure::new("NotWritten", format!("{} could not be written: {error}", task.path))
    };
    let there = match fs::symlink_metadata(&path) {
        Ok(there) if !there.is_file() => {
            let why = format!("{} is there and is no plain file; it is left as it is", task.path);
            return Err(Failure::new("NotWritten", why));
        }
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let told =
        |changed| Ok(AgentTaskStatus { changed: Some(changed), ..AgentTaskStatus::default() });
    if task.absent {
        if there.is_none() {
            return told(false);
        }
        fs::remove_file(&path).and_then(|()| sync_folder(&path)).map_err(failed)?;
        return told(true);
    }
    let uid = uid.map(|user| user.uid);
    if let Some(there) = &there {
        let so = mode.is_none_or(|mode| there.mode() & 0o7777 == mode)
            && uid.is_none_or(|uid| there.uid() == uid)
            && gid.is_none_or(|gid| there.gid() == gid)
            && holds(&path, task.content.as_bytes()).unwrap_or(false);
        if so {
            return told(false);
        }
    }
    // What is not asked for stays as it is.
    let before = there.as_ref().map(|there| there.mode() & 0o7777);
    let mode = mode.or(before).unwrap_or(MODE);
    let uid = uid.or(there.as_ref().map(|there| there.uid()));
    let gid = gid.or(there.as_ref().map(|there| there.gid()));
    write(&path, task.content.as_bytes(), mode, (uid, gid)).map_err(failed)?;
    told(true)
}

/// Whether a plain file holds exactly that. Whoever may write in its folder may have put something else there by now: no
/// link is followed, no pipe waited for, and no more read than is compared.
fn holds(path: &Path, content: &[u8]) -> io::Result<bool> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = flags.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let (there, length) = (file.metadata()?, content.len() as u64);
    if !there.is_file() || there.len() != length {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(content.len());
    // One more than there should be, should it grow meanwhile.
    file.take(length + 1).read_to_end(&mut found)?;
    Ok(found == content)
}

fn read_mode(mode: &str) -> Result<u32, Failure> {
    let read = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
    read.ok_or_else(|| {
        Failure::invalid(format!("mode is {mode:?}; it must be octal, such as \"0644\""))
    })
}

/// Writes beside it, and puts that in its place: whoever reads it sees the old one or the new one.
fn write(
    path: &Path,
    content: &[u8],
    mode: u32,
    (uid, gid): (Option<u32>, Option<u32>),
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.quarterdeck-new"));
    // One that a crash has left; nobody else's file is of that name.
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        fchown(&file, uid, gid)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_as_it_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let host = Host::new(folder.path());
        let task = |content: &str, mode: Option<&str>| FileTask {
            path: "/etc/a.conf".into(),
            content: content.into(),
            mode: mode.map(Into::into),
            ..FileTask::default()
        };
        let done = |task: &FileTask| file(&host, task).unwrap().changed.unwrap();
        let there = folder.path().join("etc/a.conf");
        let mode = || fs::metadata(&there).unwrap().mode() & 0o7777;
        assert!(done(&task("one", None)));
        assert!(!done(&task("one", None)), "it is so already");
        assert_eq!((fs::read_to_string(&there).unwrap().as_str(), mode()), ("one", MODE));
        assert!(done(&task("one", Some("0600"))));
        assert!(done(&task("two", None)));
        assert_eq!(mode(), 0o600, "what is not asked for stays");
        let gone = FileTask { absent: true, ..task("", None) };
        assert!(done(&gone) && !done(&gone));
        assert_eq!(fs::read_dir(folder.path().join("etc")).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn only_a_plain_file_of_that_content_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("one"), "one").unwrap();
        std::os::unix::fs::symlink(at("one"), at("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert!(holds(&at("one"), b"one").unwrap());
        for other in [&b"two"[..], b"on", b"one1", b""] {
            assert!(!holds(&at("one"), other).unwrap());
        }
        assert!(holds(&at("link"), b"one").is_err(), "no link is followed");
        assert!(!holds(&at("pipe"), b"").unwrap(), "no pipe is waited for");
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_why() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("link")).unwrap();
        let host = Host::new(folder.path());
        for (path, mode, why) in [
            ("etc/a", None, "absolute"),
            ("/a/../b", None, "no .."),
            ("/", None, "name a file"),
            ("/link", None, "no plain file"),
            ("/no/such", None, "could not be written"),
            ("/a", Some("rwx"), "octal"),
            ("/a", Some("17777"), "octal"),
        ] {
            let mode = mode.map(str::to_owned);
            let task = FileTask { path: path.into(), mode, ..FileTask::default() };
            let failure = file(&host, &task).unwrap_err();
            assert!(failure.message.contains(why), "{path}: {failure:?}");
        }
    }
}
