"""Writes what a playbook did on each host, and what failed, for the plane."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: quarterdeck_report
type: notification
short_description: Writes what a playbook did on each host
description: Writes counts of each host, and the first failures, into the file of QUARTERDECK_REPORT.
"""

HOSTS_MAX = 64
FAILURES_MAX = 8


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "quarterdeck_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._failures = []

    def _failed(self, result):
        if len(self._failures) < FAILURES_MAX:
            # Public since ansible-core 2.19.
            host = getattr(result, "host", None) or result._host
            name = getattr(result, "task_name", None) or result._task.get_name()
            found = getattr(result, "result", None) or result._result
            # With no_log there is no more than that it was censored.
            said = [found.get(key) for key in ("msg", "censored", "stderr")]
            why = ": ".join(str(text).strip() for text in said if text) or "it failed"
            self._failures.append(f"{host.get_name()}: {name}: {why[:400]}")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self._failed(result)

    def v2_runner_on_unreachable(self, result):
        self._failed(result)

    def v2_playbook_on_stats(self, stats):
        hosts = []
        for host in sorted(stats.processed)[:HOSTS_MAX]:
            seen = stats.summarize(host)
            hosts.append(
                {
                    "host": host,
                    "ok": seen["ok"],
                    "changed": seen["changed"],
                    "failed": seen["failures"],
                    "unreachable": seen["unreachable"],
                    "skipped": seen["skipped"],
                }
            )
        with open(os.environ["QUARTERDECK_REPORT"], "w", encoding="utf-8") as file:
            json.dump({"hosts": hosts, "failures": self._failures}, file)
