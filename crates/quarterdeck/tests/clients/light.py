"""lightkube: generic resources, typed core kinds, selectors, patches, watches."""

from lightkube import ApiError, Client
from lightkube.core.exceptions import ObjectDeleted  # noqa: F401 (part of the public interface)
from lightkube.generic_resource import create_global_resource, load_in_cluster_generic_resources
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Secret
from lightkube.types import CascadeType, PatchType

GROUP, VERSION = "inventory.quarterdeck.dev", "v1alpha1"

client = Client()
Site = create_global_resource(GROUP, VERSION, "Site", "sites")

client.create(Namespace(metadata=ObjectMeta(name="light")))
secret = Secret(metadata=ObjectMeta(name="s", namespace="light"), stringData={"a": "b"})
assert client.create(secret).data == {"a": "Yg=="}
assert [item.metadata.name for item in client.list(Secret, namespace="light")] == ["s"]
merged = client.patch(Secret, "s", {"stringData": {"c": "d"}}, namespace="light")
assert sorted(merged.data) == ["a", "c"], merged

site = Site(metadata=ObjectMeta(name="light1", labels={"tier": "gold"}), spec={"region": "x"})
version = client.create(site).metadata.resourceVersion
client.patch(Site, "light1", {"spec": {"region": "y"}}, patch_type=PatchType.MERGE)
assert client.get(Site, "light1").spec["region"] == "y"
labelled = client.list(Site, labels={"tier": ["gold", "silver"]})
assert [item.metadata.name for item in labelled] == ["light1"]
for kind, changed in client.watch(Site, resource_version=version, server_timeout=20):
    if changed.spec["region"] == "y":
        assert kind == "MODIFIED", kind
        break
try:
    client.create(Site(metadata=ObjectMeta(name="light2"), spec={}))
    raise AssertionError("a site without a region was taken")
except ApiError as error:
    assert error.status.code == 422 and error.status.reason == "Invalid", error.status
    assert error.status.details.causes[0].field == "spec.region", error.status

# It reads the definitions of the plane to know its kinds.
load_in_cluster_generic_resources(client)

client.delete(Site, "light1", cascade=CascadeType.FOREGROUND)
client.delete(Namespace, "light")
print("done")
