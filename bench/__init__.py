# SPDX-License-Identifier: Apache-2.0
"""What the service costs above its floor; see README.rst.  Not part of the package."""
