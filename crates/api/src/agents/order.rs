//! Which of an agent's streams is the newest, and whether it is one agent that has them: replicas write down what they hold in
//! any order, and late. The agent numbers its streams, so that the order is its own. Pure.

use quarterdeck_model::kinds::{AgentHost, AgentStatus};

/// Greatest number of a stream that is taken as it is said: readers of JSON count no further.
const NUMBER_MAX: u64 = 1 << 53;

/// A stream as it stands to the one that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is that one.
    Own,
    /// It is newer, and gets this number.
    Newer(u64),
    /// A later one is known, which has this number.
    Older(u64),
}

/// Compares the stream `session` of that number with the one that is written down. An agent that does not number its streams is
/// taken at its word that the one which it begins is the newest.
pub(super) fn place(known: Option<&AgentStatus>, session: &str, number: Option<u64>) -> Place {
    let newest = known.and_then(|known| known.stream).unwrap_or(0);
    if known.is_some_and(|known| known.session.as_deref() == Some(session)) {
        return Place::Own;
    }
    match number.map(|number| number.min(NUMBER_MAX)) {
        None => Place::Newer(newest.saturating_add(1)),
        Some(number) if number > newest => Place::Newer(number),
        // Nobody comes after the last number there is: who says that one keeps others out, until it joins anew.
        Some(_) => Place::Older(newest),
    }
}

/// Which start of an agent it is, as far as it says so.
fn start(host: &AgentHost) -> &str {
    if host.start.is_empty() { &host.boot_id } else { &host.start }
}

/// Whether two starts of agents are one.
pub(super) fn same(one: &AgentHost, other: &AgentHost) -> bool {
    start(one) == start(other)
}

/// The other host that has the identity of an agent that is about to begin a stream, if there is one: it holds the stream now, and
/// took it from this one, which is back although a start that was followed by another does not come back. While
/// that is so, whoever holds the stream keeps it.
pub(super) fn rival<'k>(known: Option<&'k AgentStatus>, host: &AgentHost) -> Option<&'k AgentHost> {
    let known = known.filter(|known| known.is_connected())?;
    let holder = known.host.as_ref().filter(|holder| !same(holder, host))?;
    let back = known.host_before.as_ref().is_some_and(|before| same(before, host));
    let said = !start(host).is_empty() && !start(holder).is_empty();
    (said && (back || known.conflict_seen.is_some())).then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(session: &str, stream: u64) -> AgentStatus {
        AgentStatus {
            session: Some(session.into()),
            stream: Some(stream),
            ..AgentStatus::default()
        }
    }

    #[test]
    fn the_greatest_number_is_the_newest_whoever_writes_last() {
        let held = known("a/1", 7);
        for (session, number, expected) in [
            ("a/1", Some(7), Place::Own),
            ("b/1", Some(8), Place::Newer(8)),
            ("b/1", Some(7), Place::Older(7)),
            ("b/1", Some(6), Place::Older(7)),
            ("b/1", None, Place::Newer(8)),
            ("b/1", Some(u64::MAX), Place::Newer(NUMBER_MAX)),
        ] {
            assert_eq!(place(Some(&held), session, number), expected, "{session} {number:?}");
        }
        assert_eq!(place(None, "a/1", Some(1)), Place::Newer(1));
    }

    fn host(start: &str) -> AgentHost {
        AgentHost { start: start.into(), ..AgentHost::default() }
    }

    #[test]
    fn a_start_that_was_followed_by_another_and_is_back_is_another_host() {
        let one = host("one");
        let held = AgentStatus {
            host: Some(host("two")),
            host_before: Some(one.clone()),
            ..known("a/1", 7)
        };
        assert_eq!(rival(Some(&held), &one), held.host.as_ref());
        assert_eq!(rival(Some(&held), &host("two")), None, "it holds the stream itself");
        assert_eq!(rival(Some(&held), &host("three")), None, "it was begun anew");
        let told =
            AgentStatus { conflict_seen: Some(jiff::Timestamp::UNIX_EPOCH.into()), ..held.clone() };
        assert_eq!(rival(Some(&told), &host("three")), told.host.as_ref(), "nobody takes turns");
        let gone = AgentStatus { disconnected_since: told.conflict_seen, ..told };
        assert_eq!(rival(Some(&gone), &one), None, "nobody holds it");
        let silent =
            AgentStatus { host: Some(host("")), host_before: Some(host("")), ..known("a/1", 7) };
        assert_eq!(rival(Some(&silent), &one), None, "who does not say is not accused");
        // Older agents say only which start of the system it is.
        let boot = |boot: &str| AgentHost { boot_id: boot.into(), ..AgentHost::default() };
        let held = AgentStatus {
            host: Some(boot("b2")),
            host_before: Some(boot("b1")),
            ..known("a/1", 7)
        };
        assert!(rival(Some(&held), &boot("b1")).is_some());
    }

    proptest! {
        /// Streams are written down in any order, some of them several times: the newest stays.
        #[test]
        fn whatever_the_order_the_newest_stays(writes in prop::collection::vec(1..9_u64, 1..40)) {
            let mut held = AgentStatus::default();
            for number in &writes {
                let session = format!("r/{number}");
                if let Place::Newer(number) = place(Some(&held), &session, Some(*number)) {
                    (held.session, held.stream) = (Some(session), Some(number));
                }
            }
            prop_assert_eq!(held.stream, writes.iter().max().copied());
            prop_assert_eq!(held.session, writes.iter().max().map(|newest| format!("r/{newest}")));
        }
    }
}
