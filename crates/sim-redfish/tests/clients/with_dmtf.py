"""DMTF's own client at a simulated BMC: sessions, accounts, conditions, the clock. Arguments as those of sushy's."""

import datetime
import sys

import redfish

url, authority, user, password = sys.argv[1:]


def client(password):
    made = redfish.redfish_client(
        base_url=url, username=user, password=password, cafile=authority, max_retry=1)
    made.login(auth="session")
    return made


one = client(password)
root = one.get("/redfish/v1/").dict
system = one.get("/redfish/v1/Systems/1")
assert system.status == 200 and system.getheader("ETag"), system
assert one.get("/redfish/v1/Systems/2").status == 404

# What somebody else changed meanwhile is not overwritten.
boot = {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
stale = {"If-Match": system.getheader("ETag")}
assert one.patch("/redfish/v1/Systems/1", body=boot, headers=stale).status == 204
assert one.patch("/redfish/v1/Systems/1", body=boot, headers=stale).status == 412
wrong = {"Boot": {"BootSourceOverrideTarget": "Tape"}}
said = one.patch("/redfish/v1/Systems/1", body=wrong)
assert said.status == 400 and "PropertyValueNotInList" in said.text, said.text
assert one.patch("/redfish/v1/Systems/1", body={"SerialNumber": "x"}).status == 400
assert one.post("/redfish/v1/Systems", body={}).status == 405

expanded = one.get("/redfish/v1/Systems/1/Memory?$expand=.($levels=1)").dict
assert all("CapacityMiB" in module for module in expanded["Members"])
page = one.get("/redfish/v1/Systems/1/Memory?$skip=1&$top=2").dict
assert [it["@odata.id"][-6:] for it in page["Members"]] == ["DIMM.2", "DIMM.3"], page
assert page["Members@odata.count"] == expanded["Members@odata.count"]

clock = {"DateTime": "2031-05-05T05:05:05Z"}
assert one.patch("/redfish/v1/Managers/BMC", body=clock).status == 204
shown = one.get("/redfish/v1/Managers/BMC").dict["DateTime"]
assert shown.startswith("2031-05-05"), shown
# Its next certificate would be of that time, and nobody would take it.
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
assert one.patch("/redfish/v1/Managers/BMC", body={"DateTime": now}).status == 204
assert one.post("/redfish/v1/Systems/1/LogServices/SEL/Actions/LogService.ClearLog", body={}).status == 204

# A new password counts at once, and the old one no more.
account = "/redfish/v1/AccountService/Accounts/1"
assert one.patch(account, body={"Password": "short"}).status == 400
assert one.patch(account, body={"Password": "longer than eight"}).status == 204
assert one.get("/redfish/v1/Systems/1").status == 200, "the session goes on"
try:
    client(password)
    raise AssertionError("the old password is taken")
except redfish.rest.v1.InvalidCredentialsError:
    pass
two = client("longer than eight")
sessions = two.get("/redfish/v1/SessionService/Sessions").dict["Members@odata.count"]
one.logout()
left = two.get("/redfish/v1/SessionService/Sessions").dict["Members@odata.count"]
assert left == sessions - 1, (sessions, left)
two.logout()
print("DMTF's client is done")
