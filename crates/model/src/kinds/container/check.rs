//! Finds what is wrong with a [`PodSpec`]: what its schema cannot say. Bounds are those of Kubernetes where it has one.

use super::{Container, ImageReference, PodSpec, PortReference, Probe, Volume};
use crate::{FieldError, FieldErrors, quantity::Quantity, validate};
use std::{collections::HashSet, fmt::Display};

/// Longest argument, value of a variable or name of a path.
const TEXT_BYTES_MAX: usize = 32 * 1024;
/// All files of one config volume: an object is read and written as a whole.
const FILES_BYTES_MAX: usize = 512 * 1024;
/// Files of one config volume.
const FILES_MAX: usize = 256;
/// Longest name of a file (Linux, `NAME_MAX`), and of a key of a Secret.
const FILE_NAME_BYTES_MAX: usize = 253;
/// Least memory that a container can be limited to: what Docker accepts.
const MEMORY_BYTES_MIN: u64 = 6 * 1024 * 1024;
/// Most memory or processors of one container, far beyond any host: so that sums of them do not overflow.
const MEMORY_BYTES_MAX: u64 = 1 << 50;
/// The same, in thousandths.
const MILLICORES_MAX: u64 = 1_000_000_000;

impl PodSpec {
    /// Finds what is wrong with it, at `field`.
    pub fn validate(&self, field: &str, errors: &mut FieldErrors) {
        if self.containers.is_empty() {
            errors.push(FieldError::required(format!("{field}.containers"), "at least one"));
        }
        let volumes: HashSet<&str> = self.volumes.iter().map(|it| it.name.as_str()).collect();
        for (at, volume) in self.volumes.iter().enumerate() {
            volume.validate(&format!("{field}.volumes[{at}]"), errors);
        }
        for (at, secret) in self.image_pull_secrets.iter().enumerate() {
            let field = format!("{field}.imagePullSecrets[{at}].name");
            check(&field, &secret.name, validate::subdomain, errors);
        }
        let (mut host_ports, mut port_names) = (HashSet::new(), HashSet::new());
        for (at, container) in self.containers.iter().enumerate() {
            let field = format!("{field}.containers[{at}]");
            container.validate(&field, &volumes, errors);
            for (at, port) in container.ports.iter().enumerate() {
                let field = format!("{field}.ports[{at}]");
                if let Some(host) = port.host_port {
                    let field = format!("{field}.hostPort");
                    if !host_ports.insert((host, port.protocol)) {
                        errors.push(FieldError::duplicate(&field, host));
                    }
                    if self.host_network && host != port.container_port {
                        let why = "must be the containerPort: the container has the host's network";
                        errors.push(FieldError::invalid(&field, host, why));
                    }
                }
                let Some(name) = &port.name else { continue };
                let field = format!("{field}.name");
                check(&field, name, port_name, errors);
                if !port_names.insert(name) {
                    errors.push(FieldError::duplicate(&field, name));
                }
            }
        }
    }
}

