//! What an object lets the plane do for its writer: use a Secret, act on a target. Whoever writes it must be allowed
//! to do that themselves; what is decided in somebody's name is in [`decisions`]. Pure.
//!
//! A field named `secretRef`, or whose name ends so, refers to a Secret, in every kind and in every
//! input of a runbook's steps; headers under `secretHeaders` hold such fields. Containers name Secrets of their own
//! namespace, as Kubernetes has them.

use super::{Ask, Policy, decisions};
use crate::{
    identity::{Caller, service_account},
    status::ApiError,
};
use quarterdeck_model::{
    Kind as _, KindRef, Object, kinds,
    kinds::{
        BMCScan, Campaign, Machine, MachinePool, Rack, Remedy, Run, Runbook, RunbookRevision,
        Schedule, Secret, SecretReference, Server, Site, bmc_credentials, container::PodSpec,
    },
    schema::DEPTH_MAX,
};
use quarterdeck_store::World;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    sync::Arc,
};

/// Namespace of the runs of remedies: the engine's.
const SYSTEM_NAMESPACE: &str = "quarterdeck-system";
/// Most runbooks looked into for one run: more than calls may reach.
const RUNBOOKS_MAX: usize = 256;

/// The namespace of the target, which is only known when a run is made: for whoever writes the runbook it is any.
const OF_TARGET: &str = "";

/// A reference to a Secret. A part that an expression computes may be anything.
#[derive(Debug, PartialEq, Eq)]
struct SecretUse {
    field: String,
    /// May be [`OF_TARGET`].
    namespace: Option<String>,
    name: Option<String>,
}

/// Refuses what the writer may not have done.
pub(super) fn check(
    policy: &Policy,
    caller: &Caller,
    (world, kind): (&World, KindRef),
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let text = |path: &str| new.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let writer = Writer { policy, caller, kind, name: text("/metadata/name") };
    decisions::check(&writer, new, old)?;
    writer.check_server(new, old)?;
    if !uses_changed(kind, new, old) {
        return Ok(());
    }
    let Some(spec) = new.get("spec") else { return Ok(()) };
    writer.check_secrets(&secrets_of(spec), "")?;
    writer.check_secrets(&secrets_of_containers(new), "its containers see it: ")?;
    writer.check_secrets(
        &secrets_of_site(world, kind, new),
        "its Site lends it to Servers that name none: ",
    )?;
    writer.check_secrets(
        &secrets_of_servers(world, kind, new),
        "that address is sent also what a rotation left in the Server's own Secret: ",
    )?;
    if kind == Run::info() {
        let on = |path: &str| spec.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let target = (on("/target/kind"), on("/target/name"));
        let rehearsed = spec.get("dryRun") == Some(&Value::Bool(true));
        let verb = if rehearsed { "get" } else { "update" };
        writer.check_target("spec.target", target, verb, text("/metadata/namespace"))?;
    }
    if kind == Campaign::info() {
        let on = spec.pointer("/targets/kind").and_then(Value::as_str).unwrap_or_default();
        // Which of them it is about is seen only when it runs.
        writer.check_target("spec.targets", (on, ""), "update", text("/metadata/namespace"))?;
        let why = (Run::info(), "spec.runbook");
        writer.check_made(why, "create", text("/metadata/namespace"))?;
    }
    if kind == BMCScan::info() {
        writer.check_made((Server::info(), "spec"), "create", "")?;
    }
    if kind == MachinePool::info() {
        for verb in ["create", "update", "delete"] {
            let why = (Machine::info(), "spec.template");
            writer.check_made(why, verb, text("/metadata/namespace"))?;
        }
    }
    if kind == Run::info() || kind == Campaign::info() {
        writer.check_runbook(world, text("/spec/runbook"), text("/metadata/namespace"))?;
    }
    if kind == Schedule::info() {
        writer.check_schedule(world, spec, text("/metadata/namespace"))?;
    }
    if kind == Remedy::info() {
        // Which of them it is about is seen only when it looks.
        writer.check_target("spec.kind", (text("/spec/kind"), ""), "update", "")?;
        writer.check_made((Run::info(), "spec.runbook"), "create", SYSTEM_NAMESPACE)?;
        writer.check_runbook(world, text("/spec/runbook"), "")?;
    }
    Ok(())
}

