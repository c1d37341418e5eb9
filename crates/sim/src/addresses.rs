//! Where the BMCs of a fleet are when they are served over a network: each has an address of its own on loopback,
//! all of which is this machine (RFC 1122 §3.2.1.3). A rack is a /26 from [`FIRST`] on, and the last six bits are the
//! unit: racks are scanned as in a data centre.

use std::net::Ipv4Addr;

/// Of the network before that, programs of this machine use some.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);
/// Addresses of a rack: more than it has units.
const OF_RACK: u32 = 64;

/// Where a BMC is: the number of its rack, of all racks of the fleet, and its unit. None when the network has no room
/// for so many racks.
pub(crate) fn of(rack: u32, unit: u16) -> Option<Ipv4Addr> {
    let bits = FIRST.to_bits().checked_add(rack.checked_mul(OF_RACK)?)?;
    Some(Ipv4Addr::from_bits(bits.checked_add(u32::from(unit))?)).filter(Ipv4Addr::is_loopback)
}

/// A rack whose BMCs are served.
#[derive(Debug)]
pub(crate) struct ServedRack {
    /// Domain of its BMCs' names.
    pub(crate) domain: String,
    /// Units of each server.
    pub(crate) height: u16,
    /// How many servers are in it.
    pub(crate) servers: u32,
}

/// Who is where.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<ServedRack>);

impl Addresses {
    pub(crate) fn new(racks: impl Iterator<Item = ServedRack>) -> Self {
        Self(racks.collect())
    }

    /// The name of the BMC at an address, if one is there.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<String> {
        let place = address.to_bits().checked_sub(FIRST.to_bits())?;
        let (rack, unit) = (place / OF_RACK, place % OF_RACK);
        let rack = self.0.get(usize::try_from(rack).ok()?)?;
        let above = unit.checked_sub(1)?;
        let height = u32::from(rack.height);
        let there = above.checked_rem(height)? == 0 && above / height < rack.servers;
        there.then(|| format!("u{unit:02}.{}", rack.domain))
    }
}