impl Container {
    fn validate(&self, field: &str, volumes: &HashSet<&str>, errors: &mut FieldErrors) {
        check(&format!("{field}.name"), &self.name, validate::dns_label, errors);
        check(
            &format!("{field}.image"),
            &self.image,
            |it| ImageReference::parse(it).map(drop),
            errors,
        );
        for (name, texts) in [("command", &self.command), ("args", &self.args)] {
            for (at, text) in texts.iter().enumerate() {
                check(&format!("{field}.{name}[{at}]"), text, argument, errors);
            }
        }
        if let Some(folder) = &self.working_dir {
            check(&format!("{field}.workingDir"), folder, absolute, errors);
        }
        for (at, variable) in self.env.iter().enumerate() {
            let field = format!("{field}.env[{at}]");
            check(&format!("{field}.name"), &variable.name, variable_name, errors);
            if let Some(value) = &variable.value
                && let Err(why) = argument(value)
            {
                // What it is may be nobody's business.
                errors.push(FieldError::invalid(format!("{field}.value"), "<hidden>", why));
            }
            if let Some(from) = &variable.value_from {
                let field = format!("{field}.valueFrom");
                if variable.value.is_some() {
                    errors.push(FieldError::forbidden(&field, "may not be set beside value"));
                }
                let secret = &from.secret_key_ref;
                let field = format!("{field}.secretKeyRef");
                check(&format!("{field}.name"), &secret.name, validate::subdomain, errors);
                check(&format!("{field}.key"), &secret.key, file_name, errors);
            }
        }
        self.validate_resources(&format!("{field}.resources"), errors);
        for (at, mount) in self.volume_mounts.iter().enumerate() {
            let field = format!("{field}.volumeMounts[{at}]");
            if !volumes.contains(mount.name.as_str()) {
                errors.push(FieldError::not_found(format!("{field}.name"), &mount.name));
            }
            check(&format!("{field}.mountPath"), &mount.mount_path, mount_path, errors);
        }
        let probes = [
            ("startupProbe", &self.startup_probe, true),
            ("livenessProbe", &self.liveness_probe, true),
            ("readinessProbe", &self.readiness_probe, false),
        ];
        for (name, probe, once) in probes {
            let Some(probe) = probe else { continue };
            self.validate_probe(&format!("{field}.{name}"), probe, once, errors);
        }
        if let Some(stop) = self.lifecycle.as_ref().and_then(|it| it.pre_stop.as_ref()) {
            command(&format!("{field}.lifecycle.preStop.exec"), &stop.exec.command, errors);
        }
        let rights = self.security_context.as_ref().and_then(|it| it.capabilities.as_ref());
        for (name, rights) in
            rights.into_iter().flat_map(|it| [("add", &it.add), ("drop", &it.drop)])
        {
            for (at, right) in rights.iter().enumerate() {
                let field = format!("{field}.securityContext.capabilities.{name}[{at}]");
                check(&field, right, capability, errors);
            }
        }
    }

    fn validate_resources(&self, field: &str, errors: &mut FieldErrors) {
        let lists = [("requests", &self.resources.requests), ("limits", &self.resources.limits)];
        let known = errors.len();
        for (name, list) in lists {
            quantity(
                &format!("{field}.{name}.cpu"),
                list.cpu.as_ref(),
                Quantity::thousandths,
                errors,
            );
            quantity(
                &format!("{field}.{name}.memory"),
                list.memory.as_ref(),
                Quantity::bytes,
                errors,
            );
            for (name, value, most) in [
                (format!("{field}.{name}.cpu"), list.millicores(), MILLICORES_MAX),
                (format!("{field}.{name}.memory"), list.memory_bytes(), MEMORY_BYTES_MAX),
            ] {
                if value > most {
                    errors.push(FieldError::invalid(name, value, "is more than any host has"));
                }
            }
        }
        if errors.len() > known {
            return;
        }
        let [(_, requests), (_, limits)] = lists;
        if limits.memory.is_some() && limits.memory_bytes() < MEMORY_BYTES_MIN {
            let why = "must be at least 6Mi: no container starts with less";
            let value = limits.memory_bytes();
            errors.push(FieldError::invalid(format!("{field}.limits.memory"), value, why));
        }
        for (name, set, wanted, most) in [
            ("cpu", limits.cpu.is_some(), requests.millicores(), limits.millicores()),
            ("memory", limits.memory.is_some(), requests.memory_bytes(), limits.memory_bytes()),
        ] {
            if set && wanted > most {
                let why = format!("must be at most the limit of {name}");
                errors.push(FieldError::invalid(format!("{field}.requests.{name}"), wanted, why));
            }
        }
    }

