"""Look up known vulnerabilities of the installed packages with pip-audit: `make lint`.

Without network access the lookup is skipped with a message, and does not fail.
"""

import json
import subprocess
import sys
from typing import Any

_COMMAND = ["-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]


def main() -> int:
    """Print the result and return the exit code."""
    ran = subprocess.run([sys.executable, *_COMMAND], capture_output=True, text=True, check=False)
    packages: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"] if ran.stdout.strip() else []
    audited = [package for package in packages if "vulns" in package]
    for package in audited:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    if not audited:
        # The last line of a traceback names the problem.
        reason = ran.stderr.strip().splitlines()[-1:] if not packages else []
        print("dependencies were not audited: no advisories could be looked up here", *reason)
        return 0
    found = sum(len(package["vulns"]) for package in audited)
    print(f"dependencies: {len(audited)} audited, {len(packages) - len(audited)} unknown, {found} vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
