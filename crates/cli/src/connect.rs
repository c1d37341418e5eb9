//! Where the plane is and who we are to it: kubeconfig files by kubectl's rules. Nothing is asked of the plane here.

use crate::Error;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a plane may take to accept a connection: it is in this network, or not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How the plane is reached. As for kubectl: the file of --kubeconfig, or those of KUBECONFIG, or ~/.kube/config
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// File that says where the plane is [default: those of KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// A client, and what people are told of it.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The address, and from where it is known.
    pub(crate) place: String,
}

impl Connection {
    /// What flags in words say that are not a whole command line yet.
    pub(crate) fn typed(words: &[String]) -> Self {
        let value = |long: &str, short: Option<&str>| {
            let mut words = words.iter();
            while let Some(word) = words.next() {
                if word == long || Some(word.as_str()) == short {
                    return words.next().cloned();
                }
                let rest = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
                if rest.is_some_and(|rest| !rest.is_empty()) {
                    return rest.map(str::to_owned);
                }
            }
            None
        };
        Self {
            kubeconfig: value("--kubeconfig", None).map(PathBuf::from),
            context: value("--context", None),
            namespace: value("--namespace", Some("-n")),
        }
    }

    /// The client. The plane is not asked yet.
    pub(crate) async fn open(&self) -> Result<Connected, Error> {
        let (mut config, origin) = self.config().await?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        let namespace = self.namespace.clone().unwrap_or(config.default_namespace.clone());
        let place = format!("{} ({origin})", config.cluster_url.to_string().trim_end_matches('/'));
        let client = Client::try_from(config).map_err(|error| {
            let cause = cause(&error);
            Error::Connection(format!("cannot connect to {place}: {cause}"))
        })?;
        Ok(Connected { client, namespace, place })
    }

    async fn config(&self) -> Result<(Config, String), Error> {
        let (kubeconfig, files) = match self.read()? {
            Some(read) => read,
            // As kubectl does in a pod.
            None if self.context.is_none() => {
                let config = Config::incluster().map_err(|_| no_kubeconfig())?;
                return Ok((config, "the service account of this pod".into()));
            }
            None => return Err(no_kubeconfig()),
        };
        let contexts: Vec<String> =
            kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|error| unusable(&files, &contexts, &error))?;
        Ok((config, format!("from {files}")))
    }

    /// What the files say together, and which they are; none when there is no file.
    fn read(&self) -> Result<Option<(Kubeconfig, String)>, Error> {
        let (paths, asked) = match &self.kubeconfig {
            Some(path) => (vec![path.clone()], true),
            None => (usual_files(), false),
        };
        let mut all: Option<Kubeconfig> = None;
        let mut files = Vec::new();
        // One of several that is not there is passed over, as kubectl does.
        for path in paths.iter().filter(|path| asked || path.exists()) {
            let read = Kubeconfig::read_from(path).and_then(|next| match all.take() {
                Some(before) => before.merge(next),
                None => Ok(next),
            });
            all = Some(read.map_err(|error| unreadable(path, &error))?);
            files.push(path.display().to_string());
        }
        Ok(all.map(|all| (all, files.join(", "))))
    }
}

/// Those of KUBECONFIG; else the one in the home folder.
fn usual_files() -> Vec<PathBuf> {
    let listed = env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> =
        env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if !listed.is_empty() {
        return listed;
    }
    env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect()
}

fn no_kubeconfig() -> Error {
    let paths = usual_files();
    let looked: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let looked = looked.join(", ");
    Error::Connection(format!(
        "it is not known where the plane is: there is no kubeconfig (looked for {looked}); give one with --kubeconfig or \
         KUBECONFIG: a plane writes the administrator's to its data folder and prints where when it starts"
    ))
}

fn unreadable(path: &Path, error: &KubeconfigError) -> Error {
    let cause = cause(error);
    Error::Connection(format!("kubeconfig {} cannot be read: {cause}", path.display()))
}

fn unusable(files: &str, contexts: &[String], error: &KubeconfigError) -> Error {
    let there = if contexts.is_empty() { "none".into() } else { contexts.join(", ") };
    Error::Connection(match error {
        KubeconfigError::LoadContext(name) => {
            format!("there is no context {name:?} in {files}; there are: {there}")
        }
        KubeconfigError::CurrentContextNotSet => {
            format!("{files} sets no current context; choose one with --context: {there}")
        }
        other => format!("kubeconfig {files} cannot be used: {}", cause(other)),
    })
}

/// What an error goes back to: what is around it only says that something failed.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(deeper) = last.source() {
        last = deeper;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_a_line_that_is_not_whole() {
        let typed = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let Connection { kubeconfig, context, namespace } = Connection::typed(&words);
            (kubeconfig.map(|path| path.display().to_string()), context, namespace)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(typed("run show x"), (None, None, None));
        assert_eq!(typed("run show -n ops --context=a x"), (None, text("a"), text("ops")));
        assert_eq!(typed("--kubeconfig k --namespace=ops"), (text("k"), None, text("ops")));
        assert_eq!(typed("run show -n"), (None, None, None));
    }
}