    fn validate_probe(&self, field: &str, probe: &Probe, once: bool, errors: &mut FieldErrors) {
        let asked = usize::from(probe.http_get.is_some())
            + usize::from(probe.tcp_socket.is_some())
            + usize::from(probe.exec.is_some());
        if asked != 1 {
            let why = "exactly one of httpGet, tcpSocket and exec";
            errors.push(FieldError::required(field, why));
        }
        if once && probe.success_threshold != 1 {
            let field = format!("{field}.successThreshold");
            errors.push(FieldError::invalid(field, probe.success_threshold, "must be 1"));
        }
        if let Some(exec) = &probe.exec {
            command(&format!("{field}.exec"), &exec.command, errors);
        }
        if let Some(tcp) = &probe.tcp_socket {
            self.validate_port(&format!("{field}.tcpSocket.port"), &tcp.port, errors);
        }
        let Some(http) = &probe.http_get else { return };
        self.validate_port(&format!("{field}.httpGet.port"), &http.port, errors);
        check(&format!("{field}.httpGet.path"), &http.path, url_path, errors);
        for (at, header) in http.http_headers.iter().enumerate() {
            let field = format!("{field}.httpGet.httpHeaders[{at}]");
            check(&format!("{field}.name"), &header.name, header_name, errors);
            check(&format!("{field}.value"), &header.value, header_value, errors);
        }
    }

    fn validate_port(&self, field: &str, port: &PortReference, errors: &mut FieldErrors) {
        let why =
            "must be the number of a port from 1, or the name of one of the container's ports";
        match port {
            PortReference::Number(0) => errors.push(FieldError::invalid(field, 0, why)),
            PortReference::Name(name)
                if !self.ports.iter().any(|port| port.name.as_ref() == Some(name)) =>
            {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
            _ => {}
        }
    }
}

impl Volume {
    fn validate(&self, field: &str, errors: &mut FieldErrors) {
        check(&format!("{field}.name"), &self.name, validate::dns_label, errors);
        let kinds = usize::from(self.secret.is_some())
            + usize::from(self.config.is_some())
            + usize::from(self.host_path.is_some())
            + usize::from(self.empty_dir.is_some());
        if kinds != 1 {
            let why = "exactly one of secret, config, hostPath and emptyDir";
            errors.push(FieldError::required(field, why));
        }
        if let Some(secret) = &self.secret {
            let field = format!("{field}.secret");
            check(&format!("{field}.secretName"), &secret.secret_name, validate::subdomain, errors);
            let mut paths = HashSet::new();
            for (at, item) in secret.items.iter().enumerate() {
                let field = format!("{field}.items[{at}]");
                check(&format!("{field}.key"), &item.key, file_name, errors);
                check(&format!("{field}.path"), &item.path, file_name, errors);
                if !paths.insert(&item.path) {
                    errors.push(FieldError::duplicate(format!("{field}.path"), &item.path));
                }
            }
        }
        if let Some(config) = &self.config {
            let field = format!("{field}.config.files");
            if config.files.len() > FILES_MAX {
                errors.push(FieldError::too_many(&field, config.files.len(), FILES_MAX));
            }
            let bytes: usize =
                config.files.iter().map(|(name, text)| name.len() + text.len()).sum();
            if bytes > FILES_BYTES_MAX {
                errors.push(FieldError::too_long(&field, FILES_BYTES_MAX));
            }
            for name in config.files.keys() {
                check(&field, name, file_name, errors);
            }
        }
        if let Some(host) = &self.host_path {
            check(&format!("{field}.hostPath.path"), &host.path, absolute, errors);
        }
    }
}

fn check<E: Display>(
    field: &str,
    text: &str,
    rule: impl Fn(&str) -> Result<(), E>,
    errors: &mut FieldErrors,
) {
    if let Err(why) = rule(text) {
        errors.push(FieldError::invalid(field, format!("{text:?}"), why));
    }
}

fn quantity(
    field: &str,
    quantity: Option<&Quantity>,
    read: impl Fn(&Quantity) -> Result<u64, &'static str>,
    errors: &mut FieldErrors,
) {
    let Some(quantity) = quantity else { return };
    if let Err(why) = read(quantity) {
        errors.push(FieldError::invalid(field, format!("{:?}", quantity.to_string()), why));
    }
}

fn command(field: &str, command: &[String], errors: &mut FieldErrors) {
    let field = format!("{field}.command");
    if command.is_empty() {
        errors.push(FieldError::required(&field, "the program and its arguments"));
    }
    for (at, text) in command.iter().enumerate() {
        check(&format!("{field}[{at}]"), text, argument, errors);
    }
}

/// What can be an argument of a program, or in its environment.
fn argument(text: &str) -> Result<(), &'static str> {
    match text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        true => Err("must be at most 32768 bytes without a zero byte"),
        false => Ok(()),
    }
}

