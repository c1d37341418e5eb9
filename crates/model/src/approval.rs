//! Approvals: who may approve, how many must, and for how long what they said counts. One rule for steps of runbooks
//! and for the ledger. Pure: the time, and who asked, are passed in.

use crate::{
    Duration, FieldError, FieldErrors, Time,
    kinds::{Approval, Decision},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Most persons that one policy asks for: more agree to nothing in time.
const REQUIRED_MAX: u32 = 20;
/// Most users, and most groups, that one policy names.
const NAMED_MAX: usize = 100;

/// Whose approval is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApprovalPolicy {
    /// Users who may approve. With neither users nor groups, everybody who may change the run, or has the verb `approve`
    /// on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub users: Vec<String>,
    /// Groups whose members may approve: those that they were in, as the plane saw it when they did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// How many persons must approve. One, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<u32>,
    /// How long an approval counts, such as `8h`. For ever, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Duration>,
    /// Whoever asked for the run cannot approve it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude_requester: bool,
}

/// What the persons who may decide have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// So many as must have approved: these.
    Approved(Vec<&'a str>),
    /// One of them is against it.
    Rejected(&'a Approval),
    /// Not so many yet: these.
    Wanted(Vec<&'a str>),
}

impl ApprovalPolicy {
    /// How many persons must approve.
    pub fn required(&self) -> usize {
        usize::try_from(self.required.unwrap_or(1)).unwrap_or(usize::MAX)
    }

    /// What `approvals`, in the order they were given, come to. The last word of each person counts, and one
    /// rejection is enough. `requester` is who asked for what is decided on.
    pub fn judge<'a>(
        &self,
        approvals: impl IntoIterator<Item = &'a Approval>,
        requester: Option<&str>,
        now: Time,
    ) -> Verdict<'a> {
        let mut last: BTreeMap<&str, &Approval> = BTreeMap::new();
        for approval in approvals {
            last.insert(approval.by.as_deref().unwrap_or_default(), approval);
        }
        let own = |by: &str| self.exclude_requester && requester == Some(by);
        last.retain(|by, said| self.may(said) && !own(by) && self.counts(said, now));
        if let Some(against) = last.values().find(|said| said.decision == Decision::Rejected) {
            return Verdict::Rejected(against);
        }
        let who: Vec<&str> = last.into_keys().collect();
        if who.len() >= self.required() { Verdict::Approved(who) } else { Verdict::Wanted(who) }
    }

    /// Whether its giver is asked at all.
    fn may(&self, said: &Approval) -> bool {
        let by = said.by.as_deref().unwrap_or_default();
        let anybody = self.users.is_empty() && self.groups.is_empty();
        anybody
            || self.users.iter().any(|user| user == by)
            || self.groups.iter().any(|group| said.groups.contains(group))
    }

    /// Whether it is not too old. One whose time nobody knows may be.
    fn counts(&self, said: &Approval, now: Time) -> bool {
        let Some(valid) = self.valid_for else { return true };
        let age = said.time.map(|time| now.timestamp().duration_since(time.timestamp()));
        age.is_some_and(|age| {
            age.as_millis() < i128::try_from(valid.as_std().as_millis()).unwrap_or(i128::MAX)
        })
    }

    /// What is wrong with it, wherever it is written.
    pub fn validate(&self, path: &str, errors: &mut FieldErrors) {
        if let Some(required) = self.required
            && !(1..=REQUIRED_MAX).contains(&required)
        {
            let why = format!("must be between 1 and {REQUIRED_MAX}");
            errors.push(FieldError::invalid(format!("{path}.required"), required, why));
        }
        for (field, names) in [("users", &self.users), ("groups", &self.groups)] {
            if names.len() > NAMED_MAX {
                let field = format!("{path}.{field}");
                errors.push(FieldError::too_many(field, names.len(), NAMED_MAX));
            }
            if let Some(at) = names.iter().position(String::is_empty) {
                let why = "name a user or a group, as the plane knows them";
                errors.push(FieldError::required(format!("{path}.{field}[{at}]"), why));
            }
        }
        if self.groups.is_empty() && !self.users.is_empty() && self.required() > self.users.len() {
            let why = format!("only {} users are named, and no group", self.users.len());
            errors.push(FieldError::invalid(format!("{path}.required"), self.required(), why));
        }
        if self.valid_for.is_some_and(|valid| valid.as_std().is_zero()) {
            let why = "an approval that counts for no time never counts";
            errors.push(FieldError::invalid(format!("{path}.validFor"), "0s", why));
        }
    }
}

