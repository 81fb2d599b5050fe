# SPDX-License-Identifier: Apache-2.0
"""Who asks."""

from oslo_context import context


class RequestContext(context.RequestContext):
    """The caller of one request.

    ``all_projects`` is set by a controller once policy has allowed it.
    """
    all_projects = False

    @property
    def project_scope(self):
        """The project that queries are limited to; None for all of them."""
        return None if self.all_projects else self.project_id
