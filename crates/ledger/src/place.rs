//! Places: sites, their halls and rows, racks, and the power feeds that racks hang on. How many servers of each are
//! disrupted is kept with each change.
//!
//! Sites, halls, rows and racks stand in each other, each in one. A rack hangs on any number of feeds of its site. It
//! is without power when every one of these is out of service or under a permit, and then its servers are under the
//! permits of all of them: to take one of two feeds disrupts nothing, and to take the other takes all.

use crate::{book::Book, refusal::Blocker, table::Number};
use quarterdeck_model::{
    ApprovalPolicy,
    kinds::{RackSpec, SitePart, SiteSpec},
};
use std::{collections::BTreeSet, sync::Arc};

/// A place, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceName<'a> {
    /// A site.
    Site(&'a str),
    /// A hall of a site.
    Hall(&'a str, &'a str),
    /// A row of a site: of a hall, or of none.
    Row(&'a str, Option<&'a str>, &'a str),
    /// A rack.
    Rack(&'a str),
    /// A power feed of a site.
    PowerFeed(&'a str, &'a str),
}

impl<'a> PlaceName<'a> {
    /// A part of a site, or all of it.
    pub fn of_part(site: &'a str, part: &'a SitePart) -> Self {
        match (&part.power_feed, &part.row, &part.hall) {
            (Some(feed), ..) => Self::PowerFeed(site, feed),
            (None, Some(row), hall) => Self::Row(site, hall.as_deref(), row),
            (None, None, Some(hall)) => Self::Hall(site, hall),
            (None, None, None) => Self::Site(site),
        }
    }

    /// The same text for the same place alone: halls, rows and feeds may have any name.
    fn key(self) -> String {
        match self {
            Self::Site(site) => format!("site/{site}"),
            Self::Rack(rack) => format!("rack/{rack}"),
            Self::Hall(site, hall) => format!("hall/{site}/{hall:?}"),
            Self::Row(site, hall, row) => format!("row/{site}/{hall:?}/{row:?}"),
            Self::PowerFeed(site, feed) => format!("feed/{site}/{feed:?}"),
        }
    }

    /// What it stands in.
    fn within(self) -> Option<Self> {
        match self {
            Self::Site(_) | Self::Rack(_) => None,
            Self::Hall(site, _) | Self::Row(site, None, _) | Self::PowerFeed(site, _) => {
                Some(Self::Site(site))
            }
            Self::Row(site, Some(hall), _) => Some(Self::Hall(site, hall)),
        }
    }

    /// `rack r-17`, or the site of a part.
    fn owner(self) -> String {
        match self {
            Self::Rack(rack) => format!("rack {rack}"),
            Self::Site(site)
            | Self::Hall(site, _)
            | Self::Row(site, ..)
            | Self::PowerFeed(site, _) => format!("site {site}"),
        }
    }

    /// `in hall north`, of a part.
    fn part(self) -> Option<String> {
        match self {
            Self::Site(_) | Self::Rack(_) => None,
            Self::Hall(_, hall) => Some(format!("in hall {hall}")),
            Self::Row(_, None, row) => Some(format!("in row {row}")),
            Self::Row(_, Some(hall), row) => Some(format!("in row {row} of hall {hall}")),
            Self::PowerFeed(_, feed) => Some(format!("on power feed {feed}")),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Place {
    key: Arc<str>,
    /// `site fra1`, `rack r-17`: the object that says what may become of it.
    pub(crate) owner: String,
    /// `in hall north`, when it is a part of that.
    pub(crate) part: Option<String>,
    shape: Shape,
    /// Somebody declared it.
    declared: bool,
    /// The place around it.
    within: Option<Number>,
    pub(crate) limit: Option<u32>,
    pub(crate) approval: Option<ApprovalPolicy>,
    /// Servers, of a rack; what stands in it, of another; racks, of a feed.
    holds: BTreeSet<Number>,
    /// Servers in it, or on it, under a permit.
    pub(crate) disrupted: u32,
    /// Uids of the runs that have leave to disrupt it as a whole: also what comes into it.
    pub(crate) permits: Vec<Arc<str>>,
}

#[derive(Debug)]
enum Shape {
    /// With the parts that it says something of.
    Site { parts: Vec<Number> },
    /// A hall or a row.
    Part,
    /// With the feeds it hangs on.
    Rack { feeds: BTreeSet<Number> },
    /// A feed, and whether it is out of service.
    Feed { down: bool },
}

impl Place {
    fn new(name: PlaceName<'_>, key: Arc<str>, within: Option<Number>) -> Self {
        let shape = match name {
            PlaceName::Site(_) => Shape::Site { parts: Vec::new() },
            PlaceName::Hall(..) | PlaceName::Row(..) => Shape::Part,
            PlaceName::Rack(_) => Shape::Rack { feeds: BTreeSet::new() },
            PlaceName::PowerFeed(..) => Shape::Feed { down: false },
        };
        Self {
            key,
            owner: name.owner(),
            part: name.part(),
            shape,
            declared: false,
            within,
            limit: None,
            approval: None,
            holds: BTreeSet::new(),
            disrupted: 0,
            permits: Vec::new(),
        }
    }

    /// The feeds of a rack.
    pub(crate) fn feeds(&self) -> impl Iterator<Item = Number> + '_ {
        let feeds = match &self.shape {
            Shape::Rack { feeds } => Some(feeds),
            _ => None,
        };
        feeds.into_iter().flatten().copied()
    }

    const fn is_feed(&self) -> bool {
        matches!(self.shape, Shape::Feed { .. })
    }

    /// Whether a feed gives no power, or may stop to at any moment.
    fn is_out(&self) -> bool {
        matches!(self.shape, Shape::Feed { down: true }) || !self.permits.is_empty()
    }

    /// Nothing speaks of it any more.
    fn is_forgotten(&self) -> bool {
        !self.declared
            && self.limit.is_none()
            && self.holds.is_empty()
            && self.permits.is_empty()
            && !matches!(self.shape, Shape::Feed { down: true })
    }
}

impl Book {
    /// How many places are spoken of.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Notes a rack: where it stands, what it hangs on, and what may become of it.
    pub fn set_rack(&mut self, name: &str, spec: &RackSpec) {
        let number = self.place(PlaceName::Rack(name));
        if let Some(place) = self.places.get_mut(number) {
            place.declared = true;
            (place.limit, place.approval) =
                (spec.max_disrupted_servers, spec.approval_policy.clone());
        }
        let site = spec.site.as_str();
        let around = match (&spec.hall, &spec.row) {
            (hall, Some(row)) => PlaceName::Row(site, hall.as_deref(), row),
            (Some(hall), None) => PlaceName::Hall(site, hall),
            (None, None) => PlaceName::Site(site),
        };
        let around = self.place(around);
        let feeds = spec.power_feeds.iter();
        let feeds = feeds.map(|feed| self.place(PlaceName::PowerFeed(site, feed))).collect();
        self.stand(number, Some(around), feeds);
        self.gave_way(Blocker::Place(number));
    }

    /// Forgets a rack.
    pub fn remove_rack(&mut self, name: &str) {
        let Some(number) = self.find_place(PlaceName::Rack(name)) else { return };
        self.forget(number);
        self.stand(number, None, BTreeSet::new());
        self.drop_place(number);
    }

    /// Notes a site, and what may become of it and its parts.
    pub fn set_site(&mut self, name: &str, spec: &SiteSpec) {
        let number = self.place(PlaceName::Site(name));
        let mut parts = Vec::new();
        for limit in &spec.limits {
            let part = self.place(PlaceName::of_part(name, &limit.part));
            if part != number {
                parts.push((part, Some(limit.max_disrupted_servers), false));
            }
        }
        for feed in &spec.power_feeds_down {
            parts.push((self.place(PlaceName::PowerFeed(name, feed)), None, true));
        }
        if let Some(place) = self.places.get_mut(number) {
            place.declared = true;
            (place.limit, place.approval) =
                (spec.max_disrupted_servers, spec.approval_policy.clone());
        }
        self.set_parts(number, &parts);
        self.gave_way(Blocker::Place(number));
    }

    /// Forgets a site.
    pub fn remove_site(&mut self, name: &str) {
        let Some(number) = self.find_place(PlaceName::Site(name)) else { return };
        self.set_parts(number, &[]);
        self.forget(number);
        self.drop_place(number);
    }

    /// Notes what a site says of its parts, each with its limit and whether it is down; and no longer what it said.
    fn set_parts(&mut self, site: Number, said: &[(Number, Option<u32>, bool)]) {
        let Some(Shape::Site { parts }) = self.places.get_mut(site).map(|site| &mut site.shape)
        else {
            return;
        };
        let now: BTreeSet<Number> = said.iter().map(|(part, ..)| *part).collect();
        let before = std::mem::replace(parts, now.iter().copied().collect());
        let all: BTreeSet<Number> = before.into_iter().chain(now).collect();
        for part in all {
            let of = || said.iter().filter(|(number, ..)| *number == part);
            let limit = of().find_map(|(_, limit, _)| *limit);
            let is_down = of().any(|(.., down)| *down);
            let Some(place) = self.places.get_mut(part) else { continue };
            place.limit = limit;
            if let Shape::Feed { down } = &mut place.shape
                && std::mem::replace(down, is_down) != is_down
            {
                self.settle_all(part);
            }
            self.gave_way(Blocker::Place(part));
            self.drop_place(part);
        }
    }

    /// Nothing is declared of a place any more.
    fn forget(&mut self, number: Number) {
        if let Some(place) = self.places.get_mut(number) {
            (place.declared, place.limit, place.approval) = (false, None, None);
        }
        self.gave_way(Blocker::Place(number));
    }

    pub(crate) fn find_place(&self, name: PlaceName<'_>) -> Option<Number> {
        self.places.number(&name.key())
    }

    /// The number of a place. One that nobody has spoken of comes to be, with what it stands in.
    pub(crate) fn place(&mut self, name: PlaceName<'_>) -> Number {
        if let Some(known) = self.find_place(name) {
            return known;
        }
        let within = name.within().map(|around| self.place(around));
        let number = self.places.entry(&name.key(), |key| Place::new(name, key, within));
        if let Some(around) = within.and_then(|at| self.places.get_mut(at)) {
            around.holds.insert(number);
        }
        number
    }

    /// Moves a rack, with all that is in it: to another place, and to other feeds.
    fn stand(&mut self, rack: Number, within: Option<Number>, feeds: BTreeSet<Number>) {
        let Some(place) = self.places.get(rack) else { return };
        if place.within == within && place.feeds().eq(feeds.iter().copied()) {
            return;
        }
        let disrupted = place.disrupted;
        let before = self.tie(rack, within, feeds);
        for (places, joins) in [(&before, false), (&self.around(rack), true)] {
            for number in places.iter().filter(|number| **number != rack) {
                let Some(place) = self.places.get_mut(*number) else { continue };
                if joins {
                    place.disrupted = place.disrupted.saturating_add(disrupted);
                } else {
                    place.disrupted = place.disrupted.saturating_sub(disrupted);
                    self.gave_way(Blocker::Place(*number));
                }
            }
        }
        before.into_iter().for_each(|number| self.drop_place(number));
        self.settle_all(rack);
    }

    /// Ties a rack to what is around it; answers what was.
    fn tie(
        &mut self,
        rack: Number,
        within: Option<Number>,
        feeds: BTreeSet<Number>,
    ) -> Vec<Number> {
        let before = self.around(rack);
        let held_by = |book: &mut Self, holds: bool| {
            let Some(place) = book.places.get(rack) else { return };
            let holders: Vec<Number> = place.within.into_iter().chain(place.feeds()).collect();
            for holder in holders {
                let Some(holder) = book.places.get_mut(holder) else { continue };
                if holds {
                    holder.holds.insert(rack);
                } else {
                    holder.holds.remove(&rack);
                }
            }
        };
        held_by(self, false);
        if let Some(place) = self.places.get_mut(rack) {
            place.within = within;
            place.shape = Shape::Rack { feeds };
        }
        held_by(self, true);
        before
    }

    /// A place, all that it stands in, and the feeds that it hangs on.
    pub(crate) fn around(&self, from: Number) -> Vec<Number> {
        let mut found = Vec::with_capacity(4);
        let mut next = Some(from);
        while let Some((number, place)) = next.and_then(|at| Some((at, self.places.get(at)?))) {
            found.push(number);
            found.extend(place.feeds());
            next = place.within;
        }
        found
    }

    /// Counts a server that is disrupted, or no longer is, in its rack and all around it.
    pub(crate) fn disrupted(&mut self, rack: Option<Number>, is: bool) {
        for at in rack.map_or_else(Vec::new, |rack| self.around(rack)) {
            let Some(place) = self.places.get_mut(at) else { continue };
            if is {
                place.disrupted = place.disrupted.saturating_add(1);
            } else {
                place.disrupted = place.disrupted.saturating_sub(1);
                self.gave_way(Blocker::Place(at));
            }
        }
    }

    /// A server comes into a rack, or leaves it.
    pub(crate) fn hold(&mut self, rack: Number, host: Number, holds: bool) {
        let Some(place) = self.places.get_mut(rack) else { return };
        if holds {
            place.holds.insert(host);
        } else {
            place.holds.remove(&host);
            self.drop_place(rack);
        }
    }

    /// Uids of the runs that may disrupt what is in a rack, because they may a place that it stands in, or all the
    /// power it has.
    pub(crate) fn permits_on(&self, rack: Number) -> Vec<Arc<str>> {
        let mut uids = Vec::new();
        let mut next = Some(rack);
        while let Some(place) = next.and_then(|at| self.places.get(at)) {
            uids.extend(place.permits.iter().cloned());
            next = place.within;
        }
        if self.is_dark(rack, None) {
            let feeds = self.places.get(rack).into_iter().flat_map(Place::feeds);
            let feeds = feeds.filter_map(|feed| self.places.get(feed));
            uids.extend(feeds.flat_map(|feed| feed.permits.iter().cloned()));
        }
        uids
    }

    /// Whether a rack has no feed that is sure to give power, but for `without`.
    fn is_dark(&self, rack: Number, without: Option<Number>) -> bool {
        let Some(place) = self.places.get(rack) else { return false };
        let mut feeds = place.feeds().peekable();
        let out = |feed: Number| {
            Some(feed) == without || self.places.get(feed).is_some_and(Place::is_out)
        };
        feeds.peek().is_some() && feeds.all(out)
    }

    /// Servers that are lost with a place.
    pub(crate) fn lost_with(&self, place: Number) -> Vec<Number> {
        let is_feed = self.places.get(place).is_some_and(Place::is_feed);
        let mut racks = self.racks_of(place);
        racks.retain(|rack| !is_feed || self.is_dark(*rack, Some(place)));
        self.hosts_in(&racks)
    }

    /// Servers that are lost with all of some places together.
    pub(crate) fn lost_with_all(&self, places: &BTreeSet<Number>) -> Vec<Number> {
        let is_feed = |at: &&Number| self.places.get(**at).is_some_and(Place::is_feed);
        let mut racks: BTreeSet<Number> =
            places.iter().filter(|at| !is_feed(at)).flat_map(|at| self.racks_of(*at)).collect();
        let hanging = places.iter().filter(is_feed).flat_map(|feed| self.racks_of(*feed));
        let dark = |rack: &Number| {
            let feeds = self.places.get(*rack).into_iter().flat_map(Place::feeds);
            feeds.into_iter().all(|feed| {
                places.contains(&feed) || self.places.get(feed).is_some_and(Place::is_out)
            })
        };
        racks.extend(hanging.filter(dark));
        self.hosts_in(&racks.into_iter().collect::<Vec<_>>())
    }

    /// Servers whose permits depend on a place.
    pub(crate) fn hosts_of_place(&self, place: Number) -> Vec<Number> {
        self.hosts_in(&self.racks_of(place))
    }

    fn hosts_in(&self, racks: &[Number]) -> Vec<Number> {
        let racks = racks.iter().filter_map(|rack| self.places.get(*rack));
        racks.flat_map(|rack| &rack.holds).copied().collect()
    }

    /// Racks in a place or on a feed.
    pub(crate) fn racks_of(&self, place: Number) -> Vec<Number> {
        let (mut racks, mut open) = (Vec::new(), vec![place]);
        while let Some(at) = open.pop() {
            match self.places.get(at) {
                Some(Place { shape: Shape::Rack { .. }, .. }) => racks.push(at),
                // What hangs on the feeds of a site stands in the site as well.
                Some(feed) if feed.is_feed() && at != place => {}
                Some(other) => open.extend(other.holds.iter().rev()),
                None => {}
            }
        }
        racks
    }

    fn settle_all(&mut self, place: Number) {
        self.hosts_of_place(place).into_iter().for_each(|host| self.settle(host));
    }

    /// Notes that a run may disrupt a place, or no longer may.
    pub(crate) fn permit_place(&mut self, number: Number, uid: &Arc<str>, may: bool) {
        let Some(place) = self.places.get_mut(number) else { return };
        if may {
            place.permits.push(uid.clone());
        } else {
            place.permits.retain(|other| *other != *uid);
        }
        self.settle_all(number);
        self.drop_place(number);
    }

    /// Lets go of a place that nothing speaks of any more, and of what was there for its sake alone.
    pub(crate) fn drop_place(&mut self, number: Number) {
        let Some(place) = self.places.get(number).filter(|place| place.is_forgotten()) else {
            return;
        };
        // A number that is given up is given to another: nothing may name it any more.
        let tied = self.places.number(&place.key) != Some(number)
            || (matches!(place.shape, Shape::Rack { .. }) && place.within.is_some());
        if tied {
            return;
        }
        let (key, within) = (place.key.clone(), place.within);
        self.places.remove(&key);
        if let Some(around) = within {
            if let Some(place) = self.places.get_mut(around) {
                place.holds.remove(&number);
            }
            self.drop_place(around);
        }
    }
}
