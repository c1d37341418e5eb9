//! Every kind, one file each. A new kind is a new file and one line in [`own`].

pub mod admission_policy;
mod agent_task;
pub mod bmc_scan;
mod campaign;
pub mod cluster;
pub mod container;
mod event;
pub mod firmware;
mod freeze;
mod image;
mod impact_report;
pub mod instance;
mod machine;
pub mod machine_agent;
mod machine_class;
mod machine_pool;
mod namespace;
mod object_selector;
pub mod permit;
pub mod placement;
mod provider;
mod rack;
pub mod rbac;
mod remedy;
mod resource;
pub mod resource_quota;
mod run;
mod runbook;
mod saved_view;
mod schedule;
mod secret;
mod server;
mod server_phase;
mod server_profile;
mod service;
mod service_account;
mod site;
mod site_part;
pub mod tool_task;
mod workload;
pub mod workload_clusters;
mod workload_strategy;

pub use admission_policy::{
    ADMISSION, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
pub use agent_task::{
    AgentTask, AgentTaskPhase, AgentTaskSpec, AgentTaskStatus, ExecTask, FILE_BYTES_MAX, FileTask,
    OUTPUT_BYTES_MAX, PackagesTask, PatchMode, PatchTask, RebootTask, ServiceState, ServiceTask,
};
pub use bmc_scan::{
    BMCScan, BMCScanAllow, BMCScanResult, BMCScanSpec, BMCScanStatus, BMCScanTemplate, FoundBMC,
};
pub use campaign::{
    Campaign, CampaignBlocker, CampaignGroup, CampaignPhase, CampaignPlan, CampaignSpec,
    CampaignStatus, CampaignTargets, CampaignWave, FailureDomain,
};
pub use cluster::{
    Cluster, ClusterLocation, ClusterNode, ClusterNodes, ClusterPhase, ClusterSpec, ClusterStatus,
};
pub use event::{Event, EventSource};
pub use firmware::{FirmwareActivation, FirmwareBaseline, FirmwareImage, FirmwareUpdate};
pub use freeze::{Freeze, FreezeExceptions, FreezePart, FreezeSpec, FreezeStatus};
pub use image::{Image, ImageFormat, ImageSpec, ImageStatus};
pub use impact_report::{
    ImpactReport, ImpactReportSpec, ImpactReportStatus, ImpactTarget, ImpactVerdict,
    ImpactedService,
};
pub use instance::{
    HostKind, HostReference, Instance, InstancePhase, InstanceSpec, InstanceStatus, PHASE_BEFORE,
    instances_on_machine,
};
pub use machine::{
    Machine, MachineName, MachinePhase, MachinePlacement, MachineSpec, MachineStatus,
};
pub use machine_agent::{
    AgentHost, AgentStatus, Allocatable, JoinTokenStatus, MachineAgent, MachineFacts,
    MachineLocation,
};
pub use machine_class::{MachineClass, MachineClassSpec, MachineClassStatus, MachineResources};
pub use machine_pool::{
    MachinePool, MachinePoolPhase, MachinePoolSpec, MachinePoolStatus, MachineTemplate,
    MachineTemplateMeta, MachineTemplateSpec, PoolDeletePolicy, PoolPlacement, PoolRollingUpdate,
    PoolSpread, PoolStrategy, PoolStrategyType, PoolUnhealthy, SpreadDomain,
};
pub use namespace::{Namespace, NamespaceSpec, NamespaceStatus};
pub use object_selector::{ObjectSelector, ObjectSelectorRequirement};
pub use permit::{HookAnswer, Permit, PermitPhase, PermitSpec, PermitStatus, PermittedLoss};
pub use placement::{
    FactOperator, FactRequirement, Taint, TaintEffect, Toleration, TolerationOperator,
    TopologyLevel, WorkloadAffinity, WorkloadPlacement, WorkloadSpread,
};
pub use provider::{MetalProvider, Provider, ProviderSpec, ProviderStatus, ProviderType};
pub use rack::{Rack, RackSpec, RackStatus};
pub use rbac::{ClusterRole, ClusterRoleBinding, PolicyRule, RBAC, Role, RoleBinding};
pub use remedy::{
    AffectedObject, Remedy, RemedyDomain, RemedyPhase, RemedyPlace, RemedySpec, RemedyStatus,
};
pub use resource::Resource;
pub use resource_quota::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus};
pub use run::{
    Approval, Decision, RetryFrom, Run, RunPhase, RunSpec, RunStatus, RunTarget, RunbookRevision,
    RunbookRevisionSpec, StepPhase, StepStatus,
};
pub use runbook::{
    Approve, Compensation, ForEach, Handler, NESTING_MAX, Parameter, ParameterType, Retry, Runbook,
    RunbookSpec, RunbookStatus, RunbookTarget, Step, Then,
};
pub use saved_view::{SavedView, SavedViewSpec, SavedViewStatus};
pub use schedule::{
    ConcurrencyPolicy, Schedule, SchedulePhase, ScheduleSpec, ScheduleStatus, ScheduledRun,
};
pub use secret::Secret;
pub use server::{
    Bmc, BmcProtocol, BmcTls, BmcTlsVerify, Location, MachineReference, SecretReference, Server,
    ServerSpec, ServerStatus,
};
pub use server_phase::ServerPhase;
pub use server_profile::{
    ExpectedDrives, ExpectedInterfaces, ExpectedProcessors, ServerProfile, ServerProfileSpec,
    ServerProfileStatus,
};
pub use service::{
    Dependency, DisruptionBudget, DisruptionHook, OnSilence, Service, ServiceDependency,
    ServiceSpec, ServiceStatus,
};
pub use service_account::{LocalReference, ServiceAccount};
pub use site::{Site, SiteBmc, SiteLimit, SiteSpec, SiteStatus, bmc_credentials};
pub use site_part::SitePart;
pub use workload::{
    CheckStatus, InstanceTemplate, RolloutStatus, Workload, WorkloadPhase, WorkloadRevision,
    WorkloadRevisionSpec, WorkloadSpec, WorkloadStatus,
};
pub use workload_clusters::{WorkloadCluster, WorkloadClusterPhase, WorkloadClusterStatus};
pub use workload_strategy::{
    BlueGreen, Canary, CanaryStep, HttpCheck, PrometheusCheck, ReadyCheck, RolloutCheck,
    RolloutPause, WorkloadRollingUpdate, WorkloadStrategy, WorkloadStrategyType,
};

