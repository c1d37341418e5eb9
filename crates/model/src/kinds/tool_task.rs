//! A task for the agent on a machine that runs a tool which has files of its own, such as a playbook: what it is given, and
//! what it reports of the hosts that it changed.

use super::container::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most files of one tool, besides those of its archive.
pub const TOOL_FILES_MAX: usize = 64;
/// Most bytes of them all, and of those from Secrets: a frame to an agent holds both.
pub const TOOL_BYTES_MAX: usize = 256 << 10;
/// Most hosts that are told of: one is usual, and a status stays small.
pub const TOOL_HOSTS_MAX: usize = 64;
/// Most failures that are told of: the first are those that the others come from.
pub const TOOL_FAILURES_MAX: usize = 8;
/// Longest text of a report.
const TEXT_BYTES_MAX: usize = 512;
/// Longest path of a file.
const PATH_BYTES_MAX: usize = 255;

/// A tool to run, in a folder that is there for it alone and goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolTask {
    /// The program and its arguments. No shell reads them.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub argv: Vec<String>,
    /// What its environment has besides `PATH`, `HOME` and `LANG`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What is in its folder: texts by relative path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The same, from Secrets in the namespace of the machine; they are in memory alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_files: BTreeMap<String, SecretKeySelector>,
    /// What is unpacked there before all else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// What it writes its report into, by relative path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportFile>,
}

/// Files that are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Archive {
    /// Where: `https://` or `http://`, a tar file, compressed or not.
    pub url: String,
    /// SHA-256 of it, in hexadecimal. Nothing is unpacked that is not this.
    pub sha256: String,
}

/// Where a tool writes its report, and how that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReportFile {
    /// Relative path.
    pub path: String,
    /// What is in it.
    pub format: ReportFormat,
}

/// What a report looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportFormat {
    /// A [`ToolReport`] in JSON.
    #[default]
    Plain,
    /// What `salt-call --out=json` writes for `state.apply`.
    Salt,
}

/// What a tool did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolReport {
    /// What was done on each host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub hosts: Vec<ToolHost>,
    /// What failed, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<String>,
}

/// How many tasks, states or resources of one host came to what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolHost {
    /// Its name.
    pub host: String,
    /// Those that are as they should be, changed ones included.
    pub ok: u32,
    /// Those that were changed; in a check, that would be.
    pub changed: u32,
    /// Those that failed.
    pub failed: u32,
    /// How often it could not be reached.
    pub unreachable: u32,
    /// Those that were left out.
    pub skipped: u32,
}

impl ToolTask {
    /// Names of the Secrets that it uses.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.secret_files.values().map(|value| value.name.as_str()).collect()
    }

    /// Whether that can be done.
    ///
    /// # Errors
    /// What is wrong, and with which field.
    pub fn check(&self) -> Result<(), String> {
        let count = self.files.len() + self.secret_files.len();
        if count > TOOL_FILES_MAX {
            return Err(format!(
                "there are {count} files, and at most {TOOL_FILES_MAX} can be; put them into an archive"
            ));
        }
        let bytes: usize = self.files.values().map(String::len).sum();
        if bytes > TOOL_BYTES_MAX {
            return Err(format!(
                "the files have {bytes} bytes, and at most {TOOL_BYTES_MAX} can be; put them into an archive"
            ));
        }
        let report = self.report.as_ref().map(|report| &report.path);
        let mut paths = self.files.keys().chain(self.secret_files.keys()).chain(report);
        if let Some(path) = paths.find(|path| !is_inside(path)) {
            return Err(format!(
                "files: {path:?} must be a relative path without .., of at most {PATH_BYTES_MAX} bytes"
            ));
        }
        match &self.archive {
            Some(archive) => archive.check(),
            None => Ok(()),
        }
    }
}

impl Archive {
    fn check(&self) -> Result<(), String> {
        let graphic = self.url.bytes().all(|byte| byte.is_ascii_graphic());
        let web = ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme));
        if !web || !graphic {
            return Err(format!("archive.url: {:?} must be an http:// or https:// URL", self.url));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("archive.sha256 must be 64 hexadecimal digits".into());
        }
        Ok(())
    }
}

impl ToolReport {
    /// The same within bounds: agents are not trusted.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.hosts.truncate(TOOL_HOSTS_MAX);
        self.failures.truncate(TOOL_FAILURES_MAX);
        let hosts = self.hosts.iter_mut().map(|host| &mut host.host);
        hosts
            .chain(&mut self.failures)
            .for_each(|text| super::machine_agent::cut(text, TEXT_BYTES_MAX));
        self
    }
}

/// Whether a path stays in the folder that it is relative to.
fn is_inside(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= PATH_BYTES_MAX && !path.contains('\0') && path.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_folder_and_within_bounds() {
        let of = |path: &str, text: String| ToolTask {
            files: [(path.to_owned(), text)].into(),
            ..ToolTask::default()
        };
        for good in ["site.yml", "roles/web/tasks/main.yml", "..a", ".hidden"] {
            assert_eq!(of(good, String::new()).check(), Ok(()), "{good}");
        }
        for wrong in ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/.", "a\0b", &"a".repeat(256)]
        {
            assert!(of(wrong, String::new()).check().is_err(), "{wrong:?}");
        }
        assert!(of("a", "a".repeat(TOOL_BYTES_MAX + 1)).check().is_err());
        let archive = |url: &str, sha256: String| {
            let archive = Some(Archive { url: url.into(), sha256 });
            ToolTask { archive, ..ToolTask::default() }.check()
        };
        assert_eq!(archive("https://example.com/a.tgz", "a".repeat(64)), Ok(()));
        for (url, hash) in [("file:///etc", 64), ("https://a b", 64), ("https://a", 63)] {
            assert!(archive(url, "a".repeat(hash)).is_err(), "{url}");
        }
    }

    #[test]
    fn a_report_is_bounded() {
        let host = ToolHost { host: "a\u{1b}[31m".repeat(999), ..ToolHost::default() };
        let report = ToolReport { hosts: vec![host; 999], failures: vec!["b".into(); 999] };
        let report = report.bounded();
        assert_eq!(report.hosts.len(), TOOL_HOSTS_MAX);
        assert_eq!(report.failures.len(), TOOL_FAILURES_MAX);
        assert!(report.hosts[0].host.len() <= 512 && !report.hosts[0].host.contains('\u{1b}'));
    }
}