/// Whether what is done with references may have changed: what a run does is fixed; where a
/// server's credentials are sent is as much as which they are.
fn uses_changed(kind: KindRef, new: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else { return true };
    if kind == MachinePool::info() {
        // How many there are is what the right to scale it says.
        let rest = |pool: &Value| {
            let spec = pool.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
            spec.into_iter().filter(|(name, _)| name != "replicas").collect::<Map<_, _>>()
        };
        return rest(old) != rest(new);
    }
    let within: &[&str] = match kind {
        // Where it stands says which site's credentials are sent to it.
        kind if kind == Server::info() => &["/spec/bmc", "/spec/location/rack"],
        kind if kind == Rack::info() => &["/spec/site"],
        kind if kind == Site::info() => &["/spec/bmc"],
        _ => &["/spec"],
    };
    ![Run::info(), Campaign::info(), RunbookRevision::info()].contains(&kind)
        && within.iter().any(|within| old.pointer(within) != new.pointer(within))
}

/// Secrets that containers see or are pulled with: of an Instance, or of what makes Instances.
fn secrets_of_containers(new: &Value) -> Vec<SecretUse> {
    let namespace = new.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let uses = |at: &str| {
        let pod = new.pointer(at).filter(|it| it.get("containers").is_some())?;
        let pod = PodSpec::deserialize(pod).ok()?;
        let field = at.trim_start_matches('/').replace('/', ".");
        let used = |name: &str| SecretUse {
            field: field.clone(),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        };
        Some(pod.secrets().into_iter().map(used).collect::<Vec<_>>())
    };
    ["/spec/template", "/spec/template/spec"].into_iter().filter_map(uses).flatten().collect()
}

/// The Secret of a site that is sent to the BMC of a server which names none; of a rack, to those of its servers.
fn secrets_of_site(world: &World, kind: KindRef, new: &Value) -> Vec<SecretUse> {
    let text = |path: &str| new.pointer(path).and_then(Value::as_str);
    let get = |kind, name: &str| world.get(kind, "", name);
    let lends = |field: &str, lent: SecretReference| {
        let SecretReference { namespace, name } = lent;
        SecretUse { field: field.into(), namespace: Some(namespace), name: Some(name) }
    };
    let (field, lent) = if kind == Server::info() {
        if new.pointer("/spec/bmc/credentialsSecretRef").is_some_and(Value::is_object) {
            return Vec::new();
        }
        ("spec.location.rack", bmc_credentials(None, text("/spec/location/rack"), get))
    } else if kind == BMCScan::info() {
        if new.pointer("/spec/credentialsSecretRef").is_some_and(Value::is_object) {
            return Vec::new();
        }
        let site = text("/spec/site").and_then(|site| lent_by(get(Site::info(), site)));
        // Servers that it makes stand there, and name none.
        let rack = bmc_credentials(None, text("/spec/template/rack"), get);
        let rack = rack.map(|lent| lends("spec.template.rack", lent));
        return site.map(|lent| lends("spec.site", lent)).into_iter().chain(rack).collect();
    } else if kind == Rack::info() {
        let name = text("/metadata/name").unwrap_or_default();
        let servers = world.with_fields(Server::info(), &format!("spec.location.rack={name}"));
        if servers.iter().all(|server| names_credentials(server)) {
            return Vec::new();
        }
        ("spec.site", text("/spec/site").and_then(|site| lent_by(get(Site::info(), site))))
    } else {
        return Vec::new();
    };
    lent.map(|lent| lends(field, lent)).into_iter().collect()
}

