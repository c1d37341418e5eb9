//! What can be wrong with a simulated machine, and how often: one table. Some are faults of the machine and
//! stay; some befall one call.

use crate::{contact::Exchange, random::Dice};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody is at the BMC's address.
    DeadBmc,
    /// The BMC knows another password than the Secret.
    WrongCredentials,
    /// The BMC is in another machine than the one declared.
    WrongSerial,
    /// The BMC takes several times as long for everything.
    SlowBmc,
    /// The BMC answers nothing until its time is over.
    WedgedBmc,
    /// The BMC takes a command for power, and nothing happens.
    PowerStuck,
    /// The connection breaks after a command had its effect, before it is answered.
    ReplyLost,
    /// What the machine runs never takes a connection.
    DeadHost,
    /// What the machine runs takes several times as long to start.
    SlowHost,
    /// The image that the machine starts from does not match its checksum.
    ImageCorrupt,
    /// A memory module was left out when the machine was built.
    MissingPart,
    /// The BMC's clock is somewhere else every few hours.
    ClockJumps,
}

/// How often, of machines. All are assumed, so that a thousand servers show each of them.
const OF_MACHINES: [(Fault, f64); 8] = [
    (Fault::DeadBmc, 0.004),
    (Fault::WrongCredentials, 0.004),
    (Fault::WrongSerial, 0.002),
    (Fault::SlowBmc, 0.02),
    (Fault::DeadHost, 0.003),
    (Fault::SlowHost, 0.01),
    (Fault::MissingPart, 0.002),
    (Fault::ClockJumps, 0.003),
];
/// How often, of calls. Assumed likewise.
const OF_CALLS: [(Fault, f64); 4] = [
    (Fault::WedgedBmc, 0.003),
    (Fault::PowerStuck, 0.005),
    (Fault::ReplyLost, 0.005),
    (Fault::ImageCorrupt, 0.005),
];

/// How often, of requests: an action sends some ten that read, and one command or two. Assumed likewise.
const OF_REQUESTS: [(Fault, f64); 4] = [
    (Fault::WedgedBmc, 0.0003),
    (Fault::PowerStuck, 0.005),
    (Fault::ReplyLost, 0.005),
    (Fault::ImageCorrupt, 0.005),
];

/// An operating system that does not shut down when it is asked. Assumed.
const DEAF: f64 = 0.05;

/// A part that the BMC reports as not well, in how many machines. Assumed.
pub(crate) const BROKEN_PART: f64 = 0.01;

/// What was decided by hand about a machine, if anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ByHand {
    /// The table decides.
    #[default]
    Nothing,
    /// This one, at each call, and no other.
    Only(Fault),
    /// None at all.
    Healthy,
}

/// What is wrong during one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Troubles(Vec<Fault>);

impl Troubles {
    /// What is wrong with the machine itself, by the sequence of the machine.
    pub(crate) fn of_machine(by_hand: ByHand, dice: &mut Dice) -> Self {
        Self::drawn(by_hand, &OF_MACHINES, dice)
    }

    /// The same, and what befalls this exchange, by its sequence.
    pub(crate) fn and_of(mut self, exchange: Exchange, by_hand: ByHand, dice: &mut Dice) -> Self {
        let table = match exchange {
            Exchange::Call => &OF_CALLS,
            Exchange::Request => &OF_REQUESTS,
        };
        self.0.extend(Self::drawn(by_hand, table, dice).0);
        self
    }

    fn drawn(by_hand: ByHand, table: &[(Fault, f64)], dice: &mut Dice) -> Self {
        // All are drawn whatever was decided, so that a hand changes nothing else of the sequence.
        let drawn = table.iter().map(|(fault, rate)| (*fault, dice.chance(*rate)));
        let counts = |(fault, drawn): (Fault, bool)| {
            let counts = match by_hand {
                ByHand::Nothing => drawn,
                ByHand::Only(only) => only == fault,
                ByHand::Healthy => false,
            };
            counts.then_some(fault)
        };
        Self(drawn.filter_map(counts).collect())
    }

    /// Whether it is among them.
    pub(crate) fn have(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// All of them.
    pub(crate) fn all(self) -> Vec<Fault> {
        self.0
    }
}

/// Whether the operating system hears that it is to shut down.
pub(crate) fn hears(dice: &mut Dice) -> bool {
    !dice.chance(DEAF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_as_frequent_as_the_table_says() {
        let calls = 100_000;
        let mut seen = Vec::new();
        for call in 0..calls {
            let mut dice = Dice::of(&[5, call]);
            let machine = Troubles::of_machine(ByHand::Nothing, &mut dice);
            seen.extend(machine.and_of(Exchange::Call, ByHand::Nothing, &mut dice).all());
        }
        for (fault, rate) in OF_MACHINES.iter().chain(&OF_CALLS) {
            let found = seen.iter().filter(|it| *it == fault).count() as f64 / calls as f64;
            assert!((found / rate - 1.0).abs() < 0.2, "{fault:?}: {found} for {rate}");
        }
    }

    #[test]
    fn a_hand_decides_over_the_table_and_leaves_the_sequence() {
        let mut ends = Vec::new();
        for (by_hand, wanted) in [
            (ByHand::Healthy, vec![]),
            (ByHand::Only(Fault::ReplyLost), vec![Fault::ReplyLost]),
            (ByHand::Only(Fault::DeadBmc), vec![Fault::DeadBmc]),
        ] {
            let mut dice = Dice::of(&[9]);
            let machine = Troubles::of_machine(by_hand, &mut dice);
            assert_eq!(machine.and_of(Exchange::Call, by_hand, &mut dice).all(), wanted);
            ends.push(dice.any());
        }
        assert!(ends.windows(2).all(|two| two[0] == two[1]));
    }
}
