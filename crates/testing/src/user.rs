//! Whom a started part runs as. PostgreSQL refuses to run as root, and libvirt as root keeps its
//! state in the machine's own folders; so when tests run as root, those parts run as `nobody`.
//! Must never give a part more rights than the test has.

use std::ffi::OsString;
use std::path::Path;

/// The user id of `nobody`, and the group id of `nogroup`, on Debian and its kin.
const NOBODY: u32 = 65_534;

/// Whom a started part runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAs {
    /// The user who runs the test.
    Caller,
    /// The user who runs the test, or `nobody` when that is root.
    Unprivileged,
}

impl RunAs {
    /// The arguments that make `setpriv` run a program as this user.
    #[must_use]
    pub fn setpriv_arguments(self) -> Vec<OsString> {
        if !self.changes_user() {
            return Vec::new();
        }
        let id = NOBODY.to_string();
        ["--reuid", &id, "--regid", &id, "--clear-groups"].map(OsString::from).to_vec()
    }

    /// Lets this user write in `folder`, which the caller has just made.
    ///
    /// # Panics
    /// When the owner cannot be changed.
    pub fn give(self, folder: &Path) {
        if self.changes_user() {
            std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY))
                .unwrap_or_else(|error| panic!("cannot give {folder:?} to nobody: {error}"));
        }
    }

    fn changes_user(self) -> bool {
        self == RunAs::Unprivileged && rustix::process::geteuid().is_root()
    }
}
