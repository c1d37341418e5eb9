//! What a scan for BMCs has found, as text. Pure.

use super::table::table;
use quarterdeck_model::kinds::{BMCScan, FoundBMC};

/// What became of each, those that need a look last.
pub(crate) fn text(scan: &BMCScan) -> String {
    let status = &scan.status;
    let number = |it: Option<u32>| it.unwrap_or_default();
    let head = format!(
        "{} of {} addresses are BMCs; {} servers were made\n",
        number(status.answered),
        number(status.addresses),
        number(status.enrolled)
    );
    if status.found.is_empty() {
        return head;
    }
    let or = |it: &Option<String>| it.clone().unwrap_or_else(|| "–".to_owned());
    let row = |it: &FoundBMC| {
        vec![
            it.address.clone(),
            or(&it.serial),
            or(&it.model),
            format!("{:?}", it.result),
            or(&it.server),
            it.message.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = status.found.iter().map(row).collect();
    let rest = match status.left_out {
        Some(more) => format!("and {more} more\n"),
        None => String::new(),
    };
    let heading = ["ADDRESS", "SERIAL", "MODEL", "RESULT", "SERVER", "MESSAGE"];
    format!("{head}{}{rest}", table(&heading, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_is_told_with_what_became_of_it() {
        let scan: BMCScan = serde_json::from_value(json!({
            "metadata": {"name": "hall-1"},
            "spec": {"site": "ams", "ranges": ["10.0.0.0/24"], "allow": {"serials": ["*"]}},
            "status": {"addresses": 254, "answered": 2, "enrolled": 1, "leftOut": 3, "found": [
                {"address": "10.0.0.1", "serial": "SN-1", "model": "C410", "result": "Enrolled", "server": "sn-1"},
                {"address": "10.0.0.2", "result": "Failed", "message": "it takes no login"},
            ]},
        }))
        .unwrap();
        let lines: Vec<String> = text(&scan).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "2 of 254 addresses are BMCs; 1 servers were made");
        assert!(lines[2].contains("SN-1") && lines[2].contains("Enrolled   sn-1"), "{lines:?}");
        assert!(
            lines[3].contains("Failed") && lines[3].ends_with("it takes no login"),
            "{lines:?}"
        );
        assert_eq!(lines[4], "and 3 more");
    }
}
