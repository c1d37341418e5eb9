//! Service: what people use, as its owner sees it. Its budget is what the ledger keeps.

use super::{Resource, SERVICES, SecretReference, V1ALPHA1};
use crate::{
    ApprovalPolicy, Column, ColumnType, Condition, Duration, FieldError, FieldErrors, Kind,
    ObjectMeta, Scope, Time, kind_info, share::Share, validate, window::MaintenanceWindow,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service as its owner sees it.
pub type Service = Resource<ServiceSpec, ServiceStatus>;

/// Least critical tier.
const TIER_MAX: u8 = 4;
/// Most maintenance windows.
const WINDOWS_MAX: usize = 50;
/// Most ways to reach its owner.
const CONTACTS_MAX: usize = 20;
/// Most services that one uses.
const DEPENDENCIES_MAX: usize = 100;

/// What is wanted of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Who owns it: a team or a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How critical it is, from 1 (most) to 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// How its owner is reached: a channel, an address, a number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub contacts: Vec<String>,
    /// How many of its instances may be down at once. One, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// When its instances may be disturbed, within the budget. Always, when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Whose approval is wanted before any of its instances is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ApprovalPolicy>,
    /// Who is asked before any of its instances is taken, when all else allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_hook: Option<DisruptionHook>,
    /// Services that it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub depends_on: Vec<ServiceDependency>,
}

/// A service that another uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDependency {
    /// Its name.
    pub name: String,
    /// Its namespace; that of the service that uses it, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What becomes of the one that uses it when it is down.
    #[serde(default, rename = "type")]
    pub kind: Dependency,
}

/// What becomes of a service when one that it uses is down.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Dependency {
    /// It does less, or less well.
    Soft,
    /// It is down as well.
    #[default]
    Hard,
}

impl ServiceDependency {
    /// `namespace/name`, when it is named by a service of that namespace.
    pub fn full_name(&self, own: &str) -> String {
        format!("{}/{}", self.namespace.as_deref().unwrap_or(own), self.name)
    }
}

/// A webhook that is sent a `DisruptionReview` and answers with one: now, after some time, or never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionHook {
    /// Where it is: `https://` or `http://`, without a user or password.
    pub url: String,
    /// Secret with `token`, which is sent as a bearer token, or `signingKey`, with which requests are signed, or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// Secret with the key `ca.crt`: PEM certificates to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretReference>,
    /// How long it is asked, again and again, before it counts as silent. 30s, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// What its silence means.
    #[serde(default)]
    pub on_silence: OnSilence,
}

/// What the silence of a hook means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnSilence {
    /// The run waits, and the hook is asked again.
    #[default]
    Refuse,
    /// The run goes ahead.
    Allow,
}

impl DisruptionHook {
    /// Longest deadline: a day.
    const DEADLINE_MAX: Duration = Duration::from_secs(86_400);
    /// Shortest deadline: less is not enough for one question.
    const DEADLINE_MIN: Duration = Duration::from_secs(1);

    /// How long it is asked before it counts as silent.
    pub fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_secs(30))
    }

    fn validate(&self, path: &str, errors: &mut FieldErrors) {
        let rest = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if host.is_empty() || host.contains('@') || self.url.contains(char::is_whitespace) {
            let why = "must be https:// or http:// with a host, and without a user or password";
            errors.push(FieldError::invalid(format!("{path}.url"), format!("{:?}", self.url), why));
        }
        for (field, secret) in
            [("secretRef", &self.secret_ref), ("caSecretRef", &self.ca_secret_ref)]
        {
            if let Some(secret) = secret {
                secret.validate(&format!("{path}.{field}"), errors);
            }
        }
        let range = Self::DEADLINE_MIN..=Self::DEADLINE_MAX;
        if !range.contains(&self.deadline()) {
            let why = format!("must be between {} and {}", range.start(), range.end());
            errors.push(FieldError::invalid(format!("{path}.deadline"), self.deadline(), why));
        }
    }
}

/// How many instances may be down at once: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DisruptionBudget {
    /// Most instances that may be down, such as `2` or `"10%"` of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
    /// Fewest instances that must be available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Share>,
}

impl ServiceSpec {
    /// How many of `all` instances may be down at once.
    pub fn most_down(&self, all: u32) -> u32 {
        match &self.disruption_budget {
            Some(DisruptionBudget { max_unavailable: Some(most), .. }) => most.of(all),
            Some(DisruptionBudget { min_available: Some(fewest), .. }) => {
                all.saturating_sub(fewest.of(all))
            }
            _ => 1,
        }
    }

    /// Until when its instances may not be disturbed, by its maintenance windows; none while they may, and a time
    /// without end when no window ever opens.
    pub fn closed_until(&self, now: Time) -> Option<Option<Time>> {
        let windows = &self.maintenance_windows;
        if windows.is_empty() || windows.iter().any(|window| window.is_open(now)) {
            return None;
        }
        Some(windows.iter().filter_map(|window| window.next(now)).min())
    }
}

