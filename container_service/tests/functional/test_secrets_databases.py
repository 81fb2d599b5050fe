# SPDX-License-Identifier: Apache-2.0
"""Rotation of keys on the databases of deployments: what the unit tests ask of SQLite."""

from container_service.tests import base
from container_service.tests.unit import test_secrets


class Rotation(base.ServerDatabaseMixin):

    test_every_column = test_secrets.TestManage.test_rotation_covers_every_encrypted_column
    test_beside_daemons = test_secrets.TestManage.test_rotation_leaves_what_is_changed_meanwhile


class TestRotationMariaDB(Rotation, test_secrets.RotationCase):
    kind = 'mysql'


class TestRotationPostgreSQL(Rotation, test_secrets.RotationCase):
    kind = 'postgresql'
