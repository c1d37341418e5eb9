//! What a tool says of the hosts that it changed, read from the file that it wrote. What cannot be understood is no report: how the
//! tool ended still says whether it worked. Source: Salt's documentation, "State System Reference", the return of states.

use quarterdeck_model::kinds::tool_task::{ReportFile, ReportFormat, ToolHost, ToolReport};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{fs::File, io::Read as _, path::Path};

/// Largest file that is read: a large highstate has some megabytes.
const REPORT_BYTES_MAX: u64 = 16 << 20;

pub(super) fn read(folder: &Path, file: &ReportFile) -> Option<ToolReport> {
    let mut text = Vec::new();
    let file_in = File::open(folder.join(&file.path)).ok()?;
    file_in.take(REPORT_BYTES_MAX).read_to_end(&mut text).ok()?;
    let report = match file.format {
        ReportFormat::Plain => serde_json::from_slice(&text).ok()?,
        ReportFormat::Salt => of_salt(&serde_json::from_slice(&text).ok()?),
    };
    Some(ToolReport::bounded(report))
}

/// What one state came to.
#[derive(Deserialize)]
struct State {
    /// None where it would be changed, in a test.
    result: Option<bool>,
    #[serde(default)]
    comment: Value,
    #[serde(default)]
    changes: Value,
    #[serde(default, rename = "__id__")]
    id: String,
    #[serde(default, rename = "__run_num__")]
    order: u64,
}

/// By minion, states by name; or a list of what is wrong with them.
fn of_salt(by_minion: &Map<String, Value>) -> ToolReport {
    let mut report = ToolReport::default();
    for (minion, found) in by_minion {
        let mut host = ToolHost { host: minion.clone(), ..ToolHost::default() };
        match found {
            Value::Object(states) => {
                let states = states.values().filter_map(|it| State::deserialize(it).ok());
                let mut states: Vec<State> = states.collect();
                states.sort_by_key(|state| state.order);
                states.iter().for_each(|state| count(&mut host, state, &mut report.failures));
            }
            other => {
                host.failed = 1;
                report.failures.push(format!("{minion}: {}", text(other)));
            }
        }
        report.hosts.push(host);
    }
    report
}

fn count(host: &mut ToolHost, state: &State, failures: &mut Vec<String>) {
    if state.result == Some(false) {
        host.failed += 1;
        failures.push(format!("{}: {}: {}", host.host, state.id, text(&state.comment)));
        return;
    }
    host.ok += 1;
    // A state that would be changed says so by having no result, and need not say how.
    let changes = state.changes.as_object().is_some_and(|changes| !changes.is_empty());
    if changes || state.result.is_none() {
        host.changed += 1;
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_salt_writes_is_understood() {
        // As salt-call 3008 writes it.
        let states = json!({"local": {
            "file_|-a_|-a_|-managed": {"result": true, "changes": {"diff": "New file"}, "comment": "updated", "__id__": "a", "__run_num__": 0},
            "file_|-b_|-b_|-managed": {"result": true, "changes": {}, "comment": "", "__id__": "b", "__run_num__": 1},
            "file_|-c_|-c_|-managed": {"result": null, "changes": {}, "comment": "", "__id__": "c", "__run_num__": 2},
            "cmd_|-e_|-e_|-run": {"result": false, "changes": {}, "comment": ["second"], "__id__": "e", "__run_num__": 4},
            "cmd_|-d_|-d_|-run": {"result": false, "changes": {"retcode": 3}, "comment": "first", "__id__": "d", "__run_num__": 3},
        }});
        let report = of_salt(states.as_object().unwrap());
        let host = &report.hosts[0];
        assert_eq!((host.ok, host.changed, host.failed), (3, 2, 2));
        assert_eq!(report.failures, ["local: d: first", "local: e: second"]);
        let wrong = json!({"web-1": ["No matching sls found for 'x' in env 'base'"]});
        let report = of_salt(wrong.as_object().unwrap());
        assert_eq!(report.hosts[0].failed, 1);
        assert_eq!(report.failures, ["web-1: No matching sls found for 'x' in env 'base'"]);
    }
}
