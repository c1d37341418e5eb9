//! What is in a simulated machine. All of it follows from the seed and the address of the BMC: nothing is
//! stored, and it never changes. Models are of no real maker.

use crate::{
    faults::BROKEN_PART,
    random::{Dice, name},
};
use jiff::Timestamp;
use quarterdeck_model::{
    inventory::{Drive, Firmware, Inventory, MemoryModule, NetworkInterface, Problem, Processor},
    kinds::{
        ExpectedDrives, ExpectedInterfaces, ExpectedProcessors, FirmwareActivation,
        FirmwareBaseline, FirmwareImage, MachineResources, ServerProfileSpec,
    },
    quantity::Quantity,
};

/// The account of all BMCs of a fleet.
pub(crate) const USER: &str = "quarterdeck";

/// What is drawn for a machine's hardware, for its health, and for its class, are sequences of their own.
const IDENTITY: u64 = 1;
const HEALTH: u64 = 2;
const CLASS: u64 = 3;
const PASSWORD: u64 = 4;

const BUILT: u64 = 5;
const POLICY: u64 = 6;

/// When machines were put to work: from the beginning of 2024 on, in two years.
const BUILT_FROM: i64 = 1_704_067_200;
const BUILT_WITHIN: u64 = 2 * 365 * 24 * 3_600;
/// How many machines are as they were when their power is back, and how many are on in any case. Assumed: makers
/// deliver the first; and some stay off, which is found out then.
const RESTORE_LAST: f64 = 0.85;
const RESTORE_ON: f64 = 0.12;

const GIB: u64 = 1 << 30;
const TB: u64 = 1_000_000_000_000;

