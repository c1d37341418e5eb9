//! Tools that bring machines to a described state, by runs through a real plane and real agents: Ansible (on the machine itself, from a
//! control machine over ssh, and with the plane's inventory at a person's own hands) and Salt. Chef is not to be had as a package, so a script
//! that prints what its documentation says stands for it: what is shown with it is how it is called, not that it works.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

#[path = "support/agents.rs"]
#[allow(dead_code, reason = "each test file uses some of it")]
mod agents;
#[path = "config_tools/sshd.rs"]
mod sshd;

use agents::{
    BINARY, begin, blocked_and_then_let, busy, failure, joined, output, plane_with_agent, verb,
};
use quarterdeck_testing::{plane::Plane, process};
use serde_json::{Value, json};
use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

/// A program of those that `make setup` installs.
fn tool(name: &str) -> String {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = variable("QUARTERDECK_CONFIG_TOOLS").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("quarterdeck/config-tools")
    });
    let program = folder.join("bin").join(name);
    assert!(program.exists(), "no {program:?}: run `make setup`");
    program.display().to_string()
}

/// Does it, and answers the output of its step.
async fn done(plane: &Plane, name: &str, machine: &str, action: &str, with: &Value) -> Value {
    begin(plane, name, machine, json!({"action": action, "with": with})).await;
    output(plane, name).await
}

/// Does it, and answers what it is said to have failed of.
async fn failed(plane: &Plane, name: &str, machine: &str, action: &str, with: &Value) -> String {
    begin(plane, name, machine, json!({"action": action, "with": with})).await;
    failure(plane, name).await
}

