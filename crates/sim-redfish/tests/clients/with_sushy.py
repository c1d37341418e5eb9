"""OpenStack's client at a simulated BMC: what Ironic does to a machine. URL, authority, user and password are arguments."""

import sys
import time

import sushy

url, authority, user, password = sys.argv[1:]
connection = sushy.Sushy(url, username=user, password=password, verify=authority)


def until(what, true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


[system] = connection.get_system_collection().get_members()
assert system.power_state == sushy.PowerState.ON, system.power_state
assert system.memory_summary.size_gib > 0
assert len(system.processors.get_members()) > 0
assert len(system.ethernet_interfaces.get_members()) == 2
[storage] = system.storage.get_members()
assert len(storage.drives) > 0
assert storage.drives[0].capacity_bytes > 0


def power(state):
    system.refresh(force=True)
    return system.power_state == state


system.reset_system(sushy.ResetType.FORCE_OFF)
until("it turns off", lambda: power(sushy.PowerState.OFF))
system.set_system_boot_options(
    target=sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE)
system.refresh(force=True)
assert system.boot.target == sushy.BootSource.PXE, system.boot.target
system.reset_system(sushy.ResetType.ON)
until("it turns on", lambda: power(sushy.PowerState.ON))
system.refresh(force=True)
assert system.boot.enabled == sushy.BootSourceOverrideEnabled.DISABLED, "the start has used it up"

drive = next(
    it for it in system.virtual_media.get_members() if sushy.VirtualMediaType.CD in it.media_types)
drive.insert_media("http://images/install.iso")
drive.refresh(force=True)
assert drive.inserted and drive.image == "http://images/install.iso"
drive.eject_media()
drive.refresh(force=True)
assert not drive.inserted

[manager] = connection.get_manager_collection().get_members()
assert manager.manager_type == sushy.ManagerType.BMC
[chassis] = connection.get_chassis_collection().get_members()
assert len(chassis.power.power_supplies) == 2 and len(chassis.thermal.fans) > 0

updates = connection.get_update_service()
parts = {part.identity: part for part in updates.firmware_inventory.get_members()}
before = parts["BIOS"].version
task = updates.simple_update("http://images/bios-9.9.1.bin", targets=[parts["BIOS"].path])
until("the update is written", lambda: task.get_task().task_state == sushy.TaskState.COMPLETED)
parts["BIOS"].refresh(force=True)
assert parts["BIOS"].version == before, "it waits for a restart"
system.reset_system(sushy.ResetType.FORCE_RESTART)
until("it is on again", lambda: power(sushy.PowerState.ON))
parts["BIOS"].refresh(force=True)
assert parts["BIOS"].version == "9.9.1", parts["BIOS"].version
print("sushy is done")
