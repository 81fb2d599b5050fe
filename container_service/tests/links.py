# SPDX-License-Identifier: Apache-2.0
"""Links between parts that a test may break; and servers of a test's own that it may kill."""

import fixtures
import sqlalchemy as sa

from faults import proxy


class Links(fixtures.Fixture):
    """A fault proxy; ``link`` adds a link to it."""

    def _setUp(self):
        self.proxy = proxy.Proxy(seed=1)
        self.addCleanup(self.proxy.close)
        self.link = self.proxy.link

    def to_database(self, connection):
        """A link to the database of that URL.  Returns it and the URL of the link."""
        url = sa.make_url(connection)
        kind = url.get_backend_name()
        link = self.link(kind, '127.0.0.1:0', f'{url.host}:{url.port}', kind)
        host, port = link.address.split(':')
        return link, url.set(host=host, port=int(port)).render_as_string(hide_password=False)
