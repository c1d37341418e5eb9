//! A machine as Ansible's inventories have it: its variables and the groups that it is in. Pure.
//!
//! Whoever may write a machine's labels and annotations is not who runs the playbooks. So a name is a variable only if it cannot be
//! one that makes Ansible run something on the host that it is started on, and a text that Ansible would take for a template is
//! marked as none. Source: Ansible's documentation, "Developing dynamic inventory", "Advanced playbook syntax" (unsafe).

use crate::kinds::Machine;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What an annotation that is a variable begins with: `ansible.quarterdeck.dev/NAME`.
pub const VARIABLE_PREFIX: &str = "ansible.quarterdeck.dev/";
/// Longest name of a group: labels can be longer than anybody reads.
const GROUP_BYTES_MAX: usize = 200;

/// Where a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of the Site.
    pub site: Option<String>,
    /// Name of the Rack.
    pub rack: Option<String>,
}

/// A machine in an inventory.
#[derive(Debug, Clone, PartialEq)]
pub struct InventoryHost {
    /// Its variables.
    pub vars: Map<String, Value>,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
}

/// The inventory's view of a machine.
#[must_use]
pub fn host(machine: &Machine, place: &Place) -> InventoryHost {
    let (meta, spec, status) = (&machine.metadata, &machine.spec, &machine.status);
    let namespace = meta.namespace.clone().unwrap_or_default();
    let facts = status.facts.as_ref();
    let fields = [
        ("namespace", Some(&namespace)),
        ("site", place.site.as_ref()),
        ("rack", place.rack.as_ref()),
        ("class", Some(&spec.class)),
        ("image", status.image.as_ref()),
        ("server", status.server.as_ref()),
        ("os", facts.map(|facts| &facts.os.id)),
    ];
    let (mut vars, mut groups, mut about) = (Map::new(), BTreeSet::new(), Map::new());
    for (field, value) in fields {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        about.insert(field.into(), plain(value));
        if !["image", "server"].contains(&field) {
            groups.insert(group(&[field, value]));
        }
    }
    about.insert("name".into(), plain(&meta.name));
    about.insert("phase".into(), json!(status.phase));
    about.insert("preinstalled".into(), spec.preinstalled.into());
    let labels = meta.labels.iter().map(|(key, value)| (key.clone(), plain(value)));
    about.insert("labels".into(), labels.collect::<Map<_, _>>().into());
    groups.extend(meta.labels.iter().map(|(key, value)| group(&["label", key, value])));
    vars.insert("quarterdeck".into(), about.into());
    let address = status.address.as_deref().or_else(|| Some(facts?.hostname.as_str()));
    if let Some(address) = address.filter(|it| is_host(it)) {
        vars.insert("ansible_host".into(), address.into());
    }
    for (name, value) in &meta.annotations {
        let name = name.strip_prefix(VARIABLE_PREFIX);
        if let Some((name, value)) = name.and_then(|name| variable(name, value)) {
            vars.insert(name, value);
        }
    }
    InventoryHost { vars, groups }
}

/// A variable that an annotation sets; none if it may not.
fn variable(name: &str, value: &str) -> Option<(String, Value)> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let first = name.bytes().next()?;
    if !name.bytes().all(letter) || first.is_ascii_digit() || name == "quarterdeck" {
        return None;
    }
    let value = match name {
        "ansible_host" => is_host(value).then(|| value.into())?,
        "ansible_port" => value.parse::<u16>().ok()?.into(),
        "ansible_user" => is_user(value).then(|| value.into())?,
        // Others say what is run, and some of them where the playbook is.
        _ if name.starts_with("ansible") => return None,
        _ => plain(value),
    };
    Some((name.to_owned(), value))
}

/// A text that is one whatever is in it.
fn plain(text: &str) -> Value {
    let template = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    if template { json!({"__ansible_unsafe": text}) } else { text.into() }
}

/// An address or a name, and no option of ssh.
fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(letter) && !text.starts_with('-')
}

fn is_user(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(letter) && !text.starts_with('-')
}

/// A name of a group, in which Ansible wants letters, digits and `_` alone.
fn group(parts: &[&str]) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let parts = parts.iter().filter(|part| !part.is_empty());
    let parts: Vec<String> = parts.map(|part| part.chars().map(letter).collect()).collect();
    let mut name = parts.join("_");
    name.truncate(GROUP_BYTES_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{MachineFacts, machine_agent::OsFacts};

    fn machine() -> Machine {
        let mut machine = Machine::default();
        machine.metadata.name = "web-1".into();
        machine.metadata.namespace = Some("shop".into());
        machine.spec.class = "large.gen-4".into();
        machine.status.address = Some("192.0.2.7".into());
        machine
    }

    #[test]
    fn a_machine_has_variables_and_groups() {
        let mut machine = machine();
        machine.metadata.labels.insert("app.example.com/tier".into(), "front-end".into());
        machine.metadata.labels.insert("gpu".into(), String::new());
        let os = OsFacts { id: "debian".into(), ..OsFacts::default() };
        machine.status.facts = Some(MachineFacts { os, ..MachineFacts::default() });
        let place = Place { site: Some("ams1".into()), rack: Some("ams1-a01".into()) };
        let InventoryHost { vars, groups } = host(&machine, &place);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        assert_eq!(
            groups,
            [
                "class_large_gen_4",
                "label_app_example_com_tier_front_end",
                "label_gpu",
                "namespace_shop",
                "os_debian",
                "rack_ams1_a01",
                "site_ams1",
            ]
        );
        assert_eq!(vars["ansible_host"], "192.0.2.7");
        assert_eq!(vars["quarterdeck"]["labels"]["app.example.com/tier"], "front-end");
        assert_eq!(vars["quarterdeck"]["phase"], "Pending");
    }

    #[test]
    fn an_annotation_sets_what_does_no_harm_where_the_playbook_runs() {
        let set = |name: &str, value: &str| {
            let mut machine = machine();
            machine.metadata.annotations.insert(format!("{VARIABLE_PREFIX}{name}"), value.into());
            host(&machine, &Place::default()).vars.get(name).cloned()
        };
        assert_eq!(set("http_port", "80"), Some("80".into()));
        assert_eq!(set("ansible_user", "deploy"), Some("deploy".into()));
        assert_eq!(set("ansible_port", "2222"), Some(2222.into()));
        assert_eq!(set("ansible_host", "2001:db8::7"), Some("2001:db8::7".into()));
        let template = "{{ lookup('pipe', 'id') }}";
        assert_eq!(set("motd", template), Some(json!({"__ansible_unsafe": template})));
        for (name, value) in [
            ("ansible_connection", "local"),
            ("ansible_ssh_common_args", "-o ProxyCommand=id"),
            ("ansible_python_interpreter", "/tmp/x"),
            ("ansible_user", "-oProxyCommand=id"),
            ("ansible_port", "22 -o"),
            ("a-b", "c"),
            ("1a", "c"),
        ] {
            assert_eq!(set(name, value), None, "{name}");
        }
        assert_eq!(set("ansible_host", "-oProxyCommand=id"), Some("192.0.2.7".into()));
        assert_ne!(set("quarterdeck", "mine"), Some("mine".into()));
    }
}
