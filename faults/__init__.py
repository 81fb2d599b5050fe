# SPDX-License-Identifier: Apache-2.0
"""Breaks a deployment on purpose, and checks that nothing was lost.

``proxy.py`` stands in the links between the parts.
"""