/// A kind of machine that the company buys.
#[derive(Debug)]
pub(crate) struct Class {
    /// Value of the label `hardware`.
    pub(crate) name: &'static str,
    /// How many of a hundred racks hold it.
    weight: u32,
    /// Rack units of one.
    pub(crate) height: u16,
    /// How many a rack holds: by its units or by its power.
    pub(crate) per_rack: u16,
    /// What a rack of them may draw, in watts.
    pub(crate) rack_watts: u32,
    model: &'static str,
    processor: &'static str,
    sockets: u32,
    cores: u32,
    accelerators: u32,
    modules: u32,
    module_bytes: u64,
    drives: u32,
    drive: (&'static str, &'static str, u64),
    mbps: u64,
    /// A boot order that is set is in force from the next start on.
    order_waits: bool,
    /// Versions in the field with how common each is, oldest first.
    bios: [(&'static str, u32); 3],
    bmc: [(&'static str, u32); 3],
}

const CLASSES: [Class; 4] = [
    Class {
        name: "compute-gen4",
        weight: 40,
        height: 1,
        per_rack: 36,
        rack_watts: 17_000,
        model: "Halyard C410",
        processor: "x86-64 32-core 2.6 GHz",
        sockets: 2,
        cores: 32,
        accelerators: 0,
        modules: 16,
        module_bytes: 32 * GIB,
        drives: 2,
        drive: ("NVMe 3.84 TB", "SSD", 3_840_755_982_336),
        mbps: 25_000,
        order_waits: false,
        bios: [("2.4.1", 1), ("2.6.0", 3), ("2.7.2", 6)],
        bmc: [("4.10", 2), ("4.22", 6), ("5.00", 2)],
    },
    Class {
        name: "compute-gen5",
        weight: 35,
        height: 1,
        per_rack: 30,
        rack_watts: 21_000,
        model: "Halyard C510",
        processor: "x86-64 96-core 2.4 GHz",
        sockets: 1,
        cores: 96,
        accelerators: 0,
        modules: 12,
        module_bytes: 64 * GIB,
        drives: 4,
        drive: ("NVMe 7.68 TB", "SSD", 7_681_501_126_656),
        mbps: 100_000,
        order_waits: true,
        bios: [("1.0.3", 1), ("1.2.0", 5), ("1.3.1", 4)],
        bmc: [("5.00", 3), ("5.10", 6), ("5.11", 1)],
    },
    Class {
        name: "storage-gen3",
        weight: 17,
        height: 4,
        per_rack: 9,
        rack_watts: 12_000,
        model: "Bilge S360",
        processor: "x86-64 16-core 2.8 GHz",
        sockets: 1,
        cores: 16,
        accelerators: 0,
        modules: 8,
        module_bytes: 32 * GIB,
        drives: 36,
        drive: ("SATA 20 TB", "HDD", 20 * TB),
        mbps: 50_000,
        order_waits: false,
        bios: [("3.1.0", 2), ("3.1.4", 5), ("3.2.0", 3)],
        bmc: [("4.10", 5), ("4.22", 4), ("5.00", 1)],
    },
    Class {
        name: "gpu-gen2",
        weight: 8,
        height: 8,
        per_rack: 4,
        rack_watts: 44_000,
        model: "Topsail G820",
        processor: "x86-64 56-core 2.0 GHz",
        sockets: 2,
        cores: 56,
        accelerators: 8,
        modules: 32,
        module_bytes: 64 * GIB,
        drives: 8,
        drive: ("NVMe 3.84 TB", "SSD", 3_840_755_982_336),
        mbps: 400_000,
        order_waits: false,
        bios: [("1.1.0", 2), ("1.1.6", 7), ("1.2.0", 1)],
        bmc: [("24.09", 5), ("25.02", 4), ("25.04", 1)],
    },
];

/// All classes.
pub(crate) const fn classes() -> &'static [Class] {
    &CLASSES
}

impl Class {
    /// What a machine of the class should be, with the newest firmware in the field.
    pub(crate) fn profile(&self) -> ServerProfileSpec {
        let (drive, media, bytes) = self.drive;
        let processors = |count, kind: &str| ExpectedProcessors {
            count,
            kind: Some(kind.to_owned()),
            model: None,
        };
        let accelerators = (self.accelerators > 0).then(|| processors(self.accelerators, "GPU"));
        let newest = |name: &str, versions: &[(&'static str, u32); 3], order, activation| {
            let [.., (version, _)] = versions;
            let url =
                format!("https://images.example.com/firmware/{}-{name}-{version}.bin", self.name);
            FirmwareBaseline {
                name: name.to_owned(),
                version: (*version).to_owned(),
                image: Some(FirmwareImage { url, checksum: None }),
                order,
                activation,
            }
        };
        ServerProfileSpec {
            manufacturer: None,
            model: Some(self.model.to_owned()),
            memory: Some(Quantity::of(u64::from(self.modules) * self.module_bytes)),
            memory_modules: Some(self.modules),
            processors: [processors(self.sockets, "CPU")].into_iter().chain(accelerators).collect(),
            drives: vec![ExpectedDrives {
                count: self.drives,
                media: Some(media.to_owned()),
                model: Some(drive.to_owned()),
                size: Some(Quantity::of(bytes)),
            }],
            network_interfaces: vec![ExpectedInterfaces {
                count: 2,
                speed_mbps: Some(self.mbps),
                link_up: true,
            }],
            firmware: vec![
                newest("BIOS", &self.bios, 20, FirmwareActivation::HostReset),
                newest("BMC", &self.bmc, 10, FirmwareActivation::BMCReset),
            ],
        }
    }

    /// What a machine of the class has at least.
    pub(crate) fn minimum(&self) -> MachineResources {
        MachineResources {
            cpus: Some(self.sockets * self.cores * 2),
            memory: Some(Quantity::of(u64::from(self.modules) * self.module_bytes)),
            drives: Some(self.drives),
        }
    }
}

/// The class of the machines of one rack, which is the domain of their BMCs; none only if there are none.
pub(crate) fn class_of_rack(seed: u64, domain: &str) -> Option<&'static Class> {
    Dice::of(&[seed, name(domain), CLASS]).weighted(&CLASSES, |class| class.weight)
}

/// The password that the BMCs of a fleet know.
pub(crate) fn password(seed: u64) -> String {
    code(Dice::of(&[seed, PASSWORD]).any())
}

/// What becomes of a machine when power that was lost is back (DSP0268, ComputerSystem.PowerRestorePolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerRestorePolicy {
    AlwaysOn,
    AlwaysOff,
    LastState,
}

impl PowerRestorePolicy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AlwaysOn => "AlwaysOn",
            Self::AlwaysOff => "AlwaysOff",
            Self::LastState => "LastState",
        }
    }

    /// Whether it turns on.
    pub(crate) const fn turns_on(self, was_on: bool) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::LastState => was_on,
        }
    }
}

