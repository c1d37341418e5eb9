//! `quarterdeck server scan`: has the plane look for BMCs in ranges of addresses, and tells what became of each. The plane
//! looks, not the verb: it reaches networks that people do not.

use super::contents;
use crate::{
    Error, Outcome,
    named::Named,
    plane::{Plane, Seen},
    verbs::{
        Common,
        run::{Begin, Following, begin},
    },
    view,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{BMCScan, SecretReference},
};
use serde_json::{Value, json};

/// The runbook that ships for it.
const RUNBOOK: &str = "scan-bmcs";

/// Where is looked, and for what.
#[derive(Debug, clap::Args)]
pub struct ScanArguments {
    /// Name of the BMCScan, which is made, or changed to what is said here
    #[arg(value_name = "NAME")]
    name: String,
    /// The Site in which they are; needed when the scan is made
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// A network such as 10.0.4.0/24, or an address; again for more
    #[arg(long, value_name = "CIDR")]
    range: Vec<String>,
    /// Port of the BMCs; 443 when not said
    #[arg(long, value_name = "NUMBER")]
    port: Option<u16>,
    /// A file with one serial number, UUID or MAC address a line, each of which may hold * and ?; - is standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    allow: Option<String>,
    /// The same on the command line; again for more
    #[arg(long, value_name = "PATTERN")]
    allow_one: Vec<String>,
    /// Secret with the login, as NAMESPACE/NAME; that of the site when not said
    #[arg(long, value_name = "NAMESPACE/NAME")]
    credentials: Option<String>,
    /// Take any certificate; for networks that nobody else can reach
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// The ServerProfile of the servers that are made
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The Rack of the servers that are made
    #[arg(long, value_name = "NAME")]
    rack: Option<String>,
    /// A label of the servers that are made; again for more
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn scan(arguments: &ScanArguments) -> Result<Outcome, Error> {
    let ScanArguments { name, following, common, .. } = arguments;
    let mut spec = spec(arguments)?;
    let plane = Plane::open(&common.connection).await?;
    let kind = BMCScan::info();
    let object = |spec: Value| json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name}, "spec": spec});
    match plane.find(kind, "", name).await? {
        Some(_) => {
            if spec.as_object().is_some_and(|said| !said.is_empty()) {
                plane.merge(kind, "", name, &object(spec), following.dry_run()).await?;
            }
        }
        None => {
            let missing =
                ["site", "ranges", "allow"].into_iter().find(|field| spec.get(*field).is_none());
            if let Some(missing) = missing {
                let flag = if missing == "ranges" { "range" } else { missing };
                return Err(Error::Usage(format!(
                    "there is no BMCScan {name} yet, so --{flag} is needed"
                )));
            }
            if let Some(spec) = spec.as_object_mut() {
                spec.entry("template").or_insert_with(|| json!({}));
            }
            plane.create(kind, "", &object(spec), following.dry_run()).await?;
            if following.dry_run() {
                common.output.print(
                    || format!("BMCScan {name} would be made, and run\n"),
                    || json!({"kind": "BMCScan", "name": name}),
                )?;
                return Ok(Outcome::Done);
            }
        }
    }
    let target = Named { kind, namespace: None, name: name.clone() };
    let begin_what =
        Begin { runbook: RUNBOOK, target: Some(&target), part: None, params: &[], following };
    let outcome = begin(&plane, &begin_what, common).await?;
    if outcome == Outcome::Done && following.follows() && !common.output.data() {
        let seen: Seen<BMCScan> = plane.read("", name).await?;
        common.output.print(|| view::scan::text(&seen.object), || seen.raw.clone())?;
    }
    Ok(outcome)
}

/// What was said, and nothing else.
fn spec(arguments: &ScanArguments) -> Result<Value, Error> {
    let mut spec = serde_json::Map::new();
    let texts = [("site", &arguments.site)];
    spec.extend(
        texts.iter().filter_map(|(field, text)| Some(((*field).to_owned(), json!(text.as_ref()?)))),
    );
    if !arguments.range.is_empty() {
        spec.insert("ranges".into(), json!(arguments.range));
    }
    spec.extend(arguments.port.map(|port| ("port".to_owned(), json!(port))));
    let mut allowed = arguments.allow_one.clone();
    if let Some(file) = &arguments.allow {
        allowed.extend(lines(&contents(file)?));
    }
    if !allowed.is_empty() {
        spec.insert("allow".into(), allow(&allowed));
    }
    if let Some(secret) = &arguments.credentials {
        let (namespace, name) = secret.split_once('/').ok_or_else(|| {
            Error::Usage(format!("--credentials {secret:?} must be NAMESPACE/NAME of a Secret"))
        })?;
        let reference = SecretReference { namespace: namespace.into(), name: name.into() };
        spec.insert("credentialsSecretRef".into(), json!(reference));
    }
    if arguments.insecure_skip_tls_verify {
        spec.insert("tls".into(), json!({"verify": "Skip"}));
    }
    let mut template = serde_json::Map::new();
    let of = [("profile", &arguments.profile), ("rack", &arguments.rack)];
    template.extend(
        of.iter().filter_map(|(field, text)| Some(((*field).to_owned(), json!(text.as_ref()?)))),
    );
    let mut labels = serde_json::Map::new();
    for label in &arguments.label {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("--label {label:?} must be NAME=VALUE")))?;
        labels.insert(name.to_owned(), json!(value));
    }
    if !labels.is_empty() {
        template.insert("labels".into(), labels.into());
    }
    if !template.is_empty() {
        spec.insert("template".into(), template.into());
    }
    Ok(spec.into())
}

/// The lines that say something.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let said = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    said.filter(|line| !line.is_empty()).map(str::to_owned)
}

/// Which of them are addresses of interfaces, and which UUIDs; the rest are serial numbers.
fn allow(patterns: &[String]) -> Value {
    let (mut serials, mut uuids, mut macs) = (Vec::new(), Vec::new(), Vec::new());
    for pattern in patterns {
        let hex = |it: char| it.is_ascii_hexdigit() || it == '*' || it == '?';
        let parts =
            |mark: char| pattern.split(mark).all(|part| !part.is_empty() && part.chars().all(hex));
        if pattern.contains(':') && parts(':') {
            macs.push(pattern);
        } else if pattern.matches('-').count() == 4 && parts('-') {
            uuids.push(pattern);
        } else {
            serials.push(pattern);
        }
    }
    let lists = [("serials", serials), ("uuids", uuids), ("macAddresses", macs)];
    // All of them: what was allowed before and is not said now is allowed no more.
    let all = lists.into_iter().map(|(name, list)| (name.to_owned(), json!(list)));
    all.collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_apart() {
        let file = "CN7475 # the first\n\n# none\naa:bb:cc:*\n4c4c4544-0044-4810-8031-c4c04f4c4a32\nSN-*\n";
        let patterns: Vec<String> = lines(file).collect();
        assert_eq!(
            allow(&patterns),
            json!({"serials": ["CN7475", "SN-*"], "uuids": ["4c4c4544-0044-4810-8031-c4c04f4c4a32"],
                   "macAddresses": ["aa:bb:cc:*"]})
        );
        let only = json!({"serials": ["SN-1"], "uuids": [], "macAddresses": []});
        assert_eq!(allow(&["SN-1".into()]), only, "a scan that is there forgets what it allowed");
    }
}
