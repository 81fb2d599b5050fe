# SPDX-License-Identifier: Apache-2.0
"""What becomes of the words in an error; how errors are answered is in api/test_errors.py."""

from container_service import exceptions
from container_service.tests import base


class TestWords(base.TestCase):

    def test_no_database_or_log_stumbles_over_them(self):
        """PostgreSQL takes no NUL, no encoding takes half a character, a log has lines."""
        error = exceptions.PullFailed('a\x00b\r\n2026-01-01 ERROR c\ud800\x1b[31m\u2028d')
        self.assertEqual('a b 2026-01-01 ERROR c [31m d', error.detail)
        self.assertEqual(error.detail, str(error))
        self.assertEqual('The image a b was not found.',
                         exceptions.ImageNotFound(image='a\0b').detail)

    def test_they_fit_into_a_column(self):
        """MariaDB takes 64 KiB, four bytes may be one character."""
        detail = exceptions.PullFailed('\U0001f433' * 70000).detail
        self.assertEqual((4096, '...'), (len(detail), detail[-3:]))
        self.assertEqual(4096, len(exceptions.PullFailed('x' * 4096).detail))
        self.assertNotIn('.', exceptions.PullFailed('x' * 4096).detail)
