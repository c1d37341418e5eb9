//! cloud-init user data with which a machine installs its agent and joins. Pure. It is JSON behind `#cloud-config`, which is
//! YAML as well, so that nothing that is put in can be read as anything else.
//! Source: cloud-init "Cloud config examples", modules write_files and runcmd.

use serde_json::{Value, json};

/// The unit of systemd that runs an agent, as packages install it too.
pub(crate) const UNIT: &str = include_str!("quarterdeck-agent.service");

const BINARY: &str = "/usr/local/bin/quarterdeck";
const FOLDER: &str = "/etc/quarterdeck";

/// The user data; `fetch` is where the program is fetched, and its SHA-256.
pub(crate) fn user_data(
    token: &str,
    server: &str,
    authority: &str,
    fetch: Option<(&str, &str)>,
) -> String {
    let file = |path: String, mode: &str, content: String| json!({"path": path, "permissions": mode, "owner": "root:root", "content": content});
    let environment = format!(
        "QUARTERDECK_AGENT_SERVER={server}\nQUARTERDECK_AGENT_CA_FILE={FOLDER}/ca.crt\nQUARTERDECK_AGENT_JOIN_TOKEN_FILE={FOLDER}/join-token\n"
    );
    let mut commands: Vec<Value> = Vec::new();
    if let Some((url, hash)) = fetch {
        // Not run unless it is what it should be.
        commands.push(json!([
            "curl",
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--retry",
            "10",
            "--retry-connrefused",
            "--output",
            format!("{BINARY}.new"),
            url
        ]));
        let check = format!(
            "echo '{hash}  {BINARY}.new' | sha256sum --check --status && chmod 0755 {BINARY}.new && mv {BINARY}.new {BINARY}"
        );
        commands.push(json!(["sh", "-c", check]));
    }
    commands.push(json!(["systemctl", "daemon-reload"]));
    commands.push(json!(["systemctl", "enable", "--now", "quarterdeck-agent.service"]));
    let config = json!({
        "write_files": [
            file(format!("{FOLDER}/join-token"), "0600", format!("{token}\n")),
            file(format!("{FOLDER}/ca.crt"), "0644", authority.to_owned()),
            file(format!("{FOLDER}/agent.env"), "0644", environment),
            file("/etc/systemd/system/quarterdeck-agent.service".into(), "0644", UNIT.to_owned()),
        ],
        "runcmd": commands,
    });
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    format!("#cloud-config\n{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_put_in_becomes_anything_else() {
        let odd = "a\n- evil: \"'\nb";
        let text =
            user_data(odd, "https://plane:6443", "CERT", Some(("https://x/q", &"a".repeat(64))));
        let (head, rest) = text.split_once('\n').unwrap();
        assert_eq!(head, "#cloud-config");
        let value: Value = serde_json::from_str(rest).unwrap();
        assert_eq!(value["write_files"][0]["content"], format!("{odd}\n"));
        assert_eq!(value["write_files"][0]["permissions"], "0600");
        let count = |fetch| {
            let text = user_data("t", "s", "c", fetch);
            let value: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
            value["runcmd"].as_array().unwrap().len()
        };
        assert_eq!((count(None), count(Some(("u", "h")))), (2, 4));
    }
}
