"""The official Python client: core kinds, custom objects, the dynamic client, watches with resume.

With a version as argument it only watches from there, and must be told that this is too long ago.
"""

import sys
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

GROUP, VERSION = "inventory.quarterdeck.dev", "v1alpha1"


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except (ApiException, dynamic.exceptions.DynamicApiError) as error:
        assert error.status == code, (error.status, error.body)
        return error
    raise AssertionError(f"{call} was not refused with {code}")


config.load_kube_config()
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
place = {"group": GROUP, "version": VERSION, "plural": "sites"}


def watch_from(version):
    watched = watch.Watch().stream(
        custom.list_cluster_custom_object, resource_version=version, timeout_seconds=20, **place
    )
    return [change["type"] for change in watched]


if len(sys.argv) > 1:
    refused(410, watch_from, sys.argv[1])
    print("told to list again")
    sys.exit()

# Core kinds, with the models that the client has for them.
namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name="python"))
assert core.create_namespace(namespace).status.phase == "Active"
secret = client.V1Secret(
    metadata=client.V1ObjectMeta(name="s", labels={"app": "x"}), string_data={"a": "b"}
)
made = core.create_namespaced_secret("python", secret)
assert made.data == {"a": "Yg=="}, made
patched = core.patch_namespaced_secret("s", "python", {"stringData": {"c": "d"}})
assert sorted(patched.data) == ["a", "c"], patched
refused(409, core.create_namespaced_secret, "python", secret)
stale = made
stale.string_data = {"e": "f"}
refused(409, core.replace_namespaced_secret, "s", "python", stale)
found = core.list_secret_for_all_namespaces(label_selector="app=x").items
assert [item.metadata.name for item in found] == ["s"], found
event = client.CoreV1Event(
    metadata=client.V1ObjectMeta(generate_name="e-"),
    involved_object=client.V1ObjectReference(kind="Secret", name="s", namespace="python"),
    reason="Tried",
    message="It was tried.",
    type="Normal",
    reporting_component="test",
)
core.create_namespaced_event("python", event)
selector = "involvedObject.name=s,reason=Tried,reportingComponent=test,type!=Warning"
assert len(core.list_namespaced_event("python", field_selector=selector).items) == 1

# Custom objects.
site = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Site",
    "metadata": {"name": "py1"},
    "spec": {"region": "eu-west"},
}
custom.create_cluster_custom_object(body=site, **place)
custom.patch_cluster_custom_object(name="py1", body={"spec": {"region": "eu-north"}}, **place)
read = custom.get_cluster_custom_object(name="py1", **place)
assert read["spec"]["region"] == "eu-north", read
wrong = refused(422, custom.create_cluster_custom_object, body={**site, "spec": {}}, **place)
assert "spec.region" in wrong.body, wrong.body
page = custom.list_cluster_custom_object(limit=1, **place)
assert page["metadata"]["resourceVersion"]

# Definitions, which tell what there is.
definitions = client.ApiextensionsV1Api()
sites = definitions.read_custom_resource_definition(f"sites.{GROUP}")
assert sites.spec.names.kind == "Site"
assert {"Established"} <= {c.type for c in sites.status.conditions if c.status == "True"}
refused(405, definitions.delete_custom_resource_definition, f"sites.{GROUP}")

# The dynamic client finds everything by discovery.
anything = dynamic.DynamicClient(client.ApiClient())
racks = anything.resources.get(api_version=f"{GROUP}/{VERSION}", kind="Rack")
assert racks.name == "racks" and not racks.namespaced and "rk" in racks.short_names
racks.create(
    body={
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Rack",
        "metadata": {"name": "py1-a"},
        "spec": {"site": "py1", "units": 42},
    }
)
changed = racks.patch(
    name="py1-a", body={"spec": {"units": 40}}, content_type="application/merge-patch+json"
)
assert changed.spec.units == 40
status = racks.status.get(name="py1-a")
assert status.metadata.name == "py1-a"
refused(404, racks.get, name="nowhere")

# A watch goes on from where it was, and is told when that is too long ago.
seen = watch.Watch()
version = custom.list_cluster_custom_object(**place)["metadata"]["resourceVersion"]
custom.create_cluster_custom_object(body={**site, "metadata": {"name": "py2"}}, **place)
for change in seen.stream(
    custom.list_cluster_custom_object, resource_version=version, timeout_seconds=20, **place
):
    if change["object"]["metadata"]["name"] == "py2":
        assert change["type"] == "ADDED", change
        seen.stop()
later = seen.resource_version
assert int(later) > int(version), (later, version)
custom.delete_cluster_custom_object(name="py2", **place)
gone = watch.Watch()
for change in gone.stream(
    custom.list_cluster_custom_object, resource_version=later, timeout_seconds=20, **place
):
    if change["type"] == "DELETED":
        assert change["object"]["metadata"]["name"] == "py2"
        gone.stop()
# Deleting waits for nobody, or for what belongs to it.
racks.delete(name="py1-a", body=client.V1DeleteOptions(propagation_policy="Foreground"))
custom.delete_cluster_custom_object(name="py1", propagation_policy="Background", **place)
core.delete_namespace("python")
until = time.monotonic() + 20
while time.monotonic() < until:
    names = [item.metadata.name for item in core.list_namespace().items]
    if "python" not in names:
        break
    time.sleep(0.05)
else:
    raise AssertionError(f"the namespace is still there: {names}")
print(later)