fn variable_name(name: &str) -> Result<(), &'static str> {
    let good = |it: u8| it.is_ascii_graphic() && it != b'=';
    match !name.is_empty() && name.len() <= FILE_NAME_BYTES_MAX && name.bytes().all(good) {
        true => Ok(()),
        false => Err("must be printable ASCII without '=' or spaces, at most 253 characters"),
    }
}

/// As Kubernetes' IANA_SVC_NAME (RFC 6335 §5.1).
fn port_name(name: &str) -> Result<(), &'static str> {
    let letters = name.bytes().any(|it| it.is_ascii_lowercase());
    match name.len() <= 15 && letters && !name.contains("--") && validate::dns_label(name).is_ok() {
        true => Ok(()),
        false => Err("must be at most 15 lower case letters, digits and single '-', with a letter"),
    }
}

/// As Kubernetes' keys of a Secret: they are names of files.
fn file_name(name: &str) -> Result<(), &'static str> {
    let good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    let dots = name == "." || name.starts_with("..");
    match !name.is_empty() && name.len() <= FILE_NAME_BYTES_MAX && name.bytes().all(good) && !dots {
        true => Ok(()),
        false => Err(
            "must be letters, digits, '-', '_' and '.', at most 253, and may not begin with '..'",
        ),
    }
}

fn absolute(path: &str) -> Result<(), &'static str> {
    let up = path.split('/').any(|part| part == "..");
    match path.starts_with('/') && !up && !path.contains(|it: char| it.is_control()) {
        true => Ok(()),
        false => Err("must be a path from '/' on, without '..'"),
    }
}

fn mount_path(path: &str) -> Result<(), &'static str> {
    absolute(path)?;
    match path.contains(':') || path.trim_matches('/').is_empty() {
        true => Err("must not be '/' itself or hold ':'"),
        false => Ok(()),
    }
}

/// RFC 3986 §3.3 and §3.4, as far as a request cannot be made of anything else.
fn url_path(path: &str) -> Result<(), &'static str> {
    match path.starts_with('/') && path.bytes().all(|it| it.is_ascii_graphic() && it != b'#') {
        true => Ok(()),
        false => {
            Err("must be a path from '/' on, with anything but printable ASCII percent-encoded")
        }
    }
}

fn header_name(name: &str) -> Result<(), &'static str> {
    // RFC 9110 §5.6.2, token.
    let good = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    match !name.is_empty() && name.bytes().all(good) {
        true => Ok(()),
        false => Err("must be the name of a header, such as X-Probe"),
    }
}

fn header_value(value: &str) -> Result<(), &'static str> {
    match value.bytes().all(|it| it == b'\t' || it == b' ' || it.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("must be printable ASCII"),
    }
}

fn capability(name: &str) -> Result<(), &'static str> {
    let good = |it: u8| it.is_ascii_uppercase() || it == b'_';
    match !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(good)
        && !name.starts_with("CAP_")
    {
        true => Ok(()),
        false => Err("must be as Linux names it, without CAP_, such as NET_ADMIN, or ALL"),
    }
}
