//! Updates by `zypper`. What people changed in configuration files is kept as rpm keeps it. Source: zypper(8), EXIT CODES.

use super::{Asked, words};
use crate::tasks::Failure;

/// What it ends with though it did what it was asked: the system is to be restarted (102), or zypper itself is (103).
pub(super) const DONE: &[i32] = &[102, 103];
/// What `needs-rebooting` ends with when it is.
const REBOOT: i32 = 102;

fn zypper(more: &[&str]) -> Vec<String> {
    let mut argv = words(&["zypper", "--non-interactive", "--quiet"]);
    argv.extend(words(more));
    argv
}

/// What can be updated, from fresh lists.
pub(super) async fn updates(asked: &Asked<'_>, some: &[String]) -> Result<Vec<String>, Failure> {
    asked.ask(zypper(&["refresh"]), &[]).await?;
    let list = zypper(&["--no-refresh", "--xmlout", "list-updates"]);
    let mut packages = listed(&asked.ask(list, &[]).await?.stdout);
    let named = |package: &String| {
        some.is_empty()
            || package.split(' ').next().is_some_and(|name| some.iter().any(|it| it == name))
    };
    packages.retain(named);
    Ok(packages)
}

/// The packages of its XML. Those that are held back come after.
fn listed(xml: &str) -> Vec<String> {
    let list = xml.split("</update-list>").next().unwrap_or_default();
    let package = |element: &str| {
        let element = element.split('>').next()?;
        let attribute = |name: &str| {
            let (_, rest) = element.split_once(&format!(" {name}=\""))?;
            rest.split('"').next()
        };
        (attribute("kind")? == "package").then_some(format!(
            "{} {}",
            attribute("name")?,
            attribute("edition")?
        ))
    };
    let mut packages: Vec<String> = list
        .split("<update ")
        .skip(1)
        .map(|it| format!(" {it}"))
        .filter_map(|it| package(&it))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

pub(super) fn arguments(download: bool, some: &[&str]) -> Vec<String> {
    let mut argv = zypper(&["--no-refresh", "update", "--auto-agree-with-licenses"]);
    if download {
        argv.push("--download-only".into());
    }
    argv.extend(words(some));
    argv
}

pub(super) async fn reboot_required(asked: &Asked<'_>) -> Result<bool, Failure> {
    Ok(asked.ask(zypper(&["needs-rebooting"]), &[REBOOT]).await?.code == REBOOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zypper_prints_is_understood() {
        // As zypper 1.14 prints it.
        let xml = r#"<?xml version='1.0'?><stream><update-status version="0.6"><update-list>
            <update kind="package" name="x" edition="2-1" arch="noarch" edition-old="1-1"><summary>a</summary></update>
            <update kind="package" name="a" edition="1:3-1" arch="noarch"/><update kind="patch" name="p" edition="1"/>
            </update-list><blocked-update-list><update kind="package" name="held" edition="9"/></blocked-update-list>"#;
        assert_eq!(listed(xml), ["a 1:3-1", "x 2-1"]);
        assert!(listed("nonsense").is_empty());
    }
}