use crate::{Kind, KindRef};
use std::{collections::HashMap, sync::OnceLock};

/// Group of places and hardware.
pub const INVENTORY: &str = "inventory.quarterdeck.dev";
/// Group of managed compute.
pub const COMPUTE: &str = "compute.quarterdeck.dev";
/// Group of what runs on it.
pub const SERVICES: &str = "services.quarterdeck.dev";
/// Group of procedures.
pub const WORKFLOWS: &str = "workflows.quarterdeck.dev";
/// Group of what people keep of the page.
pub const PAGE: &str = "page.quarterdeck.dev";
/// Version of all of our kinds.
pub const V1ALPHA1: &str = "v1alpha1";

/// What kinds there are to this process, once somebody has asked.
static ALL: OnceLock<Vec<KindRef>> = OnceLock::new();

/// All kinds, core first.
pub fn all() -> &'static [KindRef] {
    ALL.get_or_init(own)
}

/// Adds kinds that are defined elsewhere, as a test defines one, to those there are. That is done before
/// anything else, since stores and documents are laid out by the kinds there are; answers whether they
/// are among them now.
#[must_use]
pub fn include(more: &[KindRef]) -> bool {
    let all = ALL.get_or_init(|| own().into_iter().chain(more.iter().copied()).collect());
    more.iter().all(|kind| all.contains(kind))
}

/// Those of this crate.
fn own() -> Vec<KindRef> {
    vec![
        Namespace::info(),
        Secret::info(),
        Event::info(),
        ServiceAccount::info(),
        ResourceQuota::info(),
        Role::info(),
        RoleBinding::info(),
        ClusterRole::info(),
        ClusterRoleBinding::info(),
        ValidatingAdmissionPolicy::info(),
        ValidatingAdmissionPolicyBinding::info(),
        Site::info(),
        Rack::info(),
        Server::info(),
        ServerProfile::info(),
        BMCScan::info(),
        Image::info(),
        Provider::info(),
        MachineClass::info(),
        Machine::info(),
        MachinePool::info(),
        Cluster::info(),
        AgentTask::info(),
        Runbook::info(),
        Run::info(),
        RunbookRevision::info(),
        Campaign::info(),
        Schedule::info(),
        Remedy::info(),
        Permit::info(),
        Freeze::info(),
        Service::info(),
        Workload::info(),
        WorkloadRevision::info(),
        Instance::info(),
        SavedView::info(),
    ]
}

/// The kind with that full resource name, such as `servers.inventory.quarterdeck.dev`.
pub fn by_resource_name(name: &str) -> Option<KindRef> {
    static BY_NAME: OnceLock<HashMap<String, KindRef>> = OnceLock::new();
    BY_NAME
        .get_or_init(|| {
            all().iter().map(|kind| (kind.resource_name().to_string(), *kind)).collect()
        })
        .get(name)
        .copied()
}

/// The kind served at `group`/`version`/`plural`.
pub fn by_path(group: &str, version: &str, plural: &str) -> Option<KindRef> {
    all()
        .iter()
        .copied()
        .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind an object says it is.
pub fn by_kind(api_version: &str, name: &str) -> Option<KindRef> {
    all().iter().copied().find(|kind| kind.kind == name && kind.api_version() == api_version)
}
