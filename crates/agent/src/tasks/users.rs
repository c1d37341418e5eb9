//! Users and groups by their names, from the host's own files. Source: passwd(5), group(5).

use super::Failure;
use crate::host::Host;

/// A user that a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// The fields of the line that begins with `name`, or has that number.
fn line(file: &str, name: &str) -> Option<Vec<String>> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let is = |at: usize| move |fields: &Vec<String>| fields.get(at).is_some_and(|it| it == name);
    let by_name = file.lines().map(fields).find(is(0));
    by_name.or_else(|| file.lines().map(fields).find(is(2)))
}

pub(crate) fn user(host: &Host, name: &str) -> Result<User, Failure> {
    let found = host.read("/etc/passwd").and_then(|file| {
        let fields = line(&file, name)?;
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(User { uid: number(2)?, gid: number(3)?, home: fields.get(5)?.clone() })
    });
    found.ok_or_else(|| Failure::invalid(format!("there is no user {name:?} on the host")))
}

pub(crate) fn group(host: &Host, name: &str) -> Result<u32, Failure> {
    let found = host.read("/etc/group").and_then(|file| line(&file, name)?.get(2)?.parse().ok());
    found.ok_or_else(|| Failure::invalid(format!("there is no group {name:?} on the host")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1001:,,,:/home/bob:/bin/sh\nbroken\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(folder.path().join("etc/group"), "adm:x:4:bob\n").unwrap();
        let host = Host::new(folder.path());
        let bob = User { uid: 1000, gid: 1001, home: "/home/bob".into() };
        assert_eq!(user(&host, "bob"), Ok(bob.clone()));
        assert_eq!(user(&host, "1000"), Ok(bob));
        assert_eq!(group(&host, "adm"), Ok(4));
        assert!(user(&host, "eve").is_err() && user(&host, "broken").is_err());
    }
}
