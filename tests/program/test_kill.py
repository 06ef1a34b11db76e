#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# timeout: 600
"""scripts/kill-test with ten kills."""
import os
import subprocess
import sys

from program import HERE

if __name__ == "__main__":
    script = os.path.join(HERE, "../../scripts/kill-test")
    sys.exit(subprocess.run([sys.executable, script, "--kills", "10"], check=False).returncode)