/// What is seen of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Healthy` when all instances are available, `Degraded` when some are not, `OverBudget` when more are not than
    /// may, `Empty` without instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Instances there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Those that are not available, or may go at any moment under a permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<u32>,
    /// How many more may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruptions_allowed: Option<u32>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Service {
    fn check_dependencies(&self, errors: &mut FieldErrors) {
        let all = &self.spec.depends_on;
        if all.len() > DEPENDENCIES_MAX {
            errors.push(FieldError::too_many("spec.dependsOn", all.len(), DEPENDENCIES_MAX));
        }
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        let me = format!("{own}/{}", self.metadata.name);
        for (at, dependency) in all.iter().take(DEPENDENCIES_MAX).enumerate() {
            let field = format!("spec.dependsOn[{at}]");
            if let Err(why) = validate::subdomain(&dependency.name) {
                let name = format!("{:?}", dependency.name);
                errors.push(FieldError::invalid(format!("{field}.name"), name, why));
            }
            if let Some(namespace) = &dependency.namespace
                && let Err(why) = validate::dns_label(namespace)
            {
                let name = format!("{namespace:?}");
                errors.push(FieldError::invalid(format!("{field}.namespace"), name, why));
            }
            let full = dependency.full_name(own);
            let why = match () {
                () if full == me => "is the service itself",
                () if all.iter().take(at).any(|other| other.full_name(own) == full) => {
                    "is named already"
                }
                () => continue,
            };
            errors.push(FieldError::invalid(format!("{field}.name"), format!("{full:?}"), why));
        }
    }
}

impl Kind for Service {
    const GROUP: &'static str = SERVICES;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";
    const SINGULAR: &'static str = "service";
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const SCOPE: Scope = Scope::Namespaced;
    const COLUMNS: &'static [Column] = &[
        Column::new("Owner", "spec.owner", "Who owns it"),
        Column::new("Tier", "spec.tier", "How critical it is, 1 most").of(ColumnType::Integer),
        Column::new("Phase", "status.phase", "Whether its instances are available"),
        Column::new("Instances", "status.instances", "Instances there are").of(ColumnType::Integer),
        Column::new("Down", "status.down", "Those not available, or under a permit")
            .of(ColumnType::Integer),
        Column::new("Allowed", "status.disruptionsAllowed", "How many more may go")
            .of(ColumnType::Integer),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.owner", "status.phase"];
    const DESCRIPTION: &'static str = "Service is what people use, as its owner sees it: who owns it, and how many of its instances may be down.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        self.check_dependencies(errors);
        if spec.tier.is_some_and(|tier| tier == 0 || tier > TIER_MAX) {
            let why = format!("must be between 1, most critical, and {TIER_MAX}");
            errors.push(FieldError::invalid("spec.tier", spec.tier.unwrap_or_default(), why));
        }
        if spec.contacts.len() > CONTACTS_MAX {
            let count = spec.contacts.len();
            errors.push(FieldError::too_many("spec.contacts", count, CONTACTS_MAX));
        }
        let windows = spec.maintenance_windows.len();
        if windows > WINDOWS_MAX {
            errors.push(FieldError::too_many("spec.maintenanceWindows", windows, WINDOWS_MAX));
        }
        for (at, window) in spec.maintenance_windows.iter().take(WINDOWS_MAX).enumerate() {
            window.validate(&format!("spec.maintenanceWindows[{at}]"), errors);
        }
        if let Some(policy) = &spec.approval_policy {
            policy.validate("spec.approvalPolicy", errors);
        }
        if let Some(hook) = &spec.disruption_hook {
            hook.validate("spec.disruptionHook", errors);
        }
        match &spec.disruption_budget {
            Some(DisruptionBudget { max_unavailable: Some(_), min_available: Some(_) }) => {
                errors.push(FieldError::forbidden(
                    "spec.disruptionBudget.minAvailable",
                    "give maxUnavailable or minAvailable, not both",
                ));
            }
            Some(DisruptionBudget { max_unavailable: None, min_available: None }) => {
                errors.push(FieldError::required(
                    "spec.disruptionBudget.maxUnavailable",
                    "give maxUnavailable or minAvailable, or leave the budget out: then one may be down",
                ));
            }
            _ => {}
        }
    }

    kind_info!(Service);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(spec: Value) -> Vec<String> {
        let service = json!({"metadata": {"name": "s", "namespace": "team"}, "spec": spec});
        let errors = (Service::info().admit)(&service, None).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_budget_is_one_of_two_and_names_its_field() {
        let budget = |budget: Value| refused(json!({"disruptionBudget": budget}));
        assert_eq!(budget(json!({"maxUnavailable": "10%"})), Vec::<String>::new());
        assert_eq!(budget(json!({"minAvailable": 3})), Vec::<String>::new());
        let expected = "must be a whole number from 0, such as 2, or a share, such as \"10%\"";
        for (wrong, shown) in
            [(json!("200%"), "\"200%\""), (json!(-1), "-1"), (json!("3"), "\"3\"")]
        {
            let text =
                format!("spec.disruptionBudget.maxUnavailable: Invalid value: {shown}: {expected}");
            assert_eq!(budget(json!({"maxUnavailable": wrong})), [text]);
        }
        assert!(budget(json!({}))[0].starts_with("spec.disruptionBudget.maxUnavailable: Required"));
        let both = budget(json!({"maxUnavailable": 1, "minAvailable": 1}));
        assert!(both[0].starts_with("spec.disruptionBudget.minAvailable: Forbidden"), "{both:?}");
        assert!(refused(json!({"tier": 5}))[0].starts_with("spec.tier: Invalid value: 5"));
    }

    #[test]
    fn without_a_budget_one_may_be_down() {
        let spec = |budget: Value| -> ServiceSpec {
            serde_json::from_value(json!({"disruptionBudget": budget})).unwrap()
        };
        assert_eq!(ServiceSpec::default().most_down(10), 1);
        assert_eq!(spec(json!({"maxUnavailable": "25%"})).most_down(10), 3);
        assert_eq!(spec(json!({"minAvailable": "75%"})).most_down(10), 2);
        assert_eq!(spec(json!({"minAvailable": 20})).most_down(10), 0);
    }
}
