//! How a server compares with its profile, as conditions. Pure. Firmware that is behind does not keep a server from
//! being used: a campaign mends it.

use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{Server, ServerProfile, ServerStatus, firmware},
};

/// Whether the parts are those of the profile.
const MET: &str = "ProfileMet";
/// Whether the firmware is that of the profile.
const FIRMWARE: &str = "FirmwareCurrent";
/// Most differences that a message tells.
const TOLD_MAX: usize = 8;

/// Says of a server whether it is as its profile wants it, as far as it has been seen.
pub(super) fn conditions(
    server: &Server,
    profile: Option<&ServerProfile>,
    status: &mut ServerStatus,
    now: Time,
) {
    let Some(name) = &server.spec.profile else {
        status.conditions.retain(|it| it.kind != MET && it.kind != FIRMWARE);
        status.firmware_updates.clear();
        return;
    };
    let Some(profile) = profile else {
        let message = format!(
            "spec.profile names ServerProfile {name}, which does not exist; create it or correct the name."
        );
        status.conditions.retain(|it| it.kind != FIRMWARE);
        status.firmware_updates.clear();
        set(status, MET, Err(("ProfileNotFound", message)), now);
        return;
    };
    let Some(found) = &status.inventory else { return };
    let parts = profile.spec.differences(found);
    let differs = firmware::differences(&profile.spec.firmware, found);
    status.firmware_updates = firmware::updates(&profile.spec.firmware, found);
    let met = match parts.is_empty() {
        true => Ok(format!("Its parts are those of profile {name}.")),
        false => Err(("ProfileNotMet", told(&parts, name))),
    };
    set(status, MET, met, now);
    if profile.spec.firmware.is_empty() {
        status.conditions.retain(|it| it.kind != FIRMWARE);
        return;
    }
    let current = match differs.is_empty() {
        true => Ok(format!("Its firmware is that of profile {name}.")),
        false => Err(("FirmwareDiffers", told(&differs, name))),
    };
    set(status, FIRMWARE, current, now);
}

/// Why the server cannot be used as its profile wants it, if so: the reason and the sentence.
pub(super) fn not_met(status: &ServerStatus) -> Option<(String, String)> {
    let met = condition::find(&status.conditions, MET)?;
    let wrong = met.status == ConditionStatus::False;
    wrong.then(|| (met.reason.clone(), met.message.clone()))
}

fn told(differences: &[String], profile: &str) -> String {
    let told: Vec<&str> = differences.iter().take(TOLD_MAX).map(String::as_str).collect();
    let more = match differences.len() - told.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("It differs from profile {profile}: {}{more}.", told.join("; "))
}

fn set(status: &mut ServerStatus, kind: &str, value: Result<String, (&str, String)>, now: Time) {
    let (value, reason, message) = match value {
        Ok(message) => (ConditionStatus::True, "Met", message),
        Err((reason, message)) => (ConditionStatus::False, reason, message),
    };
    condition::set(&mut status.conditions, Condition::new(kind, value, reason, message, now));
}