/// The Secrets that are servers' alone, as far as they are there: a BMC is sent that when it refuses the one that is
/// named. They are beside the one that is named, so who has a site lend another, or stands a rack in another site, has
/// others sent.
fn secrets_of_servers(world: &World, kind: KindRef, new: &Value) -> Vec<SecretUse> {
    let text = |path: &str| new.pointer(path).and_then(Value::as_str);
    if kind == Server::info() {
        return secret_of_server(world, new).into_iter().collect();
    }
    let (lent, racks) = if kind == Rack::info() {
        let site = text("/spec/site").and_then(|site| world.get(Site::info(), "", site));
        (lent_by(site), text("/metadata/name").map(str::to_owned).into_iter().collect())
    } else if kind == Site::info() {
        let lent = new.pointer("/spec/bmc/credentialsSecretRef").cloned();
        let name = text("/metadata/name").unwrap_or_default();
        let racks = world.with_fields(Rack::info(), &format!("spec.site={name}"));
        let racks = racks.iter().map(|rack| rack.name().to_owned()).collect::<Vec<_>>();
        (lent.and_then(|lent| serde_json::from_value(lent).ok()), racks)
    } else {
        return Vec::new();
    };
    let Some(lent) = lent else { return Vec::new() };
    let servers = racks
        .iter()
        .flat_map(|rack| world.with_fields(Server::info(), &format!("spec.location.rack={rack}")));
    let without = servers.filter(|server| !names_credentials(server));
    without.filter_map(|server| own_secret(world, server.name(), &lent, "spec")).collect()
}

fn names_credentials(server: &Object) -> bool {
    server.field("spec.bmc.credentialsSecretRef.name").is_some_and(|it| !it.is_empty())
}

/// The Secret that is a server's alone, beside the one that is named for it, if it is there.
fn own_secret(
    world: &World,
    server: &str,
    named: &SecretReference,
    field: &str,
) -> Option<SecretUse> {
    let SecretReference { namespace, name } = SecretReference::of_bmc(server, named);
    world.get(Secret::info(), &namespace, &name)?;
    Some(SecretUse { field: field.into(), namespace: Some(namespace), name: Some(name) })
}

fn secret_of_server(world: &World, new: &Value) -> Option<SecretUse> {
    let text = |path: &str| new.pointer(path).and_then(Value::as_str);
    let named = new.pointer("/spec/bmc/credentialsSecretRef").filter(|named| !named.is_null());
    let named = match named {
        Some(named) => serde_json::from_value(named.clone()).ok(),
        None => bmc_credentials(None, text("/spec/location/rack"), |kind, name| {
            world.get(kind, "", name)
        }),
    };
    own_secret(world, text("/metadata/name")?, &named?, "spec.bmc")
}

fn lent_by(site: Option<Arc<Object>>) -> Option<SecretReference> {
    site?.decode::<Site>().ok()?.spec.bmc?.credentials_secret_ref
}

pub(super) struct Writer<'a> {
    policy: &'a Policy,
    pub(super) caller: &'a Caller,
    pub(super) kind: KindRef,
    name: &'a str,
}

