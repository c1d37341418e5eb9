//! Which addresses requests may be sent to. Pure.
//!
//! Whoever writes runbooks could otherwise ask the plane's own database, or the metadata service
//! of the cloud it runs in, with the plane's standing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// How far requests reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Other machines, and not the link-local addresses that only this one can reach.
    #[default]
    Network,
    /// Also services on the plane's own machine.
    NetworkAndLoopback,
}

/// Where clouds serve metadata and credentials to their machines, other than at the link-local
/// 169.254.169.254: Azure, Alibaba, Oracle; AWS and GCP over IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// `64:ff9b::/96`.
const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

impl Reach {
    /// The rule as a plain function, which is what a resolver takes.
    pub(crate) const fn rule(self) -> fn(&IpAddr) -> bool {
        match self {
            Self::Network => |address| is_outside(address) && !is_own(address),
            Self::NetworkAndLoopback => is_outside,
        }
    }

    /// Whether the host of `uri` is an address that must not be reached. Names are judged when
    /// they are resolved.
    pub fn forbids(self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok_and(|address| !self.rule()(&address))
    }
}

fn is_outside(address: &IpAddr) -> bool {
    let address = plain(address);
    !METADATA.contains(&address)
        && match address {
            IpAddr::V4(v4) => {
                !(v4.is_link_local()
                    || v4.is_multicast()
                    || v4.is_broadcast()
                    || v4.is_unspecified())
            }
            IpAddr::V6(v6) => {
                let special =
                    v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified();
                !special
            }
        }
}

fn is_own(address: &IpAddr) -> bool {
    plain(address).is_loopback()
}

/// An IPv4 address written as IPv6 is dialled as IPv4, one behind the well-known prefix of NAT64
/// (RFC 6052) ends as IPv4, and `0.0.0.0/8` is this machine.
fn plain(address: &IpAddr) -> IpAddr {
    let embedded = match address {
        IpAddr::V6(v6) if v6.octets().starts_with(&NAT64) => {
            let bits = v6.to_bits() & u128::from(u32::MAX);
            u32::try_from(bits).map_or(*address, |bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
        }
        other => other.to_canonical(),
    };
    match embedded {
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_link_addresses_are_out_of_reach() {
        for (address, network, loopback) in [
            ("10.0.0.1", true, true),
            ("2001:db8::1", true, true),
            ("127.0.0.1", false, true),
            ("127.8.8.8", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("::", false, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("168.63.129.16", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("64:ff9b::7f00:1", false, true),
            ("64:ff9b::a00:1", true, true),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(Reach::Network.rule()(&parsed), network, "{address}");
            assert_eq!(Reach::NetworkAndLoopback.rule()(&parsed), loopback, "{address}");
        }
    }

    #[test]
    fn addresses_in_urls_are_judged_at_once() {
        let forbids = |text: &str| Reach::Network.forbids(&text.parse().unwrap());
        assert!(forbids("http://127.0.0.1:2379/"));
        assert!(forbids("http://[::1]:2379/"));
        assert!(!forbids("http://service.example/"));
        assert!(!forbids("http://[2001:db8::1]/"));
    }
}