/// One machine.
pub(crate) struct Hardware {
    class: Option<&'static Class>,
    identity: Dice,
    health: Dice,
}

impl Hardware {
    /// The machine whose BMC is at `authority`.
    pub(crate) fn of(seed: u64, authority: &str) -> Self {
        let domain = authority.split_once('.').map_or(authority, |(_host, domain)| domain);
        let machine = name(authority);
        Self {
            class: class_of_rack(seed, domain),
            identity: Dice::of(&[seed, machine, IDENTITY]),
            health: Dice::of(&[seed, machine, HEALTH]),
        }
    }

    /// Whether a boot order that is set is in force from the next start on.
    pub(crate) fn order_waits(&self) -> bool {
        self.class.is_some_and(|class| class.order_waits)
    }

    /// When it was put to work.
    pub(crate) fn built(&self) -> Timestamp {
        let seconds = Dice::of(&[self.identity.clone().any(), BUILT]).any() % BUILT_WITHIN;
        Timestamp::from_second(BUILT_FROM + i64::try_from(seconds).unwrap_or_default())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What becomes of it when power that was lost is back.
    pub(crate) fn power_restore_policy(&self) -> PowerRestorePolicy {
        match Dice::of(&[self.identity.clone().any(), POLICY]).unit() {
            share if share < RESTORE_LAST => PowerRestorePolicy::LastState,
            share if share < RESTORE_LAST + RESTORE_ON => PowerRestorePolicy::AlwaysOn,
            _ => PowerRestorePolicy::AlwaysOff,
        }
    }

    /// Its serial number.
    pub(crate) fn serial(&self) -> String {
        code(self.identity.clone().any())
    }

    /// The serial number of the machine that stands here by mistake.
    pub(crate) fn serial_of_another(&self) -> String {
        code(!self.identity.clone().any())
    }

    /// Everything that the BMC shows.
    pub(crate) fn inventory(&self, serial: String) -> Inventory {
        let Some(class) = self.class else { return Inventory::default() };
        let mut dice = self.identity.clone();
        let mut problems = self.health.clone();
        let _serial = dice.any();
        let uuid = uuid(dice.any(), dice.any());
        let bios = version(&mut dice, &class.bios);
        let bmc = version(&mut dice, &class.bmc);
        let cards = dice.any();
        let threads = class.sockets * class.cores * 2;
        let problem = problem(&mut problems);
        Inventory {
            manufacturer: Some("Simulated".to_owned()),
            model: Some(class.model.to_owned()),
            serial_number: Some(serial),
            sku: Some(class.name.to_owned()),
            uuid: Some(uuid),
            bios_version: bios.clone(),
            health: Some(problem.as_ref().map_or("OK", |part| part.health.as_str()).to_owned()),
            memory_bytes: Some(u64::from(class.modules) * class.module_bytes),
            cpus: Some(threads),
            processors: processors(class),
            memory_modules: each(class.modules, |number| MemoryModule {
                id: format!("DIMM {number}"),
                bytes: Some(class.module_bytes),
                part_number: Some(format!("SIM-{}G", class.module_bytes / GIB)),
            }),
            drives: each(class.drives, |number| drive(class, cards, number)),
            network_interfaces: each(2, |number| interface(class, cards, number)),
            firmware: vec![firmware("BIOS", bios), firmware("BMC", bmc)],
            problems: problem.into_iter().collect(),
            unread: Vec::new(),
        }
    }
}

fn each<T>(count: u32, part: impl Fn(u32) -> T) -> Vec<T> {
    (1..=count).map(part).collect()
}

fn processors(class: &Class) -> Vec<Processor> {
    let sockets = each(class.sockets, |number| Processor {
        id: format!("CPU {number}"),
        kind: Some("CPU".to_owned()),
        model: Some(class.processor.to_owned()),
        cores: Some(class.cores),
        threads: Some(class.cores * 2),
    });
    let accelerators = each(class.accelerators, |number| Processor {
        id: format!("GPU {number}"),
        kind: Some("GPU".to_owned()),
        model: Some("Accelerator 141 GB".to_owned()),
        ..Processor::default()
    });
    sockets.into_iter().chain(accelerators).collect()
}

fn drive(class: &Class, cards: u64, number: u32) -> Drive {
    let (model, media, bytes) = class.drive;
    Drive {
        id: format!("Disk.{number}"),
        model: Some(model.to_owned()),
        serial_number: Some(code(Dice::of(&[cards, u64::from(number)]).any())),
        bytes: Some(bytes),
        media: Some(media.to_owned()),
    }
}

/// Both ports of a card have addresses that follow each other, locally administered (IEEE 802 §8.4).
fn interface(class: &Class, cards: u64, number: u32) -> NetworkInterface {
    let [_, _, a, b, c, d, e, f] = ((cards << 1) | u64::from(number & 1)).to_be_bytes();
    let first = (a & 0xfc) | 0x02;
    NetworkInterface {
        id: format!("Port.{number}"),
        mac_address: Some(format!("{first:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
        speed_mbps: Some(class.mbps),
        link_status: Some("LinkUp".to_owned()),
    }
}

fn firmware(name: &str, version: Option<String>) -> Firmware {
    Firmware { name: name.to_owned(), version, updateable: Some(true) }
}

fn version(dice: &mut Dice, versions: &[(&'static str, u32)]) -> Option<String> {
    dice.weighted(versions, |(_, weight)| *weight).map(|(version, _)| (*version).to_owned())
}

/// Parts that break while the machine goes on, and how often each is the one.
const PARTS: [(&str, &str, &str, u32); 3] = [
    ("DIMM 3", "Warning", "correctable memory errors are above the threshold", 3),
    ("Fan 2", "Critical", "reads 900 RPM", 2),
    ("PSU 1", "Critical", "the input voltage is lost", 2),
];

fn problem(dice: &mut Dice) -> Option<Problem> {
    if !dice.chance(BROKEN_PART) {
        return None;
    }
    let (part, health, message, _) = dice.weighted(&PARTS, |(_, _, _, weight)| *weight)?;
    Some(Problem {
        part: (*part).to_owned(),
        health: (*health).to_owned(),
        message: Some((*message).to_owned()),
    })
}

/// 60 of the bits as twelve letters that nobody mistakes for each other (Crockford's base 32): of half a
/// million, two are the same in one fleet of ten million.
fn code(number: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let letter = |place: u32| {
        let at = usize::try_from((number >> (5 * place)) & 31).unwrap_or_default();
        LETTERS.get(at).copied().map_or('0', char::from)
    };
    (0..12).map(letter).collect()
}

/// A UUID made of these, of the kind that is drawn (RFC 9562 §5.4).
fn uuid(high: u64, low: u64) -> String {
    let [high, low] = [(high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62)];
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_the_same_each_time_and_unlike_its_neighbour() {
        let seen = |seed, authority| {
            let hardware = Hardware::of(seed, authority);
            hardware.inventory(hardware.serial())
        };
        let one = seen(1, "u01.ams1-a01-01.bmc.example.com");
        assert_eq!(one, seen(1, "u01.ams1-a01-01.bmc.example.com"));
        let neighbour = seen(1, "u02.ams1-a01-01.bmc.example.com");
        assert_eq!(one.model, neighbour.model, "one rack holds one class");
        assert_ne!(one.serial_number, neighbour.serial_number);
        assert_ne!(one.uuid, neighbour.uuid);
        assert_ne!(one.network_interfaces, neighbour.network_interfaces);
        assert_ne!(one.uuid, seen(2, "u01.ams1-a01-01.bmc.example.com").uuid);
        let [first, second] = &one.network_interfaces[..] else { panic!("two ports") };
        assert_ne!(first.mac_address, second.mac_address);
        assert!(one.health.is_some() && one.cpus > Some(0) && !one.drives.is_empty());
        let another = Hardware::of(1, "u01.ams1-a01-01.bmc.example.com").serial_of_another();
        assert_ne!(one.serial_number.as_deref(), Some(another.as_str()));
    }
}
