#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The committed references, computed again where torch is there (exit 77 where it is not).
# timeout: 600
exec "${PYTHON:-/usr/bin/python3}" "${SOURCE_DIR:-.}/tests/golden/make_references.py" --check