impl Writer<'_> {
    fn may(&self, verb: &str, kind: (&str, &str), namespace: &str, name: &str) -> bool {
        let (group, resource) = kind;
        let subresource = "";
        let ask = Ask::Resource { verb, group, resource, subresource, namespace, name };
        self.policy.may(self.caller, &ask)
    }

    pub(super) fn refuse(&self, field: &str, why: &str) -> ApiError {
        ApiError::forbidden_field(self.kind, self.name, field, why)
    }

    fn check_secrets(&self, used: &[SecretUse], because: &str) -> Result<(), ApiError> {
        for SecretUse { field, namespace, name } in used {
            let (inside, named) = (
                namespace.as_deref().unwrap_or_default(),
                // Without a namespace no name narrows it: it is one of any namespace.
                name.as_deref().filter(|_| namespace.is_some()).unwrap_or_default(),
            );
            if self.may("get", ("", "secrets"), inside, named) {
                continue;
            }
            let what = match (namespace.as_deref(), name) {
                (Some(OF_TARGET), Some(name)) => format!("Secret {name} of any namespace"),
                (Some(OF_TARGET), None) => "any Secret".into(),
                (Some(namespace), Some(name)) => format!("Secret {namespace}/{name}"),
                (Some(namespace), None) => format!("any Secret in namespace {namespace}"),
                (None, _) => "any Secret".into(),
            };
            let why = format!(
                "{because}it uses {what}, which user {:?} cannot get; ask for the verb get on it",
                self.caller.user
            );
            return Err(self.refuse(field, &why));
        }
        Ok(())
    }

    /// A run changes its target, and a rehearsal reads it. Without a name it may be any of its kind.
    fn check_target(
        &self,
        field: &str,
        (kind, name): (&str, &str),
        verb: &str,
        namespace: &str,
    ) -> Result<(), ApiError> {
        let Some(kind) = kinds::all().iter().find(|known| known.kind == kind) else {
            return Ok(());
        };
        let inside = match kind {
            kind if kind.namespaced() => namespace,
            // As Kubernetes asks about a Namespace.
            kind if kind.plural == "namespaces" => name,
            _ => "",
        };
        if self.may(verb, (kind.group, kind.plural), inside, name) {
            return Ok(());
        }
        let which = if name.is_empty() { "of any name".into() } else { format!("{name:?}") };
        let why = format!(
            "it acts on {} {which}, which user {:?} cannot {verb}; ask for the verb {verb} on it",
            kind.resource_name(),
            self.caller.user
        );
        Err(self.refuse(field, &why))
    }

    /// A preinstalled machine takes the server that it names from whoever would get it. Others are given one of their class.
    fn check_server(&self, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        if self.kind != Machine::info() {
            return Ok(());
        }
        let named = |machine: &Value| {
            let preinstalled = machine.pointer("/spec/preinstalled") == Some(&Value::Bool(true));
            let server = machine.pointer("/spec/placement/server").and_then(Value::as_str);
            server.filter(|_| preinstalled).map(str::to_owned)
        };
        match named(new) {
            Some(server) if old.and_then(named).as_ref() != Some(&server) => {
                let target = (Server::info().kind, server.as_str());
                self.check_target("spec.placement.server", target, "update", "")
            }
            _ => Ok(()),
        }
    }

    /// A run in a namespace, any where that is empty, may use what its runbook lets it choose, and what that takes from its
    /// target's namespace.
    fn check_runbook(&self, world: &World, runbook: &str, namespace: &str) -> Result<(), ApiError> {
        let (of_target, chosen): (Vec<_>, Vec<_>) = chosen_secrets(world, runbook)
            .into_iter()
            .partition(|used| used.namespace.as_deref() == Some(OF_TARGET));
        let there = Some(namespace.to_owned());
        let of_target: Vec<SecretUse> =
            of_target.into_iter().map(|it| SecretUse { namespace: there.clone(), ..it }).collect();
        self.check_secrets(&of_target, "its runbook takes it from the target's namespace: ")?;
        self.check_secrets(&chosen, "its runbook lets the run choose it: ")
    }

    /// A schedule starts a run, or a campaign and its runs, again and again.
    fn check_schedule(&self, world: &World, spec: &Value, namespace: &str) -> Result<(), ApiError> {
        let on = |path: &str| spec.pointer(path).and_then(Value::as_str).unwrap_or_default();
        if spec.get("run").is_some_and(Value::is_object) {
            let target = (on("/run/target/kind"), on("/run/target/name"));
            self.check_target("spec.run.target", target, "update", namespace)?;
            self.check_made((Run::info(), "spec.run"), "create", namespace)?;
            self.check_runbook(world, on("/run/runbook"), namespace)?;
        }
        if spec.get("campaign").is_some_and(Value::is_object) {
            let target = (on("/campaign/targets/kind"), "");
            self.check_target("spec.campaign.targets", target, "update", namespace)?;
            self.check_made((Campaign::info(), "spec.campaign"), "create", namespace)?;
            self.check_made((Run::info(), "spec.campaign.runbook"), "create", namespace)?;
            self.check_runbook(world, on("/campaign/runbook"), namespace)?;
        }
        Ok(())
    }

    /// What the plane makes in its name, as runs of a campaign or machines of a pool.
    fn check_made(
        &self,
        (made, field): (KindRef, &str),
        verb: &str,
        namespace: &str,
    ) -> Result<(), ApiError> {
        if self.may(verb, (made.group, made.plural), namespace, "") {
            return Ok(());
        }
        let why = format!(
            "it {verb}s {}, which user {:?} cannot in namespace {namespace}; ask for the verb {verb} on {}",
            made.plural,
            self.caller.user,
            made.resource_name()
        );
        Err(self.refuse(field, &why))
    }

    /// Whether the writer is that user, or may act as them.
    pub(super) fn is_or_may_be(&self, user: &str) -> bool {
        let user_or_account = match service_account(user) {
            Some((namespace, name)) => (("", "serviceaccounts"), namespace, name),
            None => (("", "users"), "", user),
        };
        let (kind, namespace, name) = user_or_account;
        user == self.caller.user || self.may("impersonate", kind, namespace, name)
    }
}

