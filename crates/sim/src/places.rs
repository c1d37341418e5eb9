//! Where the sites of a fleet are. After the last city come second sites in the first.

/// A city with a data centre.
pub(crate) struct City {
    /// What its sites are called, before their number: its airport.
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) region: &'static str,
    pub(crate) time_zone: &'static str,
}

const fn city(
    code: &'static str,
    name: &'static str,
    region: &'static str,
    time_zone: &'static str,
) -> City {
    City { code, name, region, time_zone }
}

const CITIES: [City; 12] = [
    city("ams", "Amsterdam", "eu-west", "Europe/Amsterdam"),
    city("iad", "Ashburn", "us-east", "America/New_York"),
    city("sin", "Singapore", "ap-southeast", "Asia/Singapore"),
    city("dub", "Dublin", "eu-west", "Europe/Dublin"),
    city("pdx", "Portland", "us-west", "America/Los_Angeles"),
    city("fra", "Frankfurt", "eu-central", "Europe/Berlin"),
    city("nrt", "Tokyo", "ap-northeast", "Asia/Tokyo"),
    city("dfw", "Dallas", "us-south", "America/Chicago"),
    city("gru", "São Paulo", "sa-east", "America/Sao_Paulo"),
    city("syd", "Sydney", "ap-south", "Australia/Sydney"),
    city("bom", "Mumbai", "ap-west", "Asia/Kolkata"),
    city("yul", "Montréal", "ca-east", "America/Toronto"),
];

/// The city of a site, and which of its sites that is, counted from 1.
pub(crate) fn of_site(site: u32) -> Option<(&'static City, u32)> {
    let cities = u32::try_from(CITIES.len()).ok()?;
    let city = usize::try_from(site % cities).ok()?;
    Some((CITIES.get(city)?, 1 + site / cities))
}
