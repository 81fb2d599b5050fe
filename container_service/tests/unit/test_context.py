# SPDX-License-Identifier: Apache-2.0
import threading

from oslo_context import context as oslo_context

from container_service import context
from container_service.tests import base


class TestRequestContext(base.TestCase):

    def current(self, **values):
        """What a thread of its own logs after making a context."""
        found = []

        def run():
            made = context.RequestContext(**values)
            found.extend([made, oslo_context.get_current()])

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found

    def test_the_context_of_a_request_is_that_of_its_thread(self):
        made, current = self.current()
        self.assertIs(made, current)

    def test_one_that_is_no_request_leaves_the_thread_as_it_is(self):
        """The library would take it for a thread that has none yet."""
        _, current = self.current(overwrite=False)
        self.assertIsNone(current)