/// Every reference to a Secret in a spec.
fn secrets_of(spec: &Value) -> Vec<SecretUse> {
    let mut found = Vec::new();
    look(spec, &mut "spec".into(), 0, &mut found);
    found
}

fn look(value: &Value, path: &mut String, depth: usize, found: &mut Vec<SecretUse>) {
    // Nothing deeper is admitted.
    if depth > DEPTH_MAX {
        return;
    }
    let mut inside = |step: fmt::Arguments<'_>, value: &Value, name: &str, path: &mut String| {
        let length = path.len();
        // Writing to a text does not fail.
        let _ = path.write_fmt(step);
        match (name, value) {
            (name, value) if name == "secretRef" || name.ends_with("SecretRef") => {
                found.push(reference(value, path));
            }
            // Tools are given those of their target's namespace.
            ("fileSecrets", Value::Array(names)) => {
                found.extend(names.iter().map(|name| of_target(name, path)));
            }
            ("fileSecrets" | "sshSecret" | "vaultSecret", Value::String(_)) => {
                found.push(of_target(value, path));
            }
            // Headers that an expression makes, all or one of them, may name any Secret.
            ("secretHeaders", Value::String(_)) => found.push(reference(value, path)),
            ("secretHeaders", Value::Object(headers)) => {
                let made = headers.values().filter(|header| header.is_string());
                found.extend(made.map(|header| reference(header, path)));
                look(value, path, depth + 1, found);
            }
            _ => look(value, path, depth + 1, found),
        }
        path.truncate(length);
    };
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                inside(format_args!(".{name}"), field, name, path);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                inside(format_args!("[{at}]"), item, "", path);
            }
        }
        _ => {}
    }
}

fn reference(value: &Value, path: &str) -> SecretUse {
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let part = |name: &str| {
        let text = fields.get(name).and_then(Value::as_str)?;
        (!text.contains("${")).then(|| text.to_owned())
    };
    SecretUse { field: path.into(), namespace: part("namespace"), name: part("name") }
}

/// A Secret in the namespace of the target.
fn of_target(name: &Value, path: &str) -> SecretUse {
    let name = name.as_str().filter(|name| !name.contains("${")).map(str::to_owned);
    SecretUse { field: path.into(), namespace: Some(OF_TARGET.into()), name }
}

