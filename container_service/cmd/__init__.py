# SPDX-License-Identifier: Apache-2.0
"""Commands: parse configuration, build, run; no logic.

Each imports what it needs only after ``concurrency`` has been told which kind of threads it is.
"""