async fn secret(plane: &Plane, name: &str, data: Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    plane.apply(&secret.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_is_checked_and_then_run_once_the_ledger_lets_it() {
    let (plane, agent) = plane_with_agent(&[], &[]).await;
    busy(&plane, 0).await;
    plane.kubectl(&["label", "machine", "m", "tier=web"]).await;
    plane.kubectl(&["annotate", "machine", "m", "ansible.quarterdeck.dev/greeting=hello"]).await;
    secret(&plane, "hidden", json!({"hidden.yml": "password: 'open sesame'\n"})).await;
    let conf = agent.path("conf");
    let playbook = format!(
        "- hosts: label_tier_web\n  gather_facts: false\n  vars_files: [hidden.yml]\n  tasks:\n    \
         - copy: {{dest: '{}', content: \"{{{{ greeting }}}} {{{{ quarterdeck.name }}}} {{{{ who }}}} {{{{ password | length }}}}\\n\"}}\n      tags: [conf]\n    \
         - name: refuse\n      command: sh -c 'echo no such thing >&2; exit 3'\n      tags: [never, fail]\n",
        conf.display()
    );
    let with = json!({
        "command": tool("ansible-playbook"), "playbook": "site.yml", "files": {"site.yml": playbook},
        "fileSecrets": ["hidden"], "vars": {"who": "you"},
    });

    let checked = done(&plane, "check", "m", "ansible.check", &with).await;
    assert_eq!((&checked["check"], &checked["changed"]), (&true.into(), &true.into()));
    assert!(checked["printed"].as_str().unwrap().contains("+hello m you 11"), "{checked:#}");
    assert!(!conf.exists(), "nothing was done");

    begin(&plane, "play", "m", json!({"action": "ansible.playbook", "with": with})).await;
    blocked_and_then_let(&plane, "play", || assert!(!conf.exists(), "nothing was done")).await;
    let played = output(&plane, "play").await;
    let host =
        json!({"host": "m", "ok": 1, "changed": 1, "failed": 0, "unreachable": 0, "skipped": 0});
    assert_eq!(played["hosts"], json!([host]), "{played:#}");
    assert_eq!(played["check"], false);
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), "hello m you 11\n");

    // It is so already.
    let again = done(&plane, "again", "m", "ansible.playbook", &with).await;
    assert_eq!(again["changed"], false);

    let mut fails = with.clone();
    fails["tags"] = json!(["fail"]);
    let told = failed(&plane, "fails", "m", "ansible.playbook", &fails).await;
    assert!(
        told.contains("ended with 2: m: refuse: non-zero return code: no such thing"),
        "{told}"
    );

    // What is in Secrets is in no object but them and in no file of the agent's.
    let tasks = plane.kubectl(&["get", "agenttasks", "--output", "json"]).await;
    assert!(tasks.contains("hidden.yml") && !tasks.contains("sesame"), "{tasks}");
    let kept =
        process::run(Command::new("grep").args(["-rl", "sesame"]).arg(agent.path("data")), "")
            .await;
    assert!(kept.is_err(), "{kept:?}");
    assert_eq!(std::fs::read_dir(agent.path("data/tools")).unwrap().count(), 0, "nothing is left");
    assert_eq!(std::fs::read_dir(agent.secret_path("tools")).unwrap().count(), 0);

    let mut wrong = with.clone();
    wrong["fileSecrets"] = json!(["none"]);
    let told = failed(&plane, "no-secret", "m", "ansible.check", &wrong).await;
    assert!(told.contains("Secret default/none does not exist"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_machine_reaches_its_targets_over_ssh() {
    let plane = Plane::start(BINARY).await;
    let _agent = joined(&plane, "control", plane.address(), &[]).await;
    let sshd = sshd::Sshd::start().await;
    // It has no agent.
    plane.apply(&agents::preinstalled("target")).await;
    for (name, value) in [
        ("ansible_host", "127.0.0.1".to_owned()),
        ("ansible_port", sshd.port.to_string()),
        ("ansible_user", sshd.user.clone()),
    ] {
        let value = format!("ansible.quarterdeck.dev/{name}={value}");
        plane.kubectl(&["annotate", "machine", "target", &value]).await;
    }
    let keys = json!({"ssh-privatekey": sshd.key(), "known_hosts": sshd.known_hosts()});
    secret(&plane, "ssh", keys).await;
    let file = sshd.path("made");
    let playbook = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {{dest: '{}', content: \"{{{{ ansible_connection | default('ssh') }}}} {{{{ inventory_hostname }}}}\\n\"}}\n",
        file.display()
    );
    let with = json!({
        "command": tool("ansible-playbook"), "playbook": "site.yml", "files": {"site.yml": playbook},
        "control": "control", "sshSecret": "ssh",
        // A host of the tests may have others, of which not each works.
        "vars": {"ansible_python_interpreter": "/usr/bin/python3"},
    });
    let output = done(&plane, "play", "target", "ansible.playbook", &with).await;
    assert_eq!(output["hosts"][0]["changed"], 1, "{output:#}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ssh target\n");
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());

    // A host that is not the one that is known.
    let keys = json!({"ssh-privatekey": sshd.key(), "known_hosts": ""});
    secret(&plane, "ssh", keys).await;
    let told = failed(&plane, "unknown", "target", "ansible.playbook", &with).await;
    assert!(told.contains("Host key verification failed"), "{told}");

    let mut nowhere = with.clone();
    nowhere["control"] = json!("none");
    let told = failed(&plane, "nowhere", "target", "ansible.check", &nowhere).await;
    assert!(told.contains("there is no Machine \\\"none\\\" in namespace default"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn salt_states_are_tested_and_applied() {
    let (plane, agent) = plane_with_agent(&[], &[]).await;
    let (conf, root) = (agent.path("conf"), agent.path("salt"));
    let state = format!(
        "{}:\n  file.managed:\n    - contents: \"{{{{ pillar['who'] }}}} {{{{ pillar['what'] }}}}\"\n",
        conf.display()
    );
    let with = json!({
        "command": tool("salt-call"), "states": ["web"], "pillar": {"who": "me"},
        "files": {
            "web.sls": state,
            "bad.sls": "refuse:\n  cmd.run:\n    - name: exit 3\n",
            "pillar/top.sls": "base:\n  '*': [what]\n",
            "pillar/what.sls": "what: thing\n",
            "config/minion": format!("root_dir: {}\n", root.display()),
        },
    });
    let checked = done(&plane, "check", "m", "salt.check", &with).await;
    assert_eq!(
        (&checked["check"], &checked["changed"]),
        (&true.into(), &true.into()),
        "{checked:#}"
    );
    assert!(!conf.exists(), "nothing was done");
    let applied = done(&plane, "apply", "m", "salt.apply", &with).await;
    assert_eq!(applied["hosts"][0]["changed"], 1, "{applied:#}");
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), "me thing\n");
    let again = done(&plane, "again", "m", "salt.apply", &with).await;
    assert_eq!((&again["changed"], &again["hosts"][0]["ok"]), (&false.into(), &1.into()));
    let mut bad = with.clone();
    bad["states"] = json!(["bad"]);
    let told = failed(&plane, "bad", "m", "salt.apply", &bad).await;
    assert!(told.contains("ended with 2: local: refuse: Command"), "{told}");
    bad["states"] = json!(["none"]);
    let told = failed(&plane, "none", "m", "salt.apply", &bad).await;
    assert!(told.contains("No matching sls found for 'none'"), "{told}");
}

/// How chef-client is called, and what is read of what it prints; not that it works.
#[tokio::test(flavor = "multi_thread")]
async fn chef_is_called_as_its_documentation_says() {
    let (plane, agent) = plane_with_agent(&[], &[]).await;
    let program = agent.path("chef-client");
    let script = "#!/bin/sh\necho \"called: $*\"\ncat cookbooks/web/recipes/default.rb .quarterdeck.json\necho\n\
                  case \"$*\" in *--why-run*) echo 'Chef Infra Client finished, 2/5 resources would have been updated' ;;\n\
                  *bad*) echo 'Chef Infra Client failed. 0 resources updated in 02 seconds'; exit 1 ;;\n\
                  *) echo 'Infra Phase complete, 2/5 resources updated in 04 seconds' ;; esac\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut with = json!({
        "command": program, "runList": ["recipe[web]", "role[base]"], "attributes": {"port": 80},
        "files": {"cookbooks/web/recipes/default.rb": "package 'nginx'\n"},
    });
    let checked = done(&plane, "check", "m", "chef.check", &with).await;
    assert_eq!((&checked["check"], &checked["changed"]), (&true.into(), &true.into()));
    let output = done(&plane, "converge", "m", "chef.converge", &with).await;
    let printed = output["printed"].as_str().unwrap();
    let called = "called: --once --no-color --local-mode --override-runlist recipe[web],role[base] --json-attributes .quarterdeck.json\n\
                  package 'nginx'\n{\"port\":80}\n";
    assert!(printed.starts_with(called), "{printed}");
    assert_eq!((&output["hosts"][0]["changed"], &output["hosts"][0]["ok"]), (&2.into(), &5.into()));
    with["runList"] = json!(["bad"]);
    let told = failed(&plane, "bad", "m", "chef.converge", &with).await;
    assert!(told.contains("chef-client ended with 1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_a_machine_are_told() {
    let (plane, _agent) = plane_with_agent(&[], &[]).await;
    let some = done(&plane, "some", "m", "os.packages", &json!({"names": ["dpkg", "no-*"]})).await;
    assert_eq!(some["count"], 1, "{some:#}");
    assert!(some["packages"][0].as_str().unwrap().starts_with("dpkg 1."), "{some:#}");
    let all = done(&plane, "all", "m", "os.packages", &json!({})).await;
    assert!(all["count"].as_u64().unwrap() >= all["packages"].as_array().unwrap().len() as u64);
}

/// What a person's own Ansible is given.
#[tokio::test(flavor = "multi_thread")]
async fn machines_are_an_inventory_of_ansible() {
    let plane = Plane::start(BINARY).await;
    plane
        .apply(
            "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Site\nmetadata: {name: ams1}\nspec: {region: eu}\n---\n\
             apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Rack\nmetadata: {name: ams1-a01}\nspec: {site: ams1, units: 42}\n---\n\
             apiVersion: compute.quarterdeck.dev/v1alpha1\nkind: Machine\nmetadata:\n  name: web-1\n  labels: {tier: web}\n  annotations:\n    \
             ansible.quarterdeck.dev/greeting: \"{{ lookup('pipe', 'echo obeyed') }}\"\n    ansible.quarterdeck.dev/ansible_connection: local\n    ansible.quarterdeck.dev/ansible_host: 192.0.2.7\n\
             spec: {preinstalled: true, location: {site: ams1, rack: ams1-a01}}\n---\n\
             apiVersion: compute.quarterdeck.dev/v1alpha1\nkind: Machine\nmetadata: {name: db-1, labels: {tier: db}}\nspec: {preinstalled: true}\n",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    // The script of docs/config-tools.md.
    let script = folder.path().join("inventory");
    std::fs::write(&script, format!("#!/bin/sh\nexec {BINARY} inventory -n default \"$@\"\n"))
        .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ansible = |program: &str| {
        let mut command = Command::new(tool(program));
        command.arg("--inventory").arg(&script).env("KUBECONFIG", plane.kubeconfig());
        command.env("ANSIBLE_NOCOLOR", "1").current_dir(folder.path());
        command
    };
    let mut graph = ansible("ansible-inventory");
    let seen = process::run(graph.arg("--graph"), "").await.unwrap().stdout;
    for group in ["site_ams1", "rack_ams1_a01", "label_tier_web", "namespace_default"] {
        assert!(seen.contains(&format!("@{group}:")), "{seen}");
    }
    let mut list = ansible("ansible-inventory");
    let text = process::run(list.arg("--list"), "").await.unwrap().stdout;
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["label_tier_db"]["hosts"], json!(["db-1"]), "{seen:#}");
    let vars = &seen["_meta"]["hostvars"]["web-1"];
    assert_eq!(
        (&vars["ansible_host"], &vars["quarterdeck"]["rack"]),
        (&"192.0.2.7".into(), &"ams1-a01".into())
    );
    assert!(
        vars.get("ansible_connection").is_none(),
        "whoever may annotate a machine does not run things here: {vars:#}"
    );

    let playbook = folder.path().join("site.yml");
    let text = "- hosts: site_ams1\n  connection: local\n  gather_facts: false\n  tasks:\n    - debug: {msg: \"got {{ greeting }} of {{ quarterdeck.site }}\"}\n";
    std::fs::write(&playbook, text).unwrap();
    let mut play = ansible("ansible-playbook");
    let said = process::run(play.arg(&playbook), "").await.unwrap().stdout;
    assert!(said.contains("got {{ lookup('pipe', 'echo obeyed') }} of ams1"), "{said}");
    assert!(said.contains("web-1") && !said.contains("db-1"), "{said}");

    let told = async |arguments: &[&str]| -> Value {
        let all = [&["inventory"], arguments].concat();
        serde_json::from_str(&agents::run(&verb(&plane, &all)).await.unwrap()).unwrap()
    };
    assert_eq!(told(&["--host", "web-1"]).await["ansible_host"], "192.0.2.7");
    let some = told(&["--list", "-l", "tier=db", "-A"]).await;
    assert_eq!(some["all"]["hosts"], json!(["db-1.default"]));
    assert_eq!(told(&["--host", "db-1.default", "-A"]).await["quarterdeck"]["name"], "db-1");
    let refused = agents::run(&verb(&plane, &["inventory", "--host", "web-9"])).await.unwrap_err();
    assert!(refused.reason.contains("did you mean web-1"), "{}", refused.reason);
}