/// References whose Secret is only known when a run is made, in its runbook and all that calls.
fn chosen_secrets(world: &World, runbook: &str) -> Vec<SecretUse> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut open = vec![runbook.to_owned()];
    while let Some(name) = open.pop() {
        if seen.len() == RUNBOOKS_MAX || !seen.insert(name.clone()) {
            continue;
        }
        let Some(runbook) = world.get(Runbook::info(), "", &name) else { continue };
        let value = runbook.value();
        let Some(spec) = value.get("spec") else { continue };
        let chosen = secrets_of(spec).into_iter().filter(|used| {
            let place = used.namespace.as_deref();
            place.is_none_or(|it| it == OF_TARGET) || used.name.is_none()
        });
        found.extend(chosen.map(|used| SecretUse { field: "spec.runbook".into(), ..used }));
        calls(spec, 0, &mut open);
    }
    found
}

fn calls(value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("call").and_then(Value::as_str).map(Into::into));
            fields.values().for_each(|field| calls(field, depth + 1, found));
        }
        Value::Array(items) => items.iter().for_each(|item| calls(item, depth + 1, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_use_secrets_of_their_namespace() {
        let pod = json!({
            "containers": [{"name": "c", "image": "i", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"name": "B", "value": "plain"}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "files"}}, {"name": "w", "emptyDir": {}}],
            "imagePullSecrets": [{"name": "pull"}],
        });
        for (object, field) in [
            (
                json!({"metadata": {"namespace": "shop"}, "spec": {"template": pod}}),
                "spec.template",
            ),
            (
                json!({"metadata": {"namespace": "shop"}, "spec": {"template": {"spec": pod}}}),
                "spec.template.spec",
            ),
        ] {
            let found = secrets_of_containers(&object);
            assert!(found.iter().all(|it| it.field == field), "{found:?}");
            assert!(found.iter().all(|it| it.namespace.as_deref() == Some("shop")), "{found:?}");
            let names: Vec<_> = found.iter().filter_map(|it| it.name.as_deref()).collect();
            assert_eq!(names, ["env", "files", "pull"]);
        }
    }

    #[test]
    fn every_reference_is_found() {
        let spec = json!({
            "bmc": {"credentialsSecretRef": {"namespace": "a", "name": "b"}},
            "steps": [
                {"action": "http.request", "with": {"secretHeaders": {
                    "Authorization": {"secretRef": {"namespace": "a", "name": "${ params.x }"}, "key": "k"},
                    "X-All": "${ params.header }"}}},
                {"forEach": {"steps": [{"with": {"caSecretRef": "${ item }"}}]}},
                {"with": {"secretHeaders": "${ params.headers }"}},
                {"action": "ansible.playbook", "with": {
                    "fileSecrets": ["vars", "${ params.more }"], "sshSecret": "key", "vaultSecret": "${ params.vault }"}},
                {"action": "salt.apply", "with": {"fileSecrets": "${ params.all }"}},
            ],
            "secretRefs": {"namespace": "not", "name": "one"},
        });
        let found: Vec<String> = secrets_of(&spec)
            .iter()
            .map(|used| format!("{} {:?} {:?}", used.field, used.namespace, used.name))
            .collect();
        assert_eq!(
            found,
            [
                r#"spec.bmc.credentialsSecretRef Some("a") Some("b")"#,
                "spec.steps[0].with.secretHeaders None None",
                r#"spec.steps[0].with.secretHeaders.Authorization.secretRef Some("a") None"#,
                "spec.steps[1].forEach.steps[0].with.caSecretRef None None",
                "spec.steps[2].with.secretHeaders None None",
                r#"spec.steps[3].with.fileSecrets Some("") Some("vars")"#,
                r#"spec.steps[3].with.fileSecrets Some("") None"#,
                r#"spec.steps[3].with.sshSecret Some("") Some("key")"#,
                r#"spec.steps[3].with.vaultSecret Some("") None"#,
                r#"spec.steps[4].with.fileSecrets Some("") None"#,
            ]
        );
    }
}
