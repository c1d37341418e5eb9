//! Runs a tool that has files of its own, such as a playbook: in a folder that is there for it alone and goes with it, and
//! what is from Secrets in memory. It must leave nothing of that behind, and write nowhere else. What the tool says of the hosts that it
//! changed is read from a file that it writes ([`report`]).

mod report;

use super::{
    Failure, Outcome,
    exec::{self, Progress},
    said,
};
use crate::{
    containers::{in_memory, private},
    folder::PRIVATE,
    host::Host,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quarterdeck_model::{
    agent::{Secrets, Task},
    kinds::{
        AgentTaskStatus, ExecTask,
        container::SecretKeySelector,
        tool_task::{Archive, ToolTask},
    },
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Largest archive: playbooks with all their roles have some megabytes.
const ARCHIVE_BYTES_MAX: u64 = 256 << 20;
/// Times that a server of archives may send it elsewhere.
const REDIRECTS_MAX: &str = "5";

/// Where folders of tools are.
#[derive(Debug)]
pub(super) struct Places {
    /// On the disk, where only the agent comes.
    pub(super) files: PathBuf,
    /// In memory.
    pub(super) secrets: PathBuf,
}

/// The folders of one task, which go when this does.
#[derive(Debug)]
pub(super) struct Folders {
    files: PathBuf,
    secrets: PathBuf,
}

impl Places {
    /// Those of a task, without what a former life of the agent left there. Its name can be that of a file: the journal has it.
    pub(super) fn of(&self, task: &Task) -> Folders {
        let folders =
            Folders { files: self.files.join(&task.name), secrets: self.secrets.join(&task.name) };
        folders.remove();
        folders
    }
}

impl Folders {
    fn remove(&self) {
        for path in [&self.files, &self.secrets] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "what a tool was given could not be removed");
                }
                _ => {}
            }
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.remove();
    }
}

pub(super) async fn tool(
    host: &Host,
    (tool, secrets): (&ToolTask, &Secrets),
    folders: &Folders,
    (left, progress): (Duration, Progress<'_>),
) -> Outcome {
    tool.check().map_err(Failure::invalid)?;
    let deadline = Instant::now() + left;
    let run = async |argv: Vec<String>, env, cwd: &Path| {
        let cwd = Some(cwd.display().to_string());
        let command = ExecTask { argv, env, cwd, ..ExecTask::default() };
        let left = deadline.saturating_duration_since(Instant::now());
        exec::run(host, &command, left, progress).await
    };
    // What is fetched is beside the files, not among them.
    let (files, fetched) = (folders.files.join("files"), folders.files.join("archive"));
    private(&files).map_err(not_written)?;
    if let Some(archive) = &tool.archive {
        let done = async |argv| {
            let ran = run(argv, BTreeMap::new(), &folders.files).await?;
            let why = format!("archive {}: {}", archive.url, ran.stderr.trim());
            if ran.status.success() { Ok(()) } else { Err(Failure::new("ArchiveFailed", why)) }
        };
        done(fetch(archive, &fetched)).await?;
        is_the(&fetched, archive).await?;
        done(unpack(&fetched, &files)).await?;
    }
    for (path, text) in &tool.files {
        write(&inside(&files, path)?, text.as_bytes()).map_err(not_written)?;
    }
    if !tool.secret_files.is_empty() {
        private(&folders.secrets).map_err(not_written)?;
        in_memory(&folders.secrets).map_err(not_written)?;
    }
    for (number, (path, key)) in tool.secret_files.iter().enumerate() {
        let Some(value) = value(secrets, key)? else { continue };
        let secret = folders.secrets.join(number.to_string());
        write(&secret, &value).map_err(not_written)?;
        let link = inside(&files, path)?;
        make_room(&link).and_then(|()| symlink(&secret, &link)).map_err(not_written)?;
    }
    let ran = run(tool.argv.clone(), tool.env.clone(), &files).await?;
    let report = tool.report.as_ref().and_then(|report| report::read(&files, report));
    Ok(AgentTaskStatus {
        exit_code: Some(exec::exit_code(ran.status)),
        stdout: said(ran.stdout),
        stderr: said(ran.stderr),
        report,
        ..AgentTaskStatus::default()
    })
}

fn not_written(error: impl std::fmt::Display) -> Failure {
    Failure::new("NotStarted", format!("what the tool is given could not be written: {error}"))
}

/// A value of a Secret; none of one that may be missing.
fn value(secrets: &Secrets, key: &SecretKeySelector) -> Result<Option<Vec<u8>>, Failure> {
    let SecretKeySelector { name, key, optional } = key;
    let found = secrets.get(name).and_then(|secret| secret.get(key));
    match found.map(|value| STANDARD.decode(value)) {
        Some(Ok(value)) => Ok(Some(value)),
        None if *optional => Ok(None),
        _ => Err(Failure::new(
            "NotFound",
            format!("Secret {name} has no key {key} any more, or it is too large"),
        )),
    }
}

/// Where a file is, whose path has no `..`: what was unpacked before must not lead elsewhere by a link.
fn inside(folder: &Path, path: &str) -> Result<PathBuf, Failure> {
    let whole = folder.join(path);
    let above = whole.parent().unwrap_or(folder);
    let made = fs::create_dir_all(above).and_then(|()| above.canonicalize());
    let real = folder.canonicalize().map_err(not_written)?;
    match made {
        Ok(above) if above.starts_with(real) => Ok(whole),
        Ok(_) => Err(Failure::invalid(format!("files: {path:?} leads out of the tool's folder"))),
        Err(error) => Err(not_written(error)),
    }
}

/// What is later takes the place of what was there.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file, in place of one of the archive.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_room(path)?;
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?.write_all(bytes)
}

