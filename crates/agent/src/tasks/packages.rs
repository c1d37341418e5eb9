//! Says which packages are installed. It only looks.

use super::{Failure, Outcome};
use crate::host::{Host, named};
use quarterdeck_model::kinds::{AgentTaskStatus, PackagesTask};

pub(super) async fn packages(host: &Host, task: &PackagesTask) -> Outcome {
    let Some(all) = host.packages().await else {
        let why =
            "this host has neither dpkg nor rpm, or they do not say which packages are installed";
        return Err(Failure::new("NotSupported", why));
    };
    let packages = named(all, &task.names);
    let package_count = Some(u32::try_from(packages.len()).unwrap_or(u32::MAX));
    Ok(AgentTaskStatus { packages, package_count, ..AgentTaskStatus::default() }.bounded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_host_says_what_it_has() {
        let host = Host::new("/".as_ref());
        let task = PackagesTask { names: vec!["dpkg".into(), "no-such-*".into()] };
        let status = packages(&host, &task).await.unwrap();
        assert_eq!(status.package_count, Some(1));
        assert!(status.packages[0].starts_with("dpkg 1."), "{:?}", status.packages);
        let all = packages(&host, &PackagesTask::default()).await.unwrap();
        assert!(all.package_count > Some(10), "{:?}", all.package_count);
        let nothing = tempfile::tempdir().unwrap();
        let none = packages(&Host::new(nothing.path()), &task).await.unwrap_err();
        assert_eq!(none.reason, "NotSupported");
    }

    /// A real database of rpm, wherever the agent sees it.
    #[tokio::test]
    async fn a_host_with_rpm_says_it_too() {
        let folder = tempfile::tempdir().unwrap();
        super::super::patch::rpms::system(folder.path(), "etc");
        let root = folder.path().join("root");
        // Where every system but Debian has it.
        std::fs::create_dir_all(root.join("var/lib")).unwrap();
        std::fs::rename(root.join("root/.rpmdb"), root.join("var/lib/rpm")).unwrap();
        let host = Host::new(&root);
        let status = packages(&host, &PackagesTask::default()).await.unwrap();
        assert_eq!(status.packages, ["x 1-1"]);
        let facts = host.facts().await.packages.unwrap();
        assert_eq!((facts.manager.as_str(), facts.count), ("rpm", 1));
    }
}