/// `2 of user ann, group sre (not the requester, given within 8h)`.
impl fmt::Display for ApprovalPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.users.iter().map(|user| format!("user {user}"));
        let groups = self.groups.iter().map(|group| format!("group {group}"));
        let mut who: Vec<String> = users.chain(groups).collect();
        if who.is_empty() {
            who.push("those who may change the run".into());
        }
        write!(f, "{} of {}", self.required(), who.join(", "))?;
        let own = self.exclude_requester.then(|| "not the requester".to_owned());
        let age = self.valid_for.map(|valid| format!("given within {valid}"));
        let also: Vec<String> = own.into_iter().chain(age).collect();
        if also.is_empty() { Ok(()) } else { write!(f, " ({})", also.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(hour: u32) -> Time {
        Time::new(format!("2026-03-01T{hour:02}:00:00Z").parse().unwrap())
    }

    fn said(by: &str, groups: &[&str], decision: Decision, hour: u32) -> Approval {
        Approval {
            by: Some(by.into()),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            decision,
            time: Some(time(hour)),
            ..Approval::default()
        }
    }

    use Decision::{Approved, Rejected};

    #[test]
    fn who_may_how_many_and_how_old() {
        let policy = ApprovalPolicy {
            users: vec!["ann".into()],
            groups: vec!["sre".into()],
            required: Some(2),
            valid_for: Some(Duration::from_secs(2 * 3600)),
            exclude_requester: true,
        };
        assert_eq!(
            policy.to_string(),
            "2 of user ann, group sre (not the requester, given within 2h)"
        );
        let (ann, bob) = (said("ann", &[], Approved, 10), said("bob", &["sre"], Approved, 11));
        let out = said("eve", &["dev"], Approved, 11);
        let no = said("bob", &["sre"], Rejected, 11);
        let cases: [(&[&Approval], Option<&str>, u32, Verdict<'_>); 9] = [
            (&[&ann, &bob], None, 11, Verdict::Approved(vec!["ann", "bob"])),
            (&[&ann], None, 11, Verdict::Wanted(vec!["ann"])),
            // Twice is once, and others are not asked.
            (&[&ann, &ann, &out], None, 11, Verdict::Wanted(vec!["ann"])),
            // What ann said is too old by then.
            (&[&ann, &bob], None, 12, Verdict::Wanted(vec!["bob"])),
            // Who asked for it does not count.
            (&[&ann, &bob], Some("bob"), 11, Verdict::Wanted(vec!["ann"])),
            (&[&ann, &bob, &no], None, 11, Verdict::Rejected(&no)),
            // The last word of each counts.
            (&[&ann, &no, &bob], None, 11, Verdict::Approved(vec!["ann", "bob"])),
            // Nor does a rejection of one who is not asked, or an old one.
            (&[&no, &ann], Some("bob"), 11, Verdict::Wanted(vec!["ann"])),
            (&[], None, 11, Verdict::Wanted(vec![])),
        ];
        for (given, requester, hour, wanted) in cases {
            let found = policy.judge(given.iter().copied(), requester, time(hour));
            assert_eq!(found, wanted, "{given:?} {requester:?} {hour}");
        }
        let untimed = Approval { time: None, ..bob.clone() };
        let found = policy.judge([&ann, &untimed], None, time(11));
        assert_eq!(found, Verdict::Wanted(vec!["ann"]), "it may be as old as can be");
    }

    #[test]
    fn without_names_anybody_who_may_write_it_may() {
        let policy = ApprovalPolicy::default();
        let eve = said("eve", &[], Approved, 1);
        assert_eq!(policy.judge([&eve], Some("eve"), time(9)), Verdict::Approved(vec!["eve"]));
        assert_eq!(policy.to_string(), "1 of those who may change the run");
    }

    #[test]
    fn mistakes_name_their_field() {
        let wrong = ApprovalPolicy {
            users: vec!["ann".into(), String::new()],
            required: Some(30),
            valid_for: Some(Duration::default()),
            ..ApprovalPolicy::default()
        };
        let mut errors = FieldErrors::new();
        wrong.validate("spec.approvalPolicy", &mut errors);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.approvalPolicy.required",
                "spec.approvalPolicy.users[1]",
                "spec.approvalPolicy.required",
                "spec.approvalPolicy.validFor"
            ]
        );
    }
}