/// What fetches an archive: the host's own, which knows its proxies and authorities. It knows a size only if that is told
/// beforehand, so the system bounds what it writes.
fn fetch(archive: &Archive, to: &Path) -> Vec<String> {
    /// Of sh(1), whatever those of the file system are.
    const BLOCK: u64 = 512;
    let (to, most) = (to.display().to_string(), (ARCHIVE_BYTES_MAX / BLOCK).to_string());
    let bounded = ["sh", "-c", "ulimit -f \"$0\" && exec \"$@\"", &most];
    let curl = ["curl", "--fail", "--silent", "--show-error", "--location"];
    let more = ["--max-redirs", REDIRECTS_MAX, "--proto", "=http,https"];
    let last = ["--output", &to, "--url", &archive.url];
    let all = bounded.iter().chain(&curl).chain(&more).chain(&last);
    all.map(|&word| word.to_owned()).collect()
}

/// What unpacks it, however it is compressed.
fn unpack(from: &Path, to: &Path) -> Vec<String> {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    ["tar", "--extract", "--no-same-owner", "--file", &from, "--directory", &to]
        .map(str::to_owned)
        .into()
}

/// Refuses what was fetched if it is not what was meant.
async fn is_the(path: &Path, archive: &Archive) -> Result<(), Failure> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || sha256(&path)).await;
    let found = hashed.map_err(not_written)?.map_err(not_written)?;
    if found.eq_ignore_ascii_case(&archive.sha256) {
        return Ok(());
    }
    let message = format!(
        "archive {} has the SHA-256 {found}, and not that of archive.sha256; nothing of it was used",
        archive.url
    );
    Err(Failure::invalid(message))
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut part) =
        (File::open(path)?.take(ARCHIVE_BYTES_MAX), Sha256::new(), vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut part)?;
        if count == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(part.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::kinds::{
        AgentTaskSpec,
        tool_task::{ReportFile, ReportFormat},
    };

    const LEFT: Duration = Duration::from_secs(60);

    struct Case {
        folder: tempfile::TempDir,
        memory: tempfile::TempDir,
        secrets: Secrets,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let memory = tempfile::tempdir_in("/dev/shm").unwrap();
            let value = [("key".to_owned(), STANDARD.encode("hidden"))].into();
            Self { folder, memory, secrets: [("s".to_owned(), value)].into() }
        }

        async fn go(&self, task: &ToolTask) -> Outcome {
            let files = self.folder.path().join("tools");
            let places = Places { files, secrets: self.memory.path().join("tools") };
            let spec = AgentTaskSpec::default();
            let task_of = Task { name: "t".into(), uid: "u".into(), spec, ..Task::default() };
            let folders = places.of(&task_of);
            let host = Host::new("/".as_ref());
            let done = tool(&host, (task, &self.secrets), &folders, (LEFT, &|_, _| {})).await;
            drop(folders);
            for place in [&places.files, &places.secrets] {
                assert!(!place.join("t").exists(), "nothing is left");
            }
            done
        }
    }

    fn script(text: &str) -> ToolTask {
        ToolTask { argv: ["sh", "-c", text].map(str::to_owned).into(), ..ToolTask::default() }
    }

    #[tokio::test]
    async fn a_tool_has_its_files_and_nothing_is_left() {
        let case = Case::new();
        let report = r#"{"hosts":[{"host":"a","ok":2}]}"#;
        let mut task = script(
            "cat a/b.txt c/key; stat -L -c %a c/key; df --output=fstype c/key | tail -1; echo \"$REPORT\" > out; exit 3",
        );
        task.files.insert("a/b.txt".into(), "text\n".into());
        // The Secret takes its place.
        task.files.insert("c/key".into(), "a placeholder".into());
        let key = SecretKeySelector { name: "s".into(), key: "key".into(), optional: false };
        task.secret_files.insert("c/key".into(), key.clone());
        let maybe = SecretKeySelector { key: "none".into(), optional: true, ..key.clone() };
        task.secret_files.insert("none".into(), maybe);
        task.env.insert("REPORT".into(), report.into());
        task.report = Some(ReportFile { path: "out".into(), format: ReportFormat::Plain });
        let done = case.go(&task).await.unwrap();
        assert_eq!(done.exit_code, Some(3));
        assert_eq!(done.stdout.as_deref(), Some("text\nhidden600\ntmpfs\n"), "{:?}", done.stderr);
        assert_eq!(done.report.unwrap().hosts[0].ok, 2);

        let missing = SecretKeySelector { key: "none".into(), ..key };
        task.secret_files.insert("c/other".into(), missing);
        let refused = case.go(&task).await.unwrap_err();
        assert_eq!(refused.reason, "NotFound");
        task.files.insert("../x".into(), String::new());
        assert_eq!(case.go(&task).await.unwrap_err().reason, "InvalidInput");
    }

    /// What a real archive of a real server holds, and nothing that is another.
    #[tokio::test]
    async fn an_archive_is_unpacked_if_it_is_the_one_that_was_meant() {
        let case = Case::new();
        let source = case.folder.path().join("source");
        fs::create_dir_all(source.join("role")).unwrap();
        fs::write(source.join("role/main.txt"), "from the archive\n").unwrap();
        symlink("/tmp", source.join("elsewhere")).unwrap();
        let packed = case.folder.path().join("a.tar.gz");
        let mut tar = std::process::Command::new("tar");
        tar.arg("-czf").arg(&packed).arg("-C").arg(&source).arg(".");
        assert!(tar.status().unwrap().success());
        let bytes = fs::read(&packed).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a.tar.gz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &bytes].concat()).await;
            }
        });
        let mut task = script("cat role/main.txt own.txt");
        task.files.insert("own.txt".into(), "own\n".into());
        task.archive = Some(Archive { url: url.clone(), sha256: sha256(&packed).unwrap() });
        let done = case.go(&task).await.unwrap();
        assert_eq!(done.stdout.as_deref(), Some("from the archive\nown\n"));

        let led =
            ToolTask { files: [("elsewhere/x".to_owned(), String::new())].into(), ..task.clone() };
        let refused = case.go(&led).await.unwrap_err();
        assert!(refused.message.contains("leads out"), "{refused:?}");
        assert!(!Path::new("/tmp/x").exists());

        task.archive = Some(Archive { url, sha256: "0".repeat(64) });
        let refused = case.go(&task).await.unwrap_err();
        assert!(refused.message.contains("nothing of it was used"), "{refused:?}");
        let gone = "http://127.0.0.1:9/a.tar".to_owned();
        task.archive = Some(Archive { url: gone, sha256: "0".repeat(64) });
        assert_eq!(case.go(&task).await.unwrap_err().reason, "ArchiveFailed");
    }
}
