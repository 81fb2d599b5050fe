# SPDX-License-Identifier: Apache-2.0
"""Uuid or name?  Resources are addressed by either; names never look like uuids."""

import re

_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.IGNORECASE)


def is_uuid(ident):
    """Whether it is a uuid in canonical form.  Such a thing is refused as a name."""
    return _UUID.fullmatch(ident) is not None
