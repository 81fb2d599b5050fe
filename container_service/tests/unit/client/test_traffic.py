# SPDX-License-Identifier: Apache-2.0
"""That --debug masks whatever the API takes as a secret."""

import unittest

from wsme import types as wtypes

from container_service import operations
from container_service.api import creation
from container_service.api import types
from container_service.client import traffic


def _of_types(*kinds):
    """Names of the fields of bodies whose type is one of these."""
    return {attribute.name
            for kind in vars(types).values()
            if isinstance(kind, type) and issubclass(kind, wtypes.Base)
            for attribute in wtypes.list_attributes(kind)
            if isinstance(attribute.datatype, kinds)}


class TestMasked(unittest.TestCase):

    def test_keys_certificates_and_passwords(self):
        names = _of_types(types.Pem, types.Secret)
        self.assertLessEqual({'client_key', 'password'}, names)
        for name in names:
            self.assertEqual({name: '***'}, traffic.masked({name: 'hunter2'}))

    def test_variables(self):
        names = {param.wire_name for op in operations.OPERATIONS.values() for param in op.secrets}
        names |= {name for name in types.names(creation.ContainerCreate)
                  if 'environment' in name}
        self.assertLessEqual({'environment', 'secret_environment'}, names)
        for name in names:
            self.assertEqual({name: {'KEY': '***'}}, traffic.masked({name: {'KEY': 'hunter2'}}))
